import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const HOUR_MS = 3_600_000;

/** The clock of the server goes an hour ahead, something happens, and it is right again. */
async function whileAhead<T>(db: Engine, run: () => Promise<T>): Promise<T> {
  await db.shiftClock(HOUR_MS);
  try {
    return await run();
  } finally {
    await db.shiftClock(0);
  }
}

describe('after the clock of the server was an hour ahead', () => {
  test('another worker leads, and the jobs of a dead one are its own no longer than a lease', async ({
    db,
  }) => {
    await db.createQueue('mail');
    await db.enqueue('mail', 2);
    const dead = await whileAhead(db, async () => {
      const lease = await db.openLease('dead', 5_000);
      expect(await db.rows('select term from howdah.lead($1, 5000)', [lease])).toHaveLength(1);
      await db.claim('mail', lease, 2);
      return lease;
    });
    const living = await db.openLease('living');
    expect(await db.rows('select term from howdah.lead($1, 5000)', [living])).toHaveLength(1);
    expect(await db.reap()).toEqual({ leases: 0, requeued: 0, dead: 0 });
    await db.shiftClock(5_001);
    expect(await db.reap()).toMatchObject({ leases: 1, requeued: 2 });
    await db.shiftClock(0);
    expect(await db.rows('select from howdah._leases where id = $1', [dead])).toEqual([]);
    await db.rows('select howdah.resign($1)', [living]);
    await db.closeLease(living);
  });

  test('a lease that lives, and what a consumer has extended, are left alone', async ({ db }) => {
    await db.createQueue('pulled');
    await db.enqueue('pulled', 1);
    const [job] = await db.rows<{ lease_id: string; id: string; attempt: number }>(
      `select * from howdah.receive('pulled', 1, 1000)`,
    );
    await db.rows('select * from howdah.extend_job($1, $2, $3, 600000)', [
      job?.lease_id,
      job?.id,
      job?.attempt,
    ]);
    const worker = await db.openLease('living', 60_000);
    await whileAhead(db, () => db.rows('select * from howdah.heartbeat($1)', [worker]));
    await db.reap();
    await db.shiftClock(59_000);
    expect(await db.reap()).toMatchObject({ leases: 0, requeued: 0 });
    await db.shiftClock(599_000);
    expect(await db.reap()).toMatchObject({ requeued: 0 });
    await db.shiftClock(0);
    await db.closeLease(worker);
  });

  test('a rate gives tokens, permits come back, a circuit and a hold end when they would have', async ({
    db,
  }) => {
    await db.createQueue('limited', {
      rate_max: 10,
      rate_burst: 1,
      concurrency_max: 3,
      breaker_failures: 1,
      breaker_cooldown_ms: 2_000,
      max_attempts: 5,
      backoff_ms: 0,
    });
    await db.createQueue('held');
    await db.enqueue('limited', 8);
    await db.enqueue('held', 1);
    const lease = await db.openLease('a', 12 * HOUR_MS);
    const claim = async (queue: string): Promise<number> =>
      (await db.claim(queue, lease, 1)).length;
    await whileAhead(db, async () => {
      const job = await db.claimOne('limited', lease);
      await db.end(lease, job, 'fail', { error: { message: 'down' } });
      expect(await claim('limited')).toBe(0); // folds: the circuit opens
      await db.rows(`select howdah.limit_queue('held', 2000, 'busy')`);
    });
    expect(await claim('held')).toBe(0);
    await db.shiftClock(1_000);
    await db.rows('select * from howdah.tend_queues()');
    await claim('limited'); // begins to fill its bucket from here on
    await db.shiftClock(3_100);
    await db.rows('select * from howdah.tend_queues()');
    expect(await claim('held')).toBe(1);
    const probe = await db.claimOne('limited', lease);
    await db.complete(lease, [probe]);
    await db.shiftClock(9_000);
    expect(await claim('limited')).toBe(1);
    expect(await db.one('select running from howdah._limits where running > 0')).toBe(1);
    await db.shiftClock(0);
    await db.closeLease(lease);
  });

  test('priorities age, and a batch whose end was refused is looked at', async ({ db }) => {
    await db.createQueue('old', { ageing_ms: 1_000 });
    await whileAhead(db, () => db.rows('select * from howdah.tend_queues()'));
    await db.rows('select * from howdah.tend_queues()');
    expect(
      await db.one(`select aged_at <= howdah.clock() from howdah._queues where name = 'old'`),
    ).toBe(true);
  });
});
