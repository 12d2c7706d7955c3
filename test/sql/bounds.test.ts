import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

/** What the counters say that waits. */
async function waiting(db: Engine, queue: string): Promise<{ depth: number; bytes: number }> {
  const [row] = await db.rows<{ depth: string; bytes: string }>(
    'select w.depth, w.bytes from howdah._waiting_in(howdah._queue_id_of($1)) w',
    [queue],
  );
  return { depth: Number(row?.depth), bytes: Number(row?.bytes) };
}

describe('drop_oldest makes enough room, or does nothing', () => {
  const put = (db: Engine, queue: string, payload: string, more: object = {}) =>
    db.enqueueRows([{ queue, payload, on_full: 'drop_oldest', ...more }], 'report');
  const discarded = async (db: Engine, queue: string) =>
    Number(
      await db.one(`select count(*) from howdah.history where state = 'discarded' and queue = $1`, [
        queue,
      ]),
    );
  const chars = (count: number) => 'x'.repeat(count - 2);

  test('discards nothing where it cannot make enough room', async ({ db }) => {
    await db.createQueue('tight', { max_bytes: 1000 });
    for (let i = 0; i < 8; i++) {
      await db.enqueueRows([{ queue: 'tight', payload: chars(100), delay_ms: 60_000 }]);
    }
    await db.enqueueRows([{ queue: 'tight', payload: chars(100) }]);
    await db.enqueueRows([{ queue: 'tight', payload: chars(100) }]);
    const [row] = await put(db, 'tight', chars(880), { dedupe: { key: 'k' } });
    expect(row).toMatchObject({ error_code: 'HOWDAH_QUEUE_FULL', details: { bytes: 1000 } });
    expect(await discarded(db, 'tight')).toBe(0);
    // a refused one leaves no key, no group and no count
    const [again] = await put(db, 'tight', chars(10), { dedupe: { key: 'k' }, group: 'g' });
    expect(again).toMatchObject({ created: true });
    expect(await discarded(db, 'tight')).toBe(1);
    await db.expectTruth();
  });

  test('discards as few as are enough of what is counted', async ({ db }) => {
    await db.createQueue('late');
    await db.enqueue('late', 500);
    await db.createQueue('late', { max_bytes: 1000 });
    for (let i = 0; i < 10; i++) await db.enqueueRows([{ queue: 'late', payload: chars(100) }]);
    expect(await put(db, 'late', chars(100))).toMatchObject([{ created: true }]);
    expect(await discarded(db, 'late')).toBe(1);
    expect((await waiting(db, 'late')).bytes).toBe(1000);
    // by their number the oldest of all go
    await db.createQueue('late', { max_depth: 510 });
    expect(await put(db, 'late', '')).toMatchObject([{ created: true }]);
    expect(await discarded(db, 'late')).toBe(2);
    await db.expectTruth();
  });

  test('one statement discards at most 10,000, or none', async ({ db }) => {
    await db.createQueue('lowered');
    await db.rows(`select count(*) from howdah.enqueue(jsonb_build_object('queue', 'lowered', 'payloads',
      (select jsonb_agg(1) from generate_series(1, 10100))))`);
    await db.createQueue('lowered', { max_depth: 10 });
    expect(await put(db, 'lowered', '')).toMatchObject([{ error_code: 'HOWDAH_QUEUE_FULL' }]);
    expect(await discarded(db, 'lowered')).toBe(0);
    await db.createQueue('lowered', { max_depth: 200 });
    expect(await put(db, 'lowered', '')).toMatchObject([{ created: true }]);
    expect(await discarded(db, 'lowered')).toBe(9901);
    await db.expectTruth();
  });

  test('a newer payload of a waiting job counts for the jobs after it', async ({ db }) => {
    await db.createQueue('grown', { max_bytes: 300 });
    const dedupe = { key: 'a', mode: 'replace' };
    const job = (size: number, more: object) => ({ queue: 'grown', payload: chars(size), ...more });
    await db.enqueueRows([job(100, { dedupe })]);
    const rows = await db.enqueueRows(
      [job(250, { dedupe }), job(100, { dedupe: { key: 'b' } }), job(50, { dedupe: { key: 'c' } })],
      'report',
    );
    expect(rows.map(({ created, error_code: code }) => [created, code])).toEqual([
      [false, null],
      [false, 'HOWDAH_QUEUE_FULL'],
      [true, null],
    ]);
    expect((await waiting(db, 'grown')).bytes).toBe(300);
    await db.expectTruth();
  });
});

describe('max_depth', () => {
  test('refuses what would exceed it, and says by how much to wait', async ({ db }) => {
    await db.createQueue('depth', { max_depth: 3 });
    await db.enqueue('depth', 2);
    await db.enqueue('depth', 1, { delay_ms: 60_000 });
    const error = await sqlError(db.enqueue('depth'));
    expect(error).toMatchObject({ code: 'HW040', message: expect.stringContaining("'depth'") });
    expect(JSON.parse(error.detail ?? '')).toEqual({
      unit: 'jobs',
      depth: 3,
      bytes: 3,
      bound: 3,
      retry_after_ms: 1000,
    });
    const lease = await db.openLease();
    const job = await db.claimOne('depth', lease);
    expect(await db.enqueue('depth')).toHaveLength(1);
    // what was taken comes back whatever the bound
    expect(await db.end(lease, job, 'release')).toBe('ready');
    expect(await waiting(db, 'depth')).toEqual({ depth: 4, bytes: 4 });
    await db.expectTruth();
  });

  test('raised: all or nothing; reported: each job by itself', async ({ db }) => {
    await db.createQueue('rest', { max_depth: 5 });
    await db.createQueue('free');
    const jobs = Array.from({ length: 7 }, (_, payload) => ({ queue: 'rest', payload }));
    expect(await sqlError(db.enqueueRows(jobs))).toMatchObject({
      code: 'HW040',
      message: expect.stringContaining('(job 6 of 7)'),
    });
    expect((await waiting(db, 'rest')).depth).toBe(0);
    const rows = await db.enqueueRows([...jobs, { queue: 'free', payload: 1 }], 'report');
    expect(rows.map(({ error_code: code }) => code)).toEqual([
      ...Array(5).fill(null),
      'HOWDAH_QUEUE_FULL',
      'HOWDAH_QUEUE_FULL',
      null,
    ]);
    expect(rows[5]).toMatchObject({ id: null, created: false, details: { depth: 5, bound: 5 } });
    const lease = await db.openLease();
    const claimed = await db.claim('rest', lease, 9);
    expect(claimed.map(({ payload }) => payload)).toEqual([0, 1, 2, 3, 4]);
    await db.expectTruth();
  });

  test('a duplicate needs no room, and a refused job leaves no key', async ({ db }) => {
    await db.createQueue('keys', { max_depth: 1 });
    const put = (key: string, mode = 'skip') =>
      db.enqueueRows([{ queue: 'keys', payload: key, dedupe: { key, mode } }], 'report');
    const [first] = await put('a');
    expect(first).toMatchObject({ created: true });
    expect((await put('b'))[0]).toMatchObject({ error_code: 'HOWDAH_QUEUE_FULL' });
    expect((await put('a'))[0]).toMatchObject({ id: first?.id, created: false, error_code: null });
    expect((await put('a', 'latest'))[0]).toMatchObject({ id: first?.id, created: false });
    const lease = await db.openLease();
    await db.complete(lease, [await db.claimOne('keys', lease)]);
    expect((await put('b'))[0]).toMatchObject({ created: true });
    await db.expectTruth();
  });

  test('follows every way in and out', async ({ db }) => {
    await db.createQueue('ways', { max_depth: 100, max_attempts: 2, backoff_ms: 0 });
    await db.createQueue('graves', { max_depth: 1 });
    await db.createQueue('ways', { dead_letter_queue: 'graves' });
    const lease = await db.openLease();
    const ids = await db.enqueue('ways', 8);
    const [a, b, c, d] = await db.claim('ways', lease, 4);
    if (!a || !b || !c || !d) throw new Error('eight are there');
    await db.complete(lease, [a]);
    await db.end(lease, b, 'fail');
    await db.end(lease, c, 'snooze', { delay_ms: 1000 });
    await db.end(lease, d, 'dead_letter');
    await db.cancel(String(ids[7]));
    await db.expectTruth();
    expect((await waiting(db, 'ways')).depth).toBe(5);
    expect((await waiting(db, 'graves')).depth).toBe(1);
    await db.rows('select * from howdah.redrive()');
    await db.rows('select * from howdah.roll_up()');
    expect((await waiting(db, 'ways')).depth).toBe(6);
    expect((await waiting(db, 'graves')).depth).toBe(0);
    await db.expectTruth();
  });

  test('a bound on a queue that has jobs, and one that is lifted', async ({ db }) => {
    await db.createQueue('later');
    await db.enqueue('later', 5);
    await db.createQueue('later', { max_depth: 5 });
    expect((await sqlError(db.enqueue('later'))).code).toBe('HW040');
    await db.createQueue('later', { max_depth: null });
    expect(await db.enqueue('later', 3)).toHaveLength(3);
    await db.createQueue('later', { max_depth: 9 });
    await db.enqueue('later');
    expect((await sqlError(db.enqueue('later'))).code).toBe('HW040');
    await db.expectTruth();
  });

  test('without a worker producers keep the counters short', async ({ db }) => {
    await db.createQueue('alone', { max_depth: 100_000 });
    for (let i = 0; i < 700; i++) await db.enqueue('alone');
    const deltas = await db.one<number>(
      `select w.deltas from howdah._waiting_in(howdah._queue_id_of('alone')) w`,
    );
    expect(deltas).toBeLessThan(510);
    expect((await waiting(db, 'alone')).depth).toBe(700);
    await db.expectTruth();
  });

  test('the estimate follows how fast jobs end', async ({ db }) => {
    await db.createQueue('paced', { max_depth: 100 });
    await db.enqueue('paced', 100);
    await db.rows('select * from howdah.roll_up()');
    const lease = await db.openLease();
    await db.rows(`update howdah._counters set rate = 0, rated_at = howdah.clock() - interval '1 s'
      where queue_id = howdah._queue_id_of('paced')`);
    await db.complete(lease, await db.claim('paced', lease, 40));
    await db.rows('select * from howdah.roll_up()');
    await db.enqueue('paced', 40);
    const rows = await db.enqueueRows([{ queue: 'paced', payload: 1 }], 'report');
    const ms = (rows[0]?.details as { retry_after_ms: number } | undefined)?.retry_after_ms;
    expect(ms).toBeGreaterThan(50);
    expect(ms).toBeLessThan(2000);
    await db.shiftClock(3_600_000);
    const later = await db.enqueueRows([{ queue: 'paced', payload: 1 }], 'report');
    expect(later[0]?.details).toMatchObject({ retry_after_ms: 30_000 });
    await db.shiftClock(0);
  });
});

describe('max_bytes', () => {
  test('bounds the bytes of payloads that wait', async ({ db }) => {
    await db.createQueue('bytes', { max_bytes: 100 });
    const put = (length: number) =>
      db.enqueueRows([{ queue: 'bytes', payload: 'x'.repeat(length - 2) }], 'report');
    expect((await put(60))[0]).toMatchObject({ created: true });
    const [refused] = await put(41);
    expect(refused?.details).toMatchObject({ unit: 'bytes', depth: 1, bytes: 60, bound: 100 });
    expect((await put(40))[0]).toMatchObject({ created: true });
    const lease = await db.openLease();
    await db.claimOne('bytes', lease);
    expect(await waiting(db, 'bytes')).toEqual({ depth: 1, bytes: 40 });
    expect((await put(60))[0]).toMatchObject({ created: true });
    expect((await put(1000))[0]).toMatchObject({ error_code: 'HOWDAH_QUEUE_FULL' });
    await db.expectTruth();
  });

  test('a newer payload for a waiting job counts', async ({ db }) => {
    await db.createQueue('newer', { max_bytes: 50 });
    const put = (length: number) =>
      db.enqueueRows(
        [
          {
            queue: 'newer',
            payload: 'x'.repeat(length - 2),
            dedupe: { key: 'k', mode: 'replace' },
          },
        ],
        'report',
      );
    expect((await put(20))[0]).toMatchObject({ created: true });
    expect((await put(50))[0]).toMatchObject({ created: false, error_code: null });
    expect((await put(51))[0]).toMatchObject({ error_code: 'HOWDAH_QUEUE_FULL' });
    expect((await put(10))[0]).toMatchObject({ created: false, error_code: null });
    expect(await waiting(db, 'newer')).toEqual({ depth: 1, bytes: 10 });
    await db.expectTruth();
  });
});

describe('drop_oldest', () => {
  test('ends the oldest of the lowest priority; the history says why', async ({ db }) => {
    await db.createQueue('drop', { max_depth: 4 });
    const [high] = await db.enqueue('drop', 1, { priority: 5 });
    const [one, two] = await db.enqueue('drop', 2);
    const [later] = await db.enqueue('drop', 1, { delay_ms: 60_000 });
    const [next] = await db.enqueue('drop', 1, { on_full: 'drop_oldest' });
    expect(
      await db.rows(`select id, state, reason from howdah.history where queue = 'drop'`),
    ).toEqual([{ id: one, state: 'discarded', reason: 'dropped: the queue was full' }]);
    await db.enqueue('drop', 3, { on_full: 'drop_oldest' });
    for (const id of [high, two, next]) expect(await db.state(String(id))).toBe('discarded');
    expect(await db.state(String(later))).toBe('scheduled');
    // nothing left to drop but what is scheduled or came with this very statement
    expect((await sqlError(db.enqueue('drop', 5, { on_full: 'drop_oldest' }))).code).toBe('HW040');
    await db.expectTruth();
  });

  test('frees bytes, but never for a payload that cannot fit', async ({ db }) => {
    await db.createQueue('weights', { max_bytes: 30 });
    const put = (length: number) =>
      db.enqueueRows(
        [{ queue: 'weights', payload: 'x'.repeat(length - 2), on_full: 'drop_oldest' }],
        'report',
      );
    for (let i = 0; i < 3; i++) await put(10);
    expect((await put(31))[0]).toMatchObject({ error_code: 'HOWDAH_QUEUE_FULL' });
    expect(await waiting(db, 'weights')).toEqual({ depth: 3, bytes: 30 });
    expect((await put(15))[0]).toMatchObject({ created: true });
    expect(await waiting(db, 'weights')).toEqual({ depth: 2, bytes: 25 });
    await db.expectTruth();
  });
});

describe('a refusal', () => {
  test('leaves no dead row: nothing is written', async ({ db, pool }) => {
    await db.createQueue('full', { max_depth: 1000 });
    for (let i = 0; i < 10; i++) await db.enqueue('full', 100);
    // what one session has written, so that nobody has to wait for statistics
    const client = await pool.connect();
    const written = async (): Promise<number> => {
      const { rows } = await client.query(`
        select sum(pg_stat_get_xact_tuples_inserted(oid) + pg_stat_get_xact_tuples_updated(oid)
          + pg_stat_get_xact_tuples_deleted(oid))::int as n
        from pg_class where relnamespace = 'howdah'::regnamespace and relkind = 'r'`);
      return rows[0].n;
    };
    await client.query('begin');
    const before = await written();
    const { rows } = await client.query(`
      select count(*)::int as n from generate_series(1, 2000) i, lateral howdah.enqueue(
        '{"queue": "full", "payload": 1}', case when i > 0 then 'report' end) e
      where e.error_code = 'HOWDAH_QUEUE_FULL'`);
    const after = await written();
    await client.query('commit');
    client.release();
    expect(rows).toEqual([{ n: 2000 }]);
    expect(after).toBe(before);
  });
});

describe('close_queue', () => {
  test('refuses new jobs, lets the others go on; twice is fine', async ({ db }) => {
    await db.createQueue('shut');
    await db.enqueue('shut', 2);
    const close = (reason: string | null) =>
      db.rows('select howdah.close_queue($1, $2)', ['shut', reason]);
    await close('moving');
    await close('moved');
    expect(await sqlError(db.enqueue('shut'))).toMatchObject({
      code: 'HW041',
      message: expect.stringContaining('moved'),
    });
    const rows = await db.enqueueRows([{ queue: 'shut', payload: 1 }], 'report');
    expect(rows[0]).toMatchObject({
      id: null,
      created: false,
      error_code: 'HOWDAH_QUEUE_CLOSED',
      details: { reason: 'moved' },
    });
    const lease = await db.openLease();
    const [one, two] = await db.claim('shut', lease, 2);
    if (!one || !two) throw new Error('two are there');
    await db.complete(lease, [one]);
    expect(await db.end(lease, two, 'fail', { delay_ms: 0 })).toBe('ready');
    expect(
      await db.rows(`select closed, closed_reason from howdah.queue_stats where queue = 'shut'`),
    ).toEqual([{ closed: true, closed_reason: 'moved' }]);
    await db.rows(`select howdah.open_queue('shut')`);
    await db.rows(`select howdah.open_queue('shut')`);
    expect(await db.enqueue('shut')).toHaveLength(1);
    expect((await sqlError(db.rows(`select howdah.close_queue('nowhere')`))).code).toBe('HW001');
    await db.expectTruth();
  });
});

describe('bad input', () => {
  test('bounds and on_full', async ({ db }) => {
    for (const policy of [
      { max_depth: 0 },
      { max_depth: -1 },
      { max_depth: 'x' },
      { max_bytes: -1 },
      { max_bytes: 0 },
    ]) {
      expect((await sqlError(db.createQueue('bad', policy))).code).toBe('HW003');
    }
    await db.createQueue('bad');
    for (const on_full of ['wait', 7, null, {}]) {
      const error = await sqlError(db.enqueueRows({ queue: 'bad', payload: 1, on_full }));
      expect(error.code).toBe('HW043');
    }
  });
});
