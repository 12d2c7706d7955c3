import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

/** The last row of a claim of a queue with limits: why there is no more room. */
async function hold(db: Engine, queue: string, lease: string, limit = 100): Promise<unknown> {
  const rows = await db.rows<{ lane: number | null; rest: unknown }>(
    'select lane, rest from howdah.claim_many($1, $2, $3)',
    [queue, lease, limit],
  );
  return rows.find(({ lane }) => lane === null)?.rest;
}

const ids = (rows: readonly { id: string }[]): string[] => rows.map(({ id }) => id);

describe('concurrency_max', () => {
  test('bounds what runs in the whole fleet; each way to end gives room back', async ({ db }) => {
    await db.createQueue('few', { concurrency_max: 3, max_attempts: 1 });
    const all = await db.enqueue('few', 10);
    const [one, two] = [await db.openLease(), await db.openLease()];
    const first = await db.claim('few', one, 2);
    const second = await db.claim('few', two, 10);
    expect([first.length, second.length]).toEqual([2, 1]);
    expect(await hold(db, 'few', two)).toEqual({ reason: 'concurrency', again_ms: 250 });
    await db.expectTruth();

    await db.complete(one, first);
    await db.expectTruth();
    const third = await db.claim('few', two, 10);
    expect(ids(third)).toEqual(all.slice(3, 5));
    await db.end(two, second[0] as never, 'fail', { error: { message: 'no' } });
    await db.end(two, third[0] as never, 'snooze', { delay_ms: 60_000 });
    await db.end(two, third[1] as never, 'release');
    await db.expectTruth();
    expect(await db.claim('few', two, 10)).toHaveLength(3);
    expect(await db.claim('few', one, 10)).toEqual([]);
    await db.closeLease(two);
    await db.expectTruth();
    expect(await db.claim('few', one, 10)).toHaveLength(3);
    await db.killLease(one);
    await db.reap();
    await db.expectTruth();
    const three = await db.openLease();
    expect(await db.claim('few', three, 10)).toHaveLength(3);
    await db.expectTruth();
  });

  test('set, changed and taken away while jobs run: the count does not drift', async ({ db }) => {
    await db.createQueue('late');
    await db.enqueue('late', 20);
    const lease = await db.openLease();
    const before = await db.claim('late', lease, 4);
    await db.createQueue('late', { concurrency_max: 2 });
    await db.expectTruth();
    // what ran before the first limit is not counted
    const limited = await db.claim('late', lease, 10);
    expect(limited).toHaveLength(2);
    await db.createQueue('late', { concurrency_max: null });
    const free = await db.claim('late', lease, 3);
    expect(free).toHaveLength(3);
    await db.complete(lease, [...before, ...limited.slice(0, 1), ...free]);
    await db.expectTruth();
    await db.createQueue('late', { concurrency_max: 2 });
    expect(await db.claim('late', lease, 10)).toHaveLength(1);
    await db.complete(lease, limited);
    await db.expectTruth();
    expect(await db.claim('late', lease, 10)).toHaveLength(1);
    await db.expectTruth();
  });

  test('weights count; nothing overtakes a heavy job that waits for room', async ({ db }) => {
    await db.createQueue('heavy', { concurrency_max: 10 });
    const [a] = await db.enqueue('heavy', 1, { weight: 6 });
    const [b] = await db.enqueue('heavy', 1, { weight: 5 });
    await db.enqueue('heavy', 1);
    const lease = await db.openLease();
    const first = await db.claim('heavy', lease, 10);
    expect(ids(first)).toEqual([a]);
    expect(await hold(db, 'heavy', lease)).toEqual({ reason: 'concurrency', again_ms: 250 });
    await db.complete(lease, first);
    const second = await db.claim('heavy', lease, 10);
    expect(second[0]?.id).toBe(b);
    expect(second).toHaveLength(2);
    await db.expectTruth();
    // made smaller than a job that waits: it counts for the whole limit
    const [c] = await db.enqueue('heavy', 1, { weight: 8 });
    await db.createQueue('heavy', { concurrency_max: 7 });
    await db.complete(lease, second);
    expect(ids(await db.claim('heavy', lease, 10))).toEqual([c]);
    await db.expectTruth();
  });

  test('sleepers are rung when there is room again, only if the limit was hit', async ({
    db,
    pool,
  }) => {
    await db.createQueue('bell', { concurrency_max: 1 });
    await db.enqueue('bell', 3);
    const [one, two] = [await db.openLease(), await db.openLease()];
    const listener = await pool.connect();
    try {
      const heard: string[] = [];
      listener.on('notification', ({ channel }) => heard.push(channel));
      await listener.query(`listen "howdah_${two}"`);
      await db.rows('select howdah.sleep($1, $2)', [two, ['bell']]);
      const first = await db.claim('bell', one, 1);
      await db.complete(one, first);
      await listener.query('select 1');
      expect(heard).toHaveLength(1); // the claim took all the room there was
      const second = await db.claim('bell', one, 1);
      expect(await db.claim('bell', two, 1)).toEqual([]);
      await db.complete(one, second);
      await listener.query('select 1');
      expect(heard).toHaveLength(2);
    } finally {
      listener.release(true);
    }
  });
});

describe('rate_max', () => {
  test('lets through the burst, then what the rate brings', async ({ db }) => {
    await db.createQueue('slow', { rate_max: 10, rate_ms: 60_000, rate_burst: 3 });
    await db.enqueue('slow', 20);
    const lease = await db.openLease();
    expect(await db.claim('slow', lease, 10)).toHaveLength(3);
    expect(await db.claim('slow', lease, 10)).toEqual([]);
    const { reason, again_ms } = (await hold(db, 'slow', lease)) as Record<string, number>;
    expect(reason).toBe('rate');
    expect(again_ms).toBeGreaterThan(4_000);
    expect(again_ms).toBeLessThan(6_001);
    await db.shiftClock(6_100);
    expect(await db.claim('slow', lease, 10)).toHaveLength(1);
    await db.shiftClock(3_600_000);
    expect(await db.claim('slow', lease, 10)).toHaveLength(3);
    await db.expectTruth();
    await db.shiftClock(0);
    expect(await db.claim('slow', lease, 10)).toEqual([]);
  });

  test('a job uses as many tokens as it weighs', async ({ db }) => {
    await db.createQueue('tokens', { rate_max: 10, rate_ms: 60_000, rate_burst: 10 });
    await db.enqueue('tokens', 5, { weight: 4 });
    const lease = await db.openLease();
    expect(await db.claim('tokens', lease, 10)).toHaveLength(2);
    expect(await db.claim('tokens', lease, 10)).toEqual([]);
  });
});

describe('bad input', () => {
  test.for([
    { rate_max: 0 },
    { rate_max: -1 },
    { rate_ms: 0 },
    { rate_ms: null },
    { rate_burst: 0 },
    { concurrency_max: -1 },
    { concurrency_max: 0 },
    { concurrency_max: 1.5 },
    { breaker_failures: 0 },
    { breaker_failures: 101 },
    { breaker_window_ms: 0 },
    { breaker_cooldown_ms: -1 },
    { ageing_ms: 999 },
  ])('policy %j is refused', async (policy, { db }) => {
    expect((await sqlError(db.createQueue('bad', policy))).code).toBe('HW003');
  });

  test('a weight out of bounds, or above the limit', async ({ db }) => {
    await db.createQueue('weights', { concurrency_max: 5 });
    await db.createQueue('rates', { rate_max: 7 });
    await db.createQueue('none');
    for (const [queue, weight] of [
      ['weights', 6],
      ['rates', 8],
      ['none', 0],
      ['none', -1],
      ['none', 1001],
      ['none', 1.5],
      ['none', '2'],
    ]) {
      const error = await sqlError(db.enqueueRows({ queue, payload: 1, weight }));
      expect(error.code, `${queue} ${weight}`).toBe('HW060');
    }
    const [row] = await db.enqueueRows({ queue: 'weights', payload: 1, weight: 6 }, 'report');
    expect(row).toMatchObject({ created: false, error_code: 'HOWDAH_WEIGHT_INVALID' });
    await db.enqueueRows({ queue: 'none', payload: 1, weight: 1000 });
    await db.enqueueRows({ queue: 'none', payload: 1, weight: null });
  });
});

describe('pause_queue until', () => {
  test('holds until then, tells when to come again, ends by itself', async ({ db }) => {
    await db.createQueue('nap');
    await db.enqueue('nap', 2);
    const lease = await db.openLease();
    await db.rows(`select howdah.pause_queue('nap', 'lunch', howdah.clock() + interval '1 min')`);
    expect(await db.claim('nap', lease, 9)).toEqual([]);
    const held = (await hold(db, 'nap', lease)) as Record<string, number>;
    expect(held.reason).toBe('paused');
    expect(held.again_ms).toBeGreaterThan(55_000);
    expect(await db.stats('nap')).toMatchObject({ paused: true, paused_reason: 'lunch' });
    await db.shiftClock(61_000);
    expect(await db.stats('nap')).toMatchObject({ paused: false });
    expect(await db.claim('nap', lease, 1)).toHaveLength(1);
    expect(await db.rows('select * from howdah.tend_queues()')).toEqual([
      { freed: 1, aged: 0, opened: 0 },
    ]);
    expect(await db.stats('nap')).toMatchObject({ paused_reason: null, paused_until: null });
    expect(await db.claim('nap', lease, 1)).toHaveLength(1);
    await db.shiftClock(0);
  });

  test('is refused for a time that is past', async ({ db }) => {
    await db.createQueue('past');
    const error = await sqlError(
      db.rows(`select howdah.pause_queue('past', null, howdah.clock() - interval '1 s')`),
    );
    expect(error.code).toBe('HW062');
  });
});

describe('rate_limited', () => {
  test('holds the whole queue; the attempt does not count', async ({ db }) => {
    await db.createQueue('api');
    await db.enqueue('api', 3);
    const lease = await db.openLease();
    const [job] = await db.claim('api', lease, 1);
    const ask = { delay_ms: 5_000, reason: '429' };
    expect(await db.end(lease, job as never, 'rate_limited', ask)).toBe('ready');
    expect(await db.claim('api', lease, 9)).toEqual([]);
    expect(await hold(db, 'api', lease)).toMatchObject({ reason: 'rate-limited' });
    expect(await db.stats('api')).toMatchObject({ limited_reason: '429', ready: '3' });
    await db.shiftClock(5_100);
    const [again] = await db.claim('api', lease, 9);
    expect(again).toMatchObject({ id: job?.id, attempt: 2, uncounted: 1 });
    await db.rows('select * from howdah.tend_queues()');
    expect(await db.rows('select * from howdah._holds')).toEqual([]);
    await db.expectTruth();
    await db.shiftClock(0);
  });

  test('limit_queue does the same by hand', async ({ db }) => {
    await db.createQueue('by-hand');
    await db.enqueue('by-hand');
    const lease = await db.openLease();
    await db.rows(`select howdah.limit_queue('by-hand', 5000)`);
    expect(await db.claim('by-hand', lease)).toEqual([]);
    expect((await sqlError(db.rows(`select howdah.limit_queue('by-hand', -1)`))).code).toBe(
      'HW062',
    );
  });
});

describe('circuit breaker', () => {
  const policy = {
    breaker_failures: 3,
    breaker_window_ms: 10_000,
    breaker_cooldown_ms: 5_000,
    backoff_ms: 0,
  };

  async function failAll(db: Engine, queue: string, lease: string, count: number): Promise<number> {
    const jobs = await db.claim(queue, lease, count);
    for (const job of jobs) await db.end(lease, job, 'fail', { error: { message: 'down' } });
    return jobs.length;
  }

  test('opens after n failures, probes with single jobs, closes on success', async ({ db }) => {
    await db.createQueue('fuse', policy);
    await db.enqueue('fuse', 10);
    const lease = await db.openLease();
    expect(await failAll(db, 'fuse', lease, 2)).toBe(2);
    expect(await db.stats('fuse')).toMatchObject({ circuit: 'closed' });
    expect(await failAll(db, 'fuse', lease, 1)).toBe(1);
    expect(await db.claim('fuse', lease, 9)).toEqual([]);
    expect(await db.stats('fuse')).toMatchObject({
      circuit: 'open',
      circuit_reason: '3 failures within 10000 ms',
    });
    await db.shiftClock(5_100);
    const probe = await db.claim('fuse', lease, 9);
    expect(probe).toHaveLength(1);
    expect(await db.stats('fuse')).toMatchObject({ circuit: 'half-open' });
    expect(await db.claim('fuse', lease, 9)).toEqual([]);
    await db.end(lease, probe[0] as never, 'fail', { error: { message: 'down' } });
    expect(await db.claim('fuse', lease, 9)).toEqual([]);
    expect(await db.stats('fuse')).toMatchObject({ circuit: 'open' });
    await db.shiftClock(10_300);
    const second = await db.claim('fuse', lease, 9);
    expect(second).toHaveLength(1);
    await db.complete(lease, second);
    expect((await db.claim('fuse', lease, 9)).length).toBeGreaterThan(5);
    expect(await db.stats('fuse')).toMatchObject({ circuit: 'closed', circuit_reason: null });
    await db.expectTruth();
    await db.shiftClock(0);
  });

  test('failures further apart than the window do not open it', async ({ db }) => {
    await db.createQueue('calm', policy);
    await db.enqueue('calm', 10);
    const lease = await db.openLease();
    await failAll(db, 'calm', lease, 2);
    await db.shiftClock(11_000);
    await failAll(db, 'calm', lease, 2);
    expect(await db.claim('calm', lease, 9)).not.toEqual([]);
    await db.shiftClock(0);
  });

  test('a probe that never ends is followed by another after the cool-down', async ({ db }) => {
    await db.createQueue('lost', policy);
    await db.enqueue('lost', 5);
    const lease = await db.openLease();
    await failAll(db, 'lost', lease, 3);
    await db.claim('lost', lease, 1);
    await db.shiftClock(5_100);
    expect(await db.claim('lost', lease, 9)).toHaveLength(1);
    await db.shiftClock(10_300);
    expect(await db.claim('lost', lease, 9)).toHaveLength(1);
    await db.shiftClock(0);
  });

  test('is set by hand', async ({ db }) => {
    await db.createQueue('hand', policy);
    await db.createQueue('no-fuse');
    await db.enqueue('hand', 2);
    const lease = await db.openLease();
    await db.rows(`select howdah.set_circuit('hand', 'open', 'maintenance')`);
    expect(await db.claim('hand', lease)).toEqual([]);
    expect(await db.stats('hand')).toMatchObject({
      circuit: 'open',
      circuit_reason: 'maintenance',
    });
    await db.rows(`select howdah.set_circuit('hand', 'closed')`);
    expect(await db.claim('hand', lease)).toHaveLength(1);
    for (const call of [
      `set_circuit('hand', 'ajar')`,
      `set_circuit('no-fuse', 'open')`,
      `set_circuit('no-fuse', null)`,
    ]) {
      expect((await sqlError(db.rows(`select howdah.${call}`))).code, call).toBe('HW061');
    }
  });
});

describe('ageing_ms', () => {
  test('lifts what waited too long by one lane a pass', async ({ db }) => {
    await db.createQueue('old', { ageing_ms: 60_000 });
    const low = await db.enqueue('old', 3, { priority: -10 });
    await db.enqueue('old', 2);
    await db.enqueue('old', 1, { priority: 10 });
    const tend = () => db.one('select aged from howdah.tend_queues()');
    const priorities = async () =>
      (
        await db.rows<{ priority: number }>(
          `select priority from howdah.job_states where queue = 'old' order by id`,
        )
      ).map(({ priority }) => priority);
    await tend();
    expect(await priorities()).toEqual([-10, -10, -10, 0, 0, 10]);
    await db.shiftClock(61_000);
    expect(await tend()).toBe(5);
    expect(await priorities()).toEqual([0, 0, 0, 10, 10, 10]);
    expect(await tend()).toBe(0);
    await db.shiftClock(122_000);
    expect(await tend()).toBe(3);
    expect(await priorities()).toEqual([10, 10, 10, 10, 10, 10]);
    const lease = await db.openLease();
    expect(ids(await db.claim('old', lease, 9))).toEqual(expect.arrayContaining(low));
    await db.expectTruth();
    await db.shiftClock(0);
  });

  test('is bounded in rows and goes on with the next run', async ({ db }) => {
    await db.createQueue('many', { ageing_ms: 1_000 });
    await db.enqueue('many', 5, { priority: -10 });
    await db.enqueue('many', 1);
    await db.shiftClock(2_000);
    const aged = async () => db.one<number>('select aged from howdah.tend_queues(2)');
    expect([await aged(), await aged(), await aged(), await aged()]).toEqual([2, 2, 1, 0]);
    await db.shiftClock(0);
  });
});
