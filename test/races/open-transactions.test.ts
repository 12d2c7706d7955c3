import { work } from 'howdah';
import pg from 'pg';
import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { PGBOUNCER, startPooler } from '../support/pooler.js';
import { type RaceSession, test } from '../support/sessions.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, startWorker } from '../support/workers.js';

/** What an application's transaction may hold while it stays open. */
const HOLDS: readonly [what: string, hold: (a: RaceSession, w: World) => Promise<unknown>][] = [
  ['a group', (a, { queue }) => a.enqueue(queue, 1, { group: 'g' })],
  ['a new lane', (a, { queue }) => a.enqueue(queue, 1, { priority: 7 })],
  ['a dedupe key', (a, { queue }) => a.enqueue(queue, 1, { dedupe: { key: 'k' } })],
  ['a job', (a, { waiting }) => a.cancel(waiting)],
  ['a running job', (a, { running }) => a.cancel(running)],
  ['a queue', (a, { queue }) => a.rows('select howdah.pause_queue($1)', [queue])],
  [
    'a policy',
    (a, { queue }) => a.rows(`select howdah.alter_queue($1, '{"rate_max": 9}')`, [queue]),
  ],
  [
    'a bound and what it counts',
    async (a, { queue }) => {
      await a.rows(`select howdah.alter_queue($1, '{"max_depth": 9}')`, [queue]);
      await a.enqueue(queue);
    },
  ],
  [
    'a circuit',
    async (a, { queue }) => {
      await a.rows(`select howdah.alter_queue($1, '{"breaker_failures": 5}')`, [queue]);
      await a.rows(`select howdah.set_circuit($1, 'open')`, [queue]);
    },
  ],
  ['a worker', (a) => a.rows(`select * from howdah.drain_worker('drained')`)],
  ['a batch', (a, { queue, batch }) => a.enqueue(queue, 1, { batch })],
  ['a schedule', (a) => a.rows(`select howdah.pause_schedule('held')`)],
  [
    'a batch that it has closed',
    (a, { batch }) => a.rows('select howdah.close_batch($1, true)', [batch]),
  ],
  ['a job that is changed', (a, { waiting }) => a.rows(EDIT, [waiting])],
  ['a closed queue', (a, { queue }) => a.rows('select howdah.close_queue($1)', [queue])],
  ['a held queue', (a, { queue }) => a.rows('select howdah.limit_queue($1, 60000)', [queue])],
  ['a dead job', (a, { dead }) => a.rows('select howdah.redrive($1)', [{ ids: [dead] }])],
  [
    'what it has claimed',
    async (a, { queue }) =>
      expect(await a.claim(queue, await a.openLease('app'), 9)).not.toEqual([]),
  ],
  [
    'the end of the running job',
    (a, { lease, running }) => a.end(lease, { id: running, attempt: 1 } as never, 'complete'),
  ],
  ['what a call has dropped', (a, { full }) => a.enqueue(full, 1, { on_full: 'drop_oldest' })],
  ['a report', (a, { lease, running }) => a.rows(REPORT, [lease, running])],
  // an operator's hand that lends the upkeep its own
  ['what promote() has done', (a) => a.promote()],
  ['what reap() has done', (a) => a.reap()],
  ['what sweep() has done', (a) => a.rows('select howdah.sweep()')],
  ['what expire() has done', (a) => a.rows('select howdah.expire()')],
  ['what roll_up() has done', (a) => a.rows('select * from howdah.roll_up()')],
  ['what tend_queues() has done', (a) => a.rows('select * from howdah.tend_queues()')],
  ['what fold_batches() has done', (a) => a.rows('select * from howdah.fold_batches()')],
  ['what find_orphans() has done', (a) => a.rows('select * from howdah.find_orphans(0, 10000)')],
  ['what prune() has done', (a) => a.rows('select * from howdah.prune()')],
  ['what mend() has done', (a) => a.rows('select howdah.mend()')],
  ['what redrive() has done', (a) => a.rows(`select * from howdah.redrive('{}', 10)`)],
  [
    'what cancel_jobs() has done',
    (a, { queue }) => a.rows('select * from howdah.cancel_jobs($1)', [{ queue }]),
  ],
  [
    'what delete_queue() has done',
    (a, { queue }) => a.rows('select howdah.delete_queue($1, true)', [queue]),
  ],
];

const EDIT = `select howdah.edit_job($1, '{"priority": 3, "payload": 7}')`;
const REPORT = `select howdah.report($1, jsonb_build_array(jsonb_build_object('id', $2::bigint, 'attempt', 1,
  'progress', '{"percent": 50}'::jsonb)))`;

/** Statements of upkeep and of a worker: none of them may wait for any of those. */
const ROUNDS: readonly [name: string, run: (b: RaceSession, w: World) => Promise<unknown>][] = [
  ['heartbeat', (b, { lease }) => b.rows('select * from howdah.heartbeat($1)', [lease])],
  ['claim', (b, { other, lease }) => b.claim(other, lease, 1)],
  ['promote', (b) => b.promote()],
  ['reap', (b) => b.reap()],
  ['sweep', (b) => b.rows('select howdah.sweep()')],
  ['expire', (b) => b.rows('select howdah.expire()')],
  ['roll_up', (b) => b.rows('select * from howdah.roll_up()')],
  ['tend_queues', (b) => b.rows('select * from howdah.tend_queues()')],
  ['fold_batches', (b) => b.rows('select * from howdah.fold_batches()')],
  ['due_schedules', (b) => b.rows('select * from howdah.due_schedules()')],
  ['prune', (b) => b.rows('select * from howdah.prune()')],
];

interface World {
  readonly queue: string;
  readonly other: string;
  readonly lease: string;
  readonly running: string;
  readonly waiting: string;
  readonly batch: string;
  readonly dead: string;
  readonly full: string;
}

let worlds = 0;

/** A queue with something of everything, and another one. */
async function world(db: Engine): Promise<World> {
  worlds += 1;
  const queue = `open-${worlds}`;
  const other = `free-${worlds}`;
  await db.createQueue(queue);
  await db.createQueue(other);
  const lease = await db.openLease('drained');
  const [running = ''] = await db.enqueue(queue, 2, { group: 'g' });
  await db.claim(queue, lease, 1);
  const [waiting = ''] = await db.enqueue(queue);
  const batch = await db.one<string>(`select howdah.open_batch('{}')`);
  await db.rows(`select howdah.put_schedule('held', '{"cron": "* * * * *", "queue": "${queue}"}')
    where not exists (select from howdah._schedules where name = 'held')`);
  await db.enqueue(other, 20);
  await db.enqueue(other, 1, { batch });
  const full = `full-${worlds}`;
  await db.createQueue(full, { max_depth: 1 });
  await db.enqueue(full);
  const [dead = ''] = await db.enqueue(queue, 1, { priority: 100 });
  await db.end(lease, await db.claimOne(queue, lease), 'dead_letter');
  // something due for each duty
  const lost = await db.openLease('dead');
  await db.enqueue(queue, 1, { priority: 50 });
  await db.claim(queue, lost, 1);
  await db.killLease(lost);
  await db.enqueue(queue, 1, { ttl_ms: 1 });
  await db.enqueue(queue, 1, { delay_ms: 1 });
  await db.rows(
    `update howdah._queues set paused_at = howdah.clock(), paused_until = howdah.clock() where name = $1`,
    [queue],
  );
  return { queue, other, lease, running, waiting, batch, dead, full };
}

describe.for(HOLDS)('an open transaction that holds %s', ([, hold]) => {
  test('is waited for by no duty and no statement of a worker, nor by settles of others', async ({
    db,
    a,
    b,
  }) => {
    const here = await world(db);
    await a.begin();
    await hold(a, here);
    const dead = await db.openLease('dead');
    const [lost] = await db.claim(here.other, dead);
    await db.killLease(dead);
    // a wait for a lock beyond this is an error, which fails the test
    await b.rows(`set lock_timeout = '2s'`);
    for (const [name, run] of ROUNDS) {
      const begunAt = performance.now();
      await run(b, here).catch((cause: unknown) => {
        throw new Error(`${name} waits`, { cause });
      });
      expect(performance.now() - begunAt, `${name} has waited`).toBeLessThan(2_000);
    }
    expect(await db.state(lost?.id ?? '')).toBe('ready');
    const outcomes = ['complete', 'fail', 'snooze', 'release', 'dead_letter', 'cancel', 'expire'];
    for (const outcome of [...outcomes, 'rate_limited']) {
      const lease = await db.openLease();
      const [job] = await db.claim(here.other, lease);
      if (!job) throw new Error('nothing to claim');
      expect(await b.end(lease, job, outcome), outcome).not.toBe('stale');
      await db.rows('delete from howdah._holds');
    }
    await a.rollback();
    await db.promote();
    await db.expectTruth();
  });

  test('does not keep the member that runs from its end, nor its group for longer', async ({
    db,
    a,
    b,
  }) => {
    const here = await world(db);
    const job = { id: here.running, attempt: 1 };
    await a.begin();
    await hold(a, here);
    await b.rows(`set lock_timeout = '100ms'`);
    const ended = b.rows('select howdah.complete_many($1::bigint, $2::bigint[], $3::int[])', [
      here.lease,
      [job.id],
      [1],
    ]);
    const isHeld = await ended.then(
      () => false,
      (error: { code: string }) => error.code === '55P03',
    );
    const held = await b.rows('select * from howdah.held_jobs($1)', [[job.id, here.waiting]]);
    expect(held.some((row) => Object.values(row)[0] === job.id)).toBe(isHeld);
    await a.rollback();
    if (isHeld) await b.end(here.lease, { ...job } as never, 'complete');
    await db.promote();
    const blocked = await db.rows(
      `select from howdah.job_states where queue = $1 and state = 'blocked'`,
      [here.queue],
    );
    expect(blocked).toEqual([]);
    await db.expectTruth();
  });
});

test('schedules of others fire while one waits for a group or a dedupe key, which is put off', async ({
  db,
  a,
  b,
}) => {
  await db.createQueue('cron');
  const at = Date.now() - 1_000;
  for (const [name, more] of [
    ['grouped', '"group": "g"'],
    ['keyed', '"dedupe": {"key": "k"}'],
    ['plain', '"missed": "skip"'],
    ['other', '"group": "free"'],
  ]) {
    await db.rows(`select howdah.put_schedule('${name}',
      '{"cron": "* * * * * *", "queue": "cron", ${more}}')`);
  }
  const plans = await db.rows<{ id: string; revision: string; name: string }>(
    `select id, revision, name from howdah._schedules where name <> 'held'`,
  );
  const asked = plans.map(({ id, revision }) => ({
    id,
    revision: Number(revision),
    runs: [at],
    skipped: null,
    after: at,
    next: at + 60_000,
    error: null,
  }));
  await a.begin();
  await a.enqueue('cron', 1, { group: 'g' });
  await a.enqueue('cron', 1, { dedupe: { key: 'k' } });
  const fire = 'select * from howdah.fire_schedules($1::text::jsonb)';
  const [fired] = await b.rows(fire, [JSON.stringify(asked)]);
  expect(fired).toMatchObject({ planned: 4, enqueued: 2, refused: 0 });
  await a.rollback();
  // the plans of the two still stand, nothing of them was decided
  const [later] = await b.rows(fire, [JSON.stringify(asked)]);
  expect(later).toMatchObject({ planned: 2, enqueued: 2 });
});

test('a batch whose job waits for a group is put off, others are finished', async ({
  db,
  a,
  b,
}) => {
  await db.createQueue('after');
  await a.begin();
  await a.enqueue('after', 1, { group: 'g' });
  const open = (more: string): Promise<string> =>
    db.one(`select howdah.open_batch('{"on_complete": {"queue": "after", "payload": 1${more}}}')`);
  const [held, free] = [await open(', "group": "g"'), await open('')];
  // as close_batch() leaves it in a transaction that saw an older snapshot
  await db.rows(
    `update howdah._batches set closed_at = howdah.clock(), retry_at = howdah.clock()
    where id in ($1, $2)`,
    [held, free],
  );
  await b.rows('select * from howdah.fold_batches()');
  const state = (id: string): Promise<string> =>
    db.one('select state from howdah.batches where id = $1', [id]);
  await waitFor(async () => {
    await b.rows('select * from howdah.fold_batches()');
    return (await state(free)) === 'completed';
  });
  expect(await state(held)).toBe('closed');
  await a.rollback();
  await waitFor(async () => {
    await b.rows('select * from howdah.fold_batches()');
    return (await state(held)) === 'completed';
  });
});

test('a hundred leases that cannot be given back keep no other from the reaper', async ({
  db,
  a,
}) => {
  await db.createQueue('stubborn');
  await db.createQueue('reaped');
  const ids: string[] = [];
  for (let i = 0; i < 100; i += 1) {
    ids.push(...(await db.enqueue('stubborn')));
    const lease = await db.openLease();
    await db.claim('stubborn', lease);
    await db.killLease(lease);
  }
  const lease = await db.openLease();
  const [id] = await db.enqueue('reaped');
  await db.claim('reaped', lease);
  await db.killLease(lease);
  await a.begin();
  await a.cancel(...ids);
  await db.reap();
  await db.reap();
  expect(await db.state(String(id))).toBe('ready');
  await a.rollback();
  await db.reap();
  await db.reap();
  expect(await db.state(ids[0] ?? '')).toBe('ready');
  await db.expectTruth();
});

describe('a worker', () => {
  test('settles 40 jobs of another queue, and stops, while a producer holds the group of one', async ({
    db,
    a,
    url,
    pool,
  }) => {
    const grouped = await createQueue(pool);
    const plain = await createQueue(pool);
    let ran = 0;
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    let hasBegun = false;
    const member = async (): Promise<void> => {
      hasBegun = true;
      await ended;
    };
    const count = async (): Promise<void> => {
      ran += 1;
    };
    const { worker } = await startWorker({
      url,
      lease: '5s',
      queues: [work(grouped, member), work(plain, count)],
    });
    const [first] = await db.enqueue(grouped, 1, { group: 'customer' });
    await waitFor(() => hasBegun);
    await a.begin();
    const [next] = await a.enqueue(grouped, 1, { group: 'customer' });
    end();
    await db.enqueue(plain, 40);
    const left = (): Promise<number> =>
      db.one(
        `select count(*)::int from howdah._jobs j join howdah._queues q on q.id = j.queue_id
        where q.name in ($1, $2)`,
        [grouped, plain],
      );
    await waitFor(async () => (await left()) === 0, { what: 'the ends of all' });
    expect(ran).toBe(40);
    expect(await db.state(first ?? '')).toBe('completed');
    await worker.stop();
    const { worker: second } = await startWorker({ url, queues: [work(grouped, count)] });
    await a.commit();
    await waitFor(async () => (await db.state(next ?? '')) === 'completed', { what: 'the next' });
    await second.stop();
    const attempts = `select count(*)::int as n, max(attempt) as attempt from howdah.history
      where queue in ($1, $2)`;
    expect(await db.rows(attempts, [grouped, plain])).toEqual([{ n: 42, attempt: 1 }]);
  });

  test.runIf(PGBOUNCER)(
    'settles the others through a transaction pooler, too',
    async ({ db, a, url, pool }) => {
      const queue = await createQueue(pool);
      const release: (() => void)[] = [];
      await startWorker({
        url: await startPooler(url),
        queues: [
          work(queue, () => new Promise<void>((resolve) => release.push(resolve)), {
            concurrency: 3,
          }),
        ],
      });
      const ids = await db.enqueue(queue, 3);
      await waitFor(() => release.length === 3);
      await a.begin();
      await a.cancel(ids[0] ?? '');
      for (const resolve of release) resolve();
      await waitFor(async () => (await db.state(ids[1] ?? '')) === 'completed');
      await waitFor(async () => (await db.state(ids[2] ?? '')) === 'completed');
      await a.rollback();
      await waitFor(async () => (await db.state(ids[0] ?? '')) === 'completed');
    },
  );

  test('waits for no transaction that a handler has left open after completeIn()', async ({
    db,
    url,
    pool,
  }) => {
    const queue = await createQueue(pool);
    const left: pg.Client[] = [];
    const { events } = await startWorker({
      url,
      queues: [
        work(
          queue,
          async (_job, context) => {
            const client = new pg.Client({ connectionString: url });
            await client.connect();
            left.push(client);
            await client.query('begin');
            await context.completeIn(client);
          },
          { concurrency: 3 },
        ),
      ],
    });
    const ids = await db.enqueue(queue, 3);
    await waitFor(() => events.some(({ type }) => type === 'settle.failed'), {
      what: 'a settle that gives up',
    });
    await waitFor(() => left.length === 3);
    for (const client of left) await client.query('commit');
    for (const id of ids) await waitFor(async () => (await db.state(id)) === 'completed');
    for (const client of left) await client.end();
  });

  test('keeps its lease while a cancel of one of its jobs stays open; others are settled', async ({
    db,
    a,
    url,
    pool,
  }) => {
    const queue = await createQueue(pool);
    const release: (() => void)[] = [];
    const { events } = await startWorker({
      url,
      lease: '2s',
      queues: [
        work(queue, () => new Promise<void>((resolve) => release.push(resolve)), {
          concurrency: 3,
        }),
      ],
    });
    const ids = await db.enqueue(queue, 3);
    await waitFor(() => release.length === 3);
    await a.begin();
    await a.cancel(ids[0] ?? '');
    const lease = await db.one<string>('select lease_id from howdah._jobs where id = $1', [ids[0]]);
    const until = (): Promise<Date> =>
      db.one('select expires_at from howdah._leases where id = $1', [lease]);
    const [before] = [await until()];
    await waitFor(async () => (await until()).getTime() > before.getTime() + 2_000, {
      what: 'a heartbeat',
    });
    for (const resolve of release) resolve();
    await waitFor(async () => (await db.state(ids[1] ?? '')) === 'completed');
    await waitFor(async () => (await db.state(ids[2] ?? '')) === 'completed');
    expect(await db.state(ids[0] ?? '')).toBe('running');
    await a.rollback();
    await waitFor(async () => (await db.state(ids[0] ?? '')) === 'completed');
    expect(events.filter(({ type }) => type === 'lease.lost')).toEqual([]);
  });

  test('that stops leaves how attempts ended whose jobs somebody has: none runs again', async ({
    db,
    a,
    url,
    pool,
  }) => {
    const queue = await createQueue(pool, { max_attempts: 2 });
    const ran: string[] = [];
    const release: (() => void)[] = [];
    const { worker } = await startWorker({
      url,
      queues: [
        work(
          queue,
          async (job) => {
            ran.push(job.id);
            await new Promise<void>((resolve) => release.push(resolve));
            if ((job.payload as { end: string }).end === 'fails') throw new Error('no use');
            return { by: job.id };
          },
          { concurrency: 4 },
        ),
      ],
    });
    const ids = (
      await db.enqueueRows(
        ['returns', 'fails', 'returns', 'is free'].map((end) => ({ queue, payload: { end } })),
      )
    ).map(({ id }) => String(id));
    await waitFor(() => release.length === 4);
    await a.begin();
    await a.cancel(ids[0] ?? '');
    await a.rows('select from howdah._jobs where id = any ($1) for update', [ids.slice(1, 3)]);
    for (const resolve of release) resolve();
    const stopped = await worker.stop();
    expect(stopped).toMatchObject({ completed: 1, failed: 0, released: 0, left: 3 });
    expect(await db.state(ids[0] ?? '')).toBe('running');
    await a.commit();
    const { worker: second } = await startWorker({
      url,
      queues: [work(queue, async (job) => void ran.push(job.id))],
    });
    await waitFor(async () => (await db.state(ids[2] ?? '')) === 'completed');
    const result = (id = '') => db.one('select result from howdah.history where id = $1', [id]);
    expect(await result(ids[0])).toEqual({ by: ids[0] });
    expect(await result(ids[2])).toEqual({ by: ids[2] });
    // it failed once: the second attempt is its last
    const [failed] = await db.rows(
      'select state, attempt, errors from howdah.job_states where id = $1',
      [ids[1]],
    );
    expect(failed).toMatchObject({ state: 'scheduled', errors: [{ message: 'no use' }] });
    expect([...ran].sort()).toEqual([...ids].sort());
    await second.stop();
    expect(await db.one('select count(*)::int from howdah._left_settles')).toBe(0);
    await db.expectTruth();
  });
});
