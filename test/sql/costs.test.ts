import { createClient } from 'howdah';
import type pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { type Cost, costOf } from '../support/cost.js';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sql-test.js';
import { waitFor } from '../support/wait-for.js';

/** Ten times as much work may cost so many times as much: what is quadratic costs a hundred times. */
const LINEAR = 25;

/** Fills a queue quickly. */
const fill = (db: Engine, queue: string, count: number) =>
  db.one(
    `select count(*) from howdah.enqueue(jsonb_build_object('queue', $1::text, 'payloads',
      (select jsonb_agg(i) from generate_series(1, $2::integer) i)))`,
    [queue, count],
  );

/** Members of so many groups, two of each. */
const fillGroups = (db: Engine, queue: string, groups: number) =>
  db.one(
    `select count(*) from howdah.enqueue((
      select jsonb_agg(jsonb_build_object('queue', $1::text, 'payload', k, 'group', 'g' || g))
      from generate_series(1, $2::integer) g, generate_series(1, 2) k))`,
    [queue, groups],
  );

const idsOf = (queue: string, limit: number): string =>
  `array(select j.id from howdah._jobs j where j.queue_id = (
    select q.id from howdah._queues q where q.name = '${queue}') order by j.id limit ${limit})`;

/** What ten times as much costs, in times of the CPU. */
async function growth(
  pool: pg.Pool,
  small: string,
  large: string,
): Promise<{ few: Cost; many: Cost; cpu: number }> {
  const few = await costOf(pool, small, 5);
  const many = await costOf(pool, large, 4);
  return { few, many, cpu: many.cpuMs / Math.max(few.cpuMs, 0.5) };
}

describe('work for n jobs is linear in n', () => {
  test('watch', { timeout: 60_000 }, async ({ pool, db }) => {
    const lease = await db.openLease();
    const watch = (n: number) => `select count(*) from (
      select array(select 900000000 + i::bigint from generate_series(1, ${n}) i) as ids
    ) a, howdah.watch(${lease}, a.ids, a.ids)`;
    expect((await growth(pool, watch(2_000), watch(20_000))).cpu).toBeLessThan(LINEAR);
  });

  test.for([
    'watch($lease, $ids)',
    "watch($lease, '{}', p_look => $ids)",
    'run_now($ids)',
    'cancel($ids)',
  ])('jobs that are not there are looked for all at once: %s', async (call, { pool, db }) => {
    const ids = 'array(select 900000000 + i::bigint from generate_series(1, 1000) i)';
    const ask = call.replace('$lease', await db.openLease()).replace('$ids', ids);
    const client = await pool.connect();
    const looks = async (): Promise<number> => {
      const { rows } = await client.query(
        "select calls::integer as n from pg_stat_xact_user_functions where funcname = '_history_of'",
      );
      return rows[0]?.n ?? 0;
    };
    await client.query("begin; set local track_functions = 'pl'");
    const before = await looks();
    const { rows } = await client.query(`select count(*)::integer as n from howdah.${ask}`);
    const calls = (await looks()) - before;
    await client.query('rollback');
    client.release();
    expect(rows).toEqual([{ n: 1_000 }]);
    expect(calls).toBe(1);
  });

  test('_lock_jobs', { timeout: 60_000 }, async ({ pool, db }) => {
    await db.createQueue('locked');
    await fill(db, 'locked', 20_000);
    const lock = (n: number) => `select howdah._lock_jobs(${idsOf('locked', n)})`;
    expect((await growth(pool, lock(2_000), lock(20_000))).cpu).toBeLessThan(LINEAR);
  });

  test('admit', { timeout: 60_000 }, async ({ pool, db }) => {
    await db.createQueue('admitted');
    await fillGroups(db, 'admitted', 20_000);
    const admit = (n: number) => `select howdah._admit(array(select j.id from howdah._jobs j
      where j.group_seq is not null order by j.group_seq limit ${n}), false)`;
    const { cpu } = await growth(pool, admit(2_000), admit(20_000));
    expect(cpu).toBeLessThan(LINEAR);
  });

  for (const [what, payload] of [
    ['names', 'i'],
    ['names-and-payloads', '-i'],
  ]) {
    test(`sync_schedules, all with other ${what}`, { timeout: 60_000 }, async ({ pool, db }) => {
      await db.createQueue('planned');
      const sync = (n: number, prefix: string, value: string) =>
        `select count(*) from howdah.sync_schedules('app ${what} ${n}', (select jsonb_agg(jsonb_build_object(
          'name', '${what}-${n}-${prefix}' || i, 'cron', '0 3 * * *', 'queue', 'planned', 'payload', ${value}))
          from generate_series(1, ${n}) i))`;
      for (const n of [150, 1_500]) await db.rows(sync(n, 'old', 'i'));
      const again = (n: number) => sync(n, 'new', String(payload));
      expect((await growth(pool, again(150), again(1_500))).cpu).toBeLessThan(LINEAR);
    });
  }

  test('enqueue with keys of jobs that wait, which it changes', { timeout: 60_000 }, async ({
    pool,
    db,
  }) => {
    await db.createQueue('keyed');
    const enqueue = (n: number, mode: string) =>
      `select count(*) from howdah.enqueue((select jsonb_agg(jsonb_build_object('queue', 'keyed',
        'payload', i + ${mode.length}, 'dedupe', jsonb_build_object('key', 'k' || i, 'mode', '${mode}')))
        from generate_series(1, ${n}) i))`;
    await db.rows(enqueue(5_000, 'skip'));
    const { few, many } = await growth(pool, enqueue(500, 'replace'), enqueue(5_000, 'replace'));
    // most of it is work for each job, so that what is quadratic shows late
    expect(many.cpuMs / few.cpuMs).toBeLessThan(20);
  });
});

describe('a step is bounded, whatever there is', () => {
  test('raising group_concurrency opens no group by itself, but the upkeep a thousand at once', async ({
    pool,
    db,
  }) => {
    await db.createQueue('few-groups');
    await fillGroups(db, 'few-groups', 1_000);
    await db.createQueue('many-groups');
    await fillGroups(db, 'many-groups', 5_000);
    const open = (queue: string) =>
      `select howdah.create_queue('${queue}', '{"group_concurrency": 2}')`;
    const few = await costOf(pool, open('few-groups'), 1);
    const many = await costOf(pool, open('many-groups'), 1);
    expect(many.buffers).toBeLessThan(1.5 * few.buffers);

    // a group that somebody holds waits for the next round, and the others do not wait for it
    const other = await pool.connect();
    await other.query('begin');
    await other.query("select from howdah._groups where key = 'g7' for update");
    await db.rows(open('many-groups'));
    const opened: unknown[] = [];
    for (let i = 0; i < 6; i += 1)
      opened.push(await db.one('select opened from howdah.tend_queues()'));
    expect(opened).toEqual([1_000, 1_000, 1_000, 1_000, 999, 0]);
    await other.query('rollback');
    other.release();
    expect(await db.one('select opened from howdah.tend_queues()')).toBe(1);
    expect(await db.one('select opened from howdah.tend_queues()')).toBe(0);
    expect(await db.rows('select * from howdah._group_openings')).toEqual([]);
    expect(await db.stats('many-groups')).toMatchObject({ ready: '10000', blocked: '0' });
    await db.expectTruth();
  });
});

/** The same number of buffers, give or take a level of an index, whatever else there is. */
const FLAT = 1.5;

/** What a statement touches beside little and, after `grow`, beside ten times as much. */
async function buffersAround(
  pool: pg.Pool,
  text: string,
  grow: () => Promise<unknown>,
): Promise<number> {
  const before = await costOf(pool, text, 3);
  await grow();
  const after = await costOf(pool, text, 3);
  return after.buffers / before.buffers;
}

describe('what is not asked for costs nothing', () => {
  const DEAD = `insert into howdah._jobs (id, seq, enqueued_at, queue_id, lane, payload, dead_at,
      dead_reason, origin_queue_id, attempt, uncounted, errors)
    select i, i, howdah.clock(), 1, 201, to_jsonb(i), howdah.clock() - make_interval(days => 3, secs => 100000 - i),
      'attempts exhausted', $3, 10, 10, '[{"name": "Error", "message": "refused", "attempt": 10}]'
    from generate_series($1::integer, $2::integer) i`;

  // how a plan was found must not matter: statistics are none, those of an empty table, or those of today
  test.for([
    ['select 1', 'select 1'],
    ['vacuum analyze howdah._jobs', 'select 1'],
    ['select 1', 'analyze howdah._jobs'],
    ['vacuum howdah._jobs', 'vacuum howdah._jobs'],
  ] as const)(
    'dead jobs: by id, by queue, by time; statistics: %s, later %s',
    {
      timeout: 60_000,
    },
    async ([first, later], { pool, db }) => {
      const [rare, usual] = [
        await db.createQueue(`rare ${first}`.replaceAll(' ', '-')),
        await db.createQueue('usual'),
      ];
      const { name } =
        (
          await db.rows<{ name: string }>('select name from howdah._queues where id = $1', [rare])
        )[0] ?? {};
      onTestFinished(async () => {
        await db.rows('delete from howdah._jobs where id > 10000000');
      });
      await db.rows(first);
      await db.rows(DEAD, [10_000_001, 10_000_005, rare]);
      await db.rows(DEAD, [10_001_000, 10_002_000, usual]);
      await db.rows(later);
      const asks = [
        'redrive(\'{"ids": [10001999]}\', 1, true)',
        'redrive(\'{"ids": [10001999]}\')',
        'discard(\'{"ids": [10001998]}\', 1, true)',
        `redrive('{"queue": "${name}"}', 10, true)`,
        `redrive('{"dead_letter_queue": "${name}"}', 10, true)`,
        'redrive(\'{"since": "2100-01-01"}\', 10, true)',
        `dead_letter_groups('${name}')`,
        `dead_letter_groups(null, '${name}')`,
      ];
      const before: Cost[] = [];
      for (const ask of asks) before.push(await costOf(pool, `select * from howdah.${ask}`, 3));
      await db.rows(DEAD, [10_010_000, 10_020_000, usual]);
      await db.rows(later);
      for (const [i, ask] of asks.entries()) {
        const { buffers } = await costOf(pool, `select * from howdah.${ask}`, 3);
        expect(buffers / (before[i]?.buffers ?? 0), ask).toBeLessThan(FLAT);
      }
    },
  );

  test('reports of jobs that have not ended are not walked over by each sweep', async ({
    pool,
    db,
  }) => {
    const queue = await db.createQueue('reported');
    await db.rows(DEAD, [20_000_001, 20_003_000, queue]);
    const sweep = 'select howdah.sweep()';
    const { buffers } = await costOf(pool, sweep, 2);
    await db.rows(
      `insert into howdah._reports (job_id, attempt, progress, reported_at, looked_at)
      select id, 10, '50', howdah.clock() - interval '3 days', howdah.clock() - interval '3 days'
      from howdah._jobs where id > 20000000`,
    );
    for (let i = 0; i < 3; i += 1) await db.rows(sweep);
    // what was looked at leaves dead entries of its index behind until it is vacuumed
    // and a vacuum leaves those that an autovacuum of another table may still see
    await waitFor(
      async () => {
        await db.rows('vacuum howdah._reports');
        return (await costOf(pool, sweep, 2)).buffers < buffers + 20;
      },
      { timeoutMs: 20_000, what: 'a sweep that walks over no reports' },
    );
    await db.rows('delete from howdah._reports');
    await db.rows('delete from howdah._jobs where id > 20000000');
  });

  test('deleted queues: upkeep, cancelling and statistics, and one day they go', async ({
    pool,
    db,
  }) => {
    await db.createQueue('left');
    await db.enqueue('left', 3);
    const asks = [
      'tend_queues()',
      `cancel_jobs('{"state": "ready"}', null, 3, true)`,
      '_bury_orphans()',
      `delete_queue('left', true)`,
    ];
    const before = [];
    for (const ask of asks) before.push(await costOf(pool, `select * from howdah.${ask}`, 3));
    await db.rows(
      `insert into howdah._queues (name, dead_letter_queue_id, deleted_at)
      select 'gone' || i, 1, howdah.clock() from generate_series(1, 3000) i`,
    );
    for (const [i, ask] of asks.entries()) {
      const { buffers } = await costOf(pool, `select * from howdah.${ask}`, 3);
      expect(buffers, ask).toBeLessThan(FLAT * (before[i]?.buffers ?? 0) + 20);
    }
    const deleted = () =>
      db.one('select count(*) from howdah._queues where deleted_at is not null');
    await db.rows('select * from howdah.prune()');
    expect(await deleted()).toBe('3000');
    await db.rows("update howdah._queues set deleted_at = deleted_at - interval '4 days'");
    for (let i = 0; i < 3; i += 1) await db.rows('select * from howdah.prune()');
    expect(await deleted()).toBe('0');
    await db.expectTruth();
  });

  test('forcing the deletion of a queue does not read the others', async ({ pool, db }) => {
    await db.createQueue('small');
    await db.enqueue('small', 2);
    await db.createQueue('big');
    await fill(db, 'big', 1_000);
    const ratio = await buffersAround(pool, "select howdah.delete_queue('small', true)", () =>
      fill(db, 'big', 10_000),
    );
    expect(ratio).toBeLessThan(FLAT);
  });
});

describe('upkeep reads what is due, not all there is', () => {
  test.for([
    [
      'prune_dedupes()',
      `insert into howdah._dedupes select 1, 'k' || i, i, '', howdah.clock() + interval '1 hour' from generate_series(1, 3000) i`,
    ],
    [
      '_prune_group_rates()',
      `insert into howdah._group_rates select 1, 'k' || i, howdah.clock() + interval '1 hour' from generate_series(1, 3000) i`,
    ],
    [
      'prune_schedule_runs()',
      `insert into howdah._schedule_runs select 1, howdah.clock() + i * interval '1 s', howdah.clock(), 'skipped' from generate_series(1, 3000) i`,
    ],
    [
      'expire()',
      `select count(*) from howdah.enqueue((select jsonb_agg(jsonb_build_object('queue', 'blocked', 'payload', 1,
        'group', 'g', 'n', i)) from generate_series(1, 3000) i))`,
    ],
    [
      'fold_batches()',
      `insert into howdah._batches (closed_at, finished_at) select howdah.clock(), howdah.clock() from generate_series(1, 3000) i`,
    ],
    [
      'expire()',
      `insert into howdah._jobs (id, seq, enqueued_at, queue_id, lane, payload, expires_at)
      select i, i, howdah.clock(), 1, 201, '1', howdah.clock() + interval '1 hour' from generate_series(30000001, 30003000) i`,
    ],
  ] as const)('%s', async ([duty, more], { pool, db }) => {
    await db.createQueue('blocked');
    const text = `select * from howdah.${duty}`;
    const before = await costOf(pool, text, 2);
    await db.rows(more);
    const after = await costOf(pool, text, 2);
    expect(after.buffers).toBeLessThan(FLAT * before.buffers + 20);
    await db.rows('delete from howdah._jobs where id > 30000000');
  });
});

describe('leases of pulled jobs', () => {
  const open = (count: number) =>
    `select count(howdah.open_lease('much', 60000, '{}', true)) from generate_series(1, ${count})`;

  test('many that are not due cost neither the reaper nor who is to lead', async ({ pool, db }) => {
    const lease = await db.openLease('leads');
    const asks = ['reap()', `lead(${lease}, 1000)`, 'workers', `upkeep_due('{reap}')`];
    await db.rows("update howdah._leader set expires_at = howdah.clock() - interval '1 hour'");
    await db.rows(open(2_000));
    await db.rows('vacuum analyze howdah._leases');
    const before = [];
    for (const ask of asks) before.push(await costOf(pool, `select * from howdah.${ask}`, 3));
    await db.rows(open(20_000));
    for (const [i, ask] of asks.entries()) {
      const { buffers } = await costOf(pool, `select * from howdah.${ask}`, 3);
      expect(buffers, ask).toBeLessThan(FLAT * (before[i]?.buffers ?? 0) + 20);
    }
    await db.rows('delete from howdah._leases');
  });

  test('one that was extended is looked at when it ends, one that was cut short at once', async ({
    db,
  }) => {
    await db.rows('delete from howdah._leases where due_at is not null');
    await db.createQueue('looked');
    await db.enqueue('looked', 2);
    const receive = async (visibility: number) => {
      const [job] = await db.rows<{ lease_id: string; id: string; attempt: number }>(
        `select * from howdah.receive('looked', 1, $1)`,
        [visibility],
      );
      return [job?.lease_id, job?.id, job?.attempt];
    };
    const extend = (job: unknown[], visibility: number) =>
      db.rows('select * from howdah.extend_job($1, $2, $3, $4)', [...job, visibility]);
    const due = () =>
      db.rows(`select extract(epoch from expires_at - due_at)::integer as early
        from howdah._leases where due_at is not null order by 1`);
    const [longer, shorter] = [await receive(10_000), await receive(600_000)];
    await extend(longer, 60_000);
    await extend(shorter, 5_000);
    expect(await due()).toEqual([{ early: 0 }, { early: 50 }]);
    await db.shiftClock(5_500);
    expect(await db.reap()).toMatchObject({ requeued: 1 });
    await db.shiftClock(11_000);
    expect(await db.reap()).toMatchObject({ requeued: 0 });
    expect(await due()).toEqual([{ early: 0 }]);
    await db.shiftClock(61_000);
    expect(await db.reap()).toMatchObject({ requeued: 1 });
    await db.shiftClock(0);
  });

  test('a renewal, an extension and a settle change nothing that an index has', async ({ db }) => {
    const indexed = await db.rows(`select distinct a.attname::text as name from pg_index i
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::smallint[])
      where i.indrelid = 'howdah._leases'::regclass
      union select m[1] from pg_index i, regexp_matches(pg_get_expr(i.indpred, i.indrelid), '[a-z_]+_at', 'g') m
      where i.indrelid = 'howdah._leases'::regclass order by 1`);
    expect(indexed).toEqual([{ name: 'due_at' }, { name: 'id' }]);
  });
});

describe('while a snapshot is held', () => {
  test('what a limited queue has room for costs no more after thousands of claims', async ({
    pool,
    db,
  }) => {
    await db.createQueue('limited', { concurrency_max: 1_000, rate_max: 1_000_000 });
    const lease = await db.openLease();
    const holder = await pool.connect();
    onTestFinished(() => holder.release(true));
    await holder.query('begin isolation level repeatable read; select 1 from howdah._queues');
    const work = (jobs: number) =>
      pool.query(`do $$ declare v_id bigint; begin
        for i in 1 .. ${jobs} loop
          perform howdah.enqueue('{"queue":"limited","payload":1}');
          v_id := (select c.ids::bigint from howdah.claim_many('limited', ${lease}, 1, '{201}',
            array[coalesce(v_id, 0)]) c where c.ids is not null);
          perform howdah.complete_many(${lease}, array[v_id], '{1}');
          commit;
        end loop;
      end $$`);
    const room = `select howdah._room_of(q, 1), howdah._hold_of(q), howdah._return_permits(q.id, 0)
      from howdah._queues q where q.name = 'limited'`;
    await work(200);
    const few = await costOf(pool, room);
    await work(3_000);
    const many = await costOf(pool, room);
    expect(many.buffers).toBeLessThan(few.buffers + 40);
    await db.expectTruth();
  });
});

describe('statistics', () => {
  test('read each counter once, not once a queue', async ({ pool, db }) => {
    await db.rows(
      `insert into howdah._queues (name, dead_letter_queue_id) select 's' || i, 1 from generate_series(1, 300) i`,
    );
    const deltas = (n: number) =>
      db.rows(
        `insert into howdah._counter_deltas (queue_id, ready)
        select (select max(id) from howdah._queues), 0 from generate_series(1, $1) i`,
        [n],
      );
    await deltas(1_000);
    const few = await costOf(pool, 'select * from howdah.queue_stats', 3);
    await deltas(10_000);
    const many = await costOf(pool, 'select * from howdah.queue_stats', 3);
    const [{ pages } = { pages: 0 }] = await db.rows<{ pages: number }>(
      "select (pg_relation_size('howdah._counter_deltas') / 8192)::integer as pages",
    );
    expect(many.buffers - few.buffers).toBeLessThanOrEqual(2 * pages);
    await db.rows(
      'delete from howdah._counter_deltas where ready = 0 and queue_id = (select max(id) from howdah._queues)',
    );
  });
});

describe('what a job has said', () => {
  test('is kept as long as its history, however long it waited since', async ({ db }) => {
    await db.createQueue('said');
    const [id = ''] = await db.enqueue('said');
    const lease = await db.openLease();
    const job = await db.claimOne('said', lease);
    await db.rows('select howdah.report($1, $2)', [
      lease,
      JSON.stringify({ id, attempt: 1, progress: 50, lines: [{ message: 'half done' }] }),
    ]);
    const lines = () => db.one('select count(*) from howdah.job_logs where id = $1', [id]);
    const daysPass = async (days: number) => {
      await db.rows(
        'update howdah._reports set looked_at = looked_at - make_interval(days => $1)',
        [days],
      );
      await db.rows('select howdah.sweep()');
    };
    await daysPass(3); // it waits: a snooze, a backoff
    await db.complete(lease, [job]);
    await daysPass(3);
    expect(await lines()).toBe('1');
    await daysPass(3);
    expect(await lines()).toBe('0');
  });
});

describe('a look at what upkeep has to do', () => {
  test('costs no more where leases have been in many lanes', async ({ pool, db }) => {
    const lease = await db.openLease();
    const mark = (low: number, high: number) =>
      db.rows(`insert into howdah._lease_marks
        select ${lease}, i, 201, 0, 1, 1, howdah.clock() from generate_series(${low}, ${high}) i`);
    const look = "select * from howdah.upkeep_due('{sweep}')";
    await mark(100_001, 103_000);
    for (let i = 0; i < 3; i += 1) await db.rows('select howdah.sweep()');
    expect(await db.rows(look)).toEqual([]);
    const before = await costOf(pool, look, 4);
    await mark(103_001, 130_000);
    const after = await costOf(pool, look, 4);
    expect(after.buffers).toBeLessThan(2 * before.buffers);
    await db.closeLease(lease);
  });
});

describe('a year of history', () => {
  test('a job is found by its id without a lock on each day', { timeout: 60_000 }, async ({
    pool,
    db,
  }) => {
    await db.createQueue('year', { retention_ms: 90 * 86_400_000 });
    const lease = await db.openLease();
    const finish = async (): Promise<string> => {
      const [id = ''] = await db.enqueue('year');
      await db.complete(lease, [await db.claimOne('year', lease)]);
      return id;
    };
    const ids: string[] = [];
    for (let day = 70; day > 0; day -= 1) {
      await db.rows(
        "select howdah._create_partition((howdah.clock() at time zone 'UTC')::date - $1::integer)",
        [day],
      );
      const id = await finish();
      await db.rows(
        `update howdah._history set finished_at = finished_at - $1 * interval '1 day' where id = $2`,
        [day, id],
      );
      ids.push(id);
    }
    ids.push(await finish());
    // days are noted 30 a call
    for (let i = 0; i < 3; i += 1) await db.rows('select * from howdah.prune()');

    const client = await pool.connect();
    const looks = ids.map((id) => `find_jobs(array[${id}])`);
    looks.push(
      'find_jobs(array[9000000000])',
      `cancel(array[${ids[9]}])`,
      `run_now(array[${ids[9]}])`,
    );
    looks.push(`watch(${lease}, array[${ids[9]}, ${ids.at(-1)}])`);
    for (const look of looks) {
      await client.query('begin');
      const { rows } = await client.query(`select * from howdah.${look}`);
      expect(rows.length, look).toBe(
        look.includes('9000000000') ? 0 : look.startsWith('w') ? 2 : 1,
      );
      const { rows: locks } = await client.query(
        `select count(distinct relation)::integer as n from pg_locks l join pg_class c on c.oid = l.relation
        where pid = pg_backend_pid() and c.relname ~ '^_history_[0-9]+$'`,
      );
      expect(locks[0].n, look).toBeLessThanOrEqual(6);
      await client.query('rollback');
    }
    const newest = [...ids].reverse();
    for (const [ask, expected] of [
      ['p_limit => 2', newest.slice(0, 2)],
      [`p_limit => 2, p_after => ${newest[20]}`, newest.slice(21, 23)],
      [`p_queue => 'year', p_states => '{completed}', p_limit => 1`, newest.slice(0, 1)],
    ] as const) {
      await client.query('begin');
      const { rows } = await client.query(
        `select to_json(ids::text[]) as ids from howdah.finished_ids(${ask})`,
      );
      expect(rows[0].ids, ask).toEqual(expected);
      const { rows: locks } = await client.query(
        `select count(distinct relation)::integer as n from pg_locks l join pg_class c on c.oid = l.relation
        where pid = pg_backend_pid() and c.relname ~ '^_history_[0-9]+$'`,
      );
      expect(locks[0].n, ask).toBeLessThanOrEqual(7);
      await client.query('rollback');
    }
    client.release();
    const howdah = createClient({ pool });
    onTestFinished(() => howdah.close());
    const listed = async (filter: object) => (await howdah.jobs.list(filter)).map(({ id }) => id);
    // more days than one statement looks at
    expect(await listed({ queue: 'year', state: 'completed', limit: 100 })).toEqual(newest);
    expect(await listed({ queue: 'year', limit: 3, after: newest[66] })).toEqual(
      newest.slice(67, 70),
    );
    expect(await listed({ queue: 'year', state: 'cancelled' })).toEqual([]);
    const all = `{${[...ids, ids[0], 9_000_000_000].join()}}`;
    expect(await db.one('select count(*) from howdah.find_jobs($1)', [all])).toBe('71');
  });

  test('a day that a clock in the future noted is looked at all the same', async ({ db }) => {
    await db.createQueue('ahead', { retention_ms: 40 * 86_400_000 });
    const lease = await db.openLease('ahead', 40_000_000);
    await db.shiftClock(3 * 86_400_000);
    await db.rows('select * from howdah.prune()');
    await db.shiftClock(0);
    const [id = ''] = await db.enqueue('ahead');
    await db.complete(lease, [await db.claimOne('ahead', lease)]);
    const found = () => db.one('select state from howdah.find_jobs($1)', [`{${id}}`]);
    expect(await found()).toBe('completed');
    await db.rows('select * from howdah.prune()');
    expect(await found()).toBe('completed');
    expect(
      await db.one('select count(*) from howdah._history_days where noted_at > howdah.clock()'),
    ).toBe('0');
  });
});
