import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sql-test.js';

/** Enqueues plain jobs of one queue. */
function fill(db: Engine, queue: string, count: number): Promise<unknown> {
  return db.rows(
    `select count(*) from howdah.enqueue(jsonb_build_object('queue', $1::text, 'payloads',
       (select jsonb_agg(1) from generate_series(1, $2))))`,
    [queue, count],
  );
}

function floorOf(db: Engine, queue: string): Promise<number> {
  return db.one<number>(
    `select howdah._lane_floor(id, 201::smallint)::float8 from howdah._queues where name = $1`,
    [queue],
  );
}

/** Twice: what was pending at the first is decided at the second. */
async function sweep(db: Engine): Promise<void> {
  await db.rows('select howdah.sweep()');
  await db.rows('select howdah.sweep()');
}

/** Claims and completes the next jobs; returns the greatest seq among them. */
async function work(db: Engine, queue: string, lease: string, count: number): Promise<number> {
  const jobs = await db.claim(queue, lease, count);
  expect(jobs).toHaveLength(count);
  await db.complete(lease, jobs);
  return Number(jobs.at(-1)?.seq);
}

describe('the floor of a lane', () => {
  test('rises behind what is over, and not past what is ready', async ({ db }) => {
    await db.createQueue('rising');
    await fill(db, 'rising', 2_500);
    const lease = await db.openLease();
    const last = await work(db, 'rising', lease, 1_500);
    await sweep(db);
    expect(await floorOf(db, 'rising')).toBe(last);
    const rest = await db.claim('rising', lease, 2_000);
    expect(rest).toHaveLength(1_000);
    expect(Number(rest[0]?.seq)).toBe(last + 1);
    await db.complete(lease, rest);
    await sweep(db);
    expect(await floorOf(db, 'rising')).toBe(last + 1_000);
    await db.expectTruth();
  });

  test('waits for who has drawn a number and is not committed', async ({ pool, db }) => {
    await db.createQueue('late');
    const before = await db.one<string>('select last_value from howdah.job_seq');
    const open = await pool.connect();
    await open.query('begin');
    const { rows } = await open.query(
      `select id from howdah.enqueue('{"queue": "late", "payload": "late"}')`,
    );
    const late = String(rows[0]?.id);
    await fill(db, 'late', 3_000);
    const lease = await db.openLease();
    await work(db, 'late', lease, 3_000);
    for (let n = 0; n < 3; n++) await sweep(db);
    expect(await floorOf(db, 'late')).toBeLessThanOrEqual(Number(before));
    await open.query('commit');
    open.release();
    await db.rows('select howdah._decide_numbers(last_value) from howdah.job_seq');
    expect((await db.claim('late', lease, 9)).map(({ id }) => id)).toEqual([late]);
    await sweep(db);
    expect(await floorOf(db, 'late')).toBeGreaterThan(Number(late));
    await db.expectTruth();
  });

  test('a number that is drawn by a transaction without an id of its own counts', async ({
    pool,
    db,
  }) => {
    // the first of 32 numbers writes a log record and so gives the transaction an id; the next does not
    await db.rows(`select nextval('howdah.job_seq')`);
    const open = await pool.connect();
    await open.query('begin');
    const { rows } = await open.query(
      `select nextval('howdah.job_seq') as drawn, pg_current_xact_id_if_assigned() as xact`,
    );
    expect(rows[0]?.xact).toBeNull();
    await db.createQueue('drawn');
    await fill(db, 'drawn', 2_000);
    const decided = () =>
      db.one<number>('select howdah._decide_numbers(last_value)::float8 from howdah.job_seq');
    await decided();
    expect(await decided()).toBeLessThan(Number(rows[0]?.drawn));
    await open.query('rollback');
    open.release();
    await decided();
    expect(await decided()).toBeGreaterThan(Number(rows[0]?.drawn));
  });

  test('a running job below it returns above it', async ({ db }) => {
    await db.createQueue('returning');
    await fill(db, 'returning', 1_500);
    const lease = await db.openLease();
    const [held, ...others] = await db.claim('returning', lease, 1_500);
    await db.complete(lease, others);
    await sweep(db);
    expect(await floorOf(db, 'returning')).toBeGreaterThan(Number(held?.seq));
    if (held) await db.end(lease, held, 'release');
    const [again] = await db.claim('returning', lease, 9);
    expect(again?.id).toBe(held?.id);
    expect(Number(again?.seq)).toBeGreaterThan(await floorOf(db, 'returning'));
    await db.killLease(lease);
    await db.reap();
    const next = await db.openLease();
    expect((await db.claim('returning', next, 9)).map(({ id }) => id)).toEqual([held?.id]);
  });

  test('is not raised by an older snapshot, which may not show all that is decided', async ({
    pool,
    db,
  }) => {
    await db.createQueue('older');
    await fill(db, 'older', 1);
    const lease = await db.openLease();
    await work(db, 'older', lease, 1);
    const older = await pool.connect();
    await older.query('begin isolation level repeatable read');
    await older.query('select count(*) from howdah._jobs');
    await fill(db, 'older', 2_000);
    await older.query('select howdah.sweep()');
    await older.query('commit');
    older.release();
    expect(await floorOf(db, 'older')).toBe(0);
    expect(await db.claim('older', lease, 2_000)).toHaveLength(2_000);
  });

  test('is forgotten when the sequence was set back', async ({ db }) => {
    await db.createQueue('back');
    await fill(db, 'back', 1_500);
    const lease = await db.openLease();
    const last = await work(db, 'back', lease, 1_500);
    await sweep(db);
    expect(await floorOf(db, 'back')).toBe(last);
    await db.rows('delete from howdah._history');
    await db.rows(`select setval('howdah.job_seq', $1)`, [last - 1_400]);
    const ids = await db.enqueue('back', 3);
    expect((await db.claim('back', lease, 1)).map(({ id }) => id)).toEqual(ids.slice(0, 1));
    await sweep(db);
    expect(await floorOf(db, 'back')).toBe(0);
    expect((await db.claim('back', lease, 9)).map(({ id }) => id)).toEqual(ids.slice(1));
    await db.rows(`select setval('howdah.job_seq', $1)`, [last + 100]);
  });

  test('a claim without cursors costs little although a snapshot is held', async ({ pool, db }) => {
    await db.createQueue('held');
    const snapshot = await pool.connect();
    await snapshot.query('begin isolation level repeatable read');
    await snapshot.query('select count(*) from howdah._jobs');
    const lease = await db.openLease();
    await fill(db, 'held', 20_000);
    for (let n = 0; n < 2; n++) await work(db, 'held', lease, 10_000);
    await db.rows('vacuum howdah._jobs');
    const fresh = await db.openLease();
    const pages = async (): Promise<number> => {
      const [{ 'QUERY PLAN': plan } = {}] = await db.rows<Record<string, unknown>>(
        `explain (analyze, buffers, format json) select * from howdah.claim('held', ${fresh}, 1)`,
      );
      const [{ Plan: node }] = plan as [{ Plan: Record<string, number> }];
      return (node['Shared Hit Blocks'] ?? 0) + (node['Shared Read Blocks'] ?? 0);
    };
    await pages(); // warm
    const before = await pages();
    await sweep(db);
    const after = await pages();
    await snapshot.query('rollback');
    snapshot.release();
    expect(after).toBeLessThan(100);
    expect(before).toBeGreaterThan(5 * after);
  });

  test('that is too high is seen', async ({ db }) => {
    await db.createQueue('hidden');
    await fill(db, 'hidden', 2);
    const hidden = () => db.rows('select queue, seq <= floor as is_below from howdah.hidden_jobs');
    expect(await hidden()).toEqual([]);
    await db.rows(
      `insert into howdah._lane_floors select queue_id, lane, max(seq) from howdah._jobs j
      join howdah._queues q on q.id = j.queue_id where q.name = 'hidden' group by queue_id, lane`,
    );
    const job = { queue: 'hidden', is_below: true };
    expect(await hidden()).toEqual([job, job]);
    const lease = await db.openLease();
    expect(await db.claim('hidden', lease, 2)).toEqual([]);
    await db.rows('delete from howdah._lane_floors');
    expect(await hidden()).toEqual([]);
    expect(await db.claim('hidden', lease, 2)).toHaveLength(2);
  });
});

describe('what is committed behind the cursors', () => {
  test('is claimed in its place after one sweep when it is much', async ({ pool, db }) => {
    await db.createQueue('bulk');
    const lease = await db.openLease();
    const open = await pool.connect();
    await open.query('begin');
    await open.query(
      `select count(*) from howdah.enqueue(jsonb_build_object('queue', 'bulk', 'payloads',
         (select jsonb_agg(1) from generate_series(1, 3000))))`,
    );
    await db.enqueue('bulk', 1);
    const [passed] = await db.claim('bulk', lease, 9);
    if (!passed) throw new Error('one was enqueued');
    await db.complete(lease, [passed]);
    await open.query('commit');
    open.release();
    const cursors = { 201: passed.seq };
    const [later] = await db.enqueue('bulk', 1);
    expect((await db.claim('bulk', lease, 1, cursors)).map(({ id }) => id)).toEqual([later]);
    expect(await db.one('select howdah.sweep()')).toBe(1_000);
    const late = await db.claim('bulk', lease, 10_000, cursors);
    expect(late).toHaveLength(3_000);
    expect(late.every(({ id, seq }) => id === seq && BigInt(id) < BigInt(passed.id))).toBe(true);
    await db.complete(lease, late);
    // over: claims begin at their cursors again
    await db.rows('select howdah.sweep()');
    expect(
      await db.one('select count(*)::int from howdah._lane_floors where rewind_seq is not null'),
    ).toBe(0);
    await db.expectTruth();
  });

  test('costs no more to look for when more lies behind an open transaction, and is found', async ({
    pool,
    db,
  }) => {
    await db.createQueue('behind');
    const lease = await db.openLease();
    const open = await pool.connect();
    await open.query('begin');
    const { rows } = await open.query(
      `select id from howdah.enqueue('{"queue": "behind", "payload": "late"}')`,
    );
    const id = String(rows[0]?.id);
    const more = async (count: number) => {
      for (let n = 0; n < count; n += 5_000) {
        await fill(db, 'behind', 5_000);
        await work(db, 'behind', lease, 5_000);
      }
      await db.rows(
        'update howdah._lease_marks set seen_seq = (select last_value from howdah.job_seq)',
      );
    };
    const pages = async (): Promise<number> => {
      const [{ 'QUERY PLAN': plan } = {}] = await db.rows<Record<string, unknown>>(
        'explain (analyze, buffers, format json) select howdah.sweep(10)',
      );
      const [{ Plan: node }] = plan as [{ Plan: Record<string, number> }];
      return (node['Shared Hit Blocks'] ?? 0) + (node['Shared Read Blocks'] ?? 0);
    };
    const snapshot = await pool.connect(); // so that no entry is taken for dead
    await snapshot.query('begin isolation level repeatable read');
    await snapshot.query('select 1');
    await more(5_000);
    await pages();
    const few = await pages();
    await more(20_000);
    await pages();
    expect(await pages()).toBeLessThan(2 * few);
    await snapshot.query('commit');
    snapshot.release();
    await open.query('commit');
    open.release();
    let found = 0;
    for (let n = 0; n < 50 && found === 0; n++) found = await db.one('select howdah.sweep(10)');
    expect(found).toBe(1);
    const [job] = await db.claim('behind', lease, 9, {
      201: await db.one<string>('select (last_value - 2)::text from howdah.job_seq'),
    });
    expect(job?.id).toBe(id);
    await db.expectTruth();
  });
});
