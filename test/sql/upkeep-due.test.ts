import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sql-test.js';

/** What is due, by duty: in how many milliseconds. */
async function dueOf(db: Engine, ...duties: string[]): Promise<Record<string, number>> {
  const rows = await db.rows<{ duty: string; in_ms: string }>(
    'select * from howdah.upkeep_due($1)',
    [duties.length > 0 ? duties : null],
  );
  return Object.fromEntries(rows.map(({ duty, in_ms }) => [duty, Number(in_ms)]));
}

/** Runs every duty as long as it says that it is due now. */
async function settleDown(db: Engine): Promise<Record<string, number>> {
  for (let round = 0; round < 5; round += 1) {
    await db.promote();
    await db.reap();
    for (const call of ['sweep()', 'expire()', 'roll_up()', 'tend_queues()', 'fold_batches()']) {
      await db.rows(`select * from howdah.${call}`);
    }
  }
  const due = await dueOf(db);
  return Object.fromEntries(Object.entries(due).filter(([, inMs]) => inMs <= 0));
}

describe('upkeep_due', () => {
  test('names what has something to do, and nothing once that is done', async ({ db }) => {
    await db.createQueue('u');
    const lease = await db.openLease();
    expect(await settleDown(db)).toEqual({});
    await db.enqueue('u', 3);
    expect(await dueOf(db, 'roll-up', 'sweep')).toEqual({ 'roll-up': 0 });
    const jobs = await db.claim('u', lease, 2);
    await db.complete(lease, jobs);
    expect(await settleDown(db)).toEqual({});
    // from a mark behind everything there is nothing to fold
    await db.enqueue('u');
    const ahead = "select * from howdah.upkeep_due('{roll-up}', 1000000000)";
    expect(await db.rows(ahead)).toEqual([]);
    expect(await dueOf(db, 'one of tomorrow')).toEqual({ 'one of tomorrow': 0 });
  });

  test('tells when what is not due yet will be', async ({ db }) => {
    await db.createQueue('later');
    await settleDown(db);
    expect(await dueOf(db, 'promote')).toEqual({});
    await db.enqueue('later', 1, { delay_ms: 20_000 });
    await db.enqueue('later', 1, { delay_ms: 5_000 });
    const { promote } = await dueOf(db, 'promote');
    expect(promote).toBeGreaterThan(2_000);
    expect(promote).toBeLessThanOrEqual(5_000);
    await db.openLease('short', 8_000);
    const { reap } = await dueOf(db, 'reap');
    expect(reap).toBeGreaterThan(4_000);
    expect(reap).toBeLessThanOrEqual(8_000);
    await db.shiftClock(9_000);
    expect(await dueOf(db, 'promote', 'reap')).toEqual({ promote: 0, reap: 0 });
    await db.promote();
    await db.reap();
    const { promote: next } = await dueOf(db, 'promote', 'reap');
    expect(next).toBeGreaterThan(5_000);
    await db.shiftClock(0);
  });

  test('knows schedules, expiry, pauses, waits, ageing and batches', async ({ db }) => {
    await db.createQueue('much');
    await settleDown(db);
    await db.rows('select howdah.put_schedule($1, $2::jsonb)', [
      'due-1',
      JSON.stringify({ cron: '* * * * *', queue: 'much' }),
    ]);
    expect(await dueOf(db, 'schedule')).toEqual({ schedule: 0 });
    await db.enqueue('much', 1, { ttl_ms: 1_000 });
    const batch = await db.one<string>('select howdah.open_batch()');
    await db.rows("select howdah.limit_queue('much', 1000)");
    expect(await dueOf(db, 'expire', 'tend', 'fold-batches')).toEqual({});
    await db.enqueue('much', 1, { batch });
    expect(await dueOf(db, 'fold-batches')).toEqual({ 'fold-batches': 0 });
    await db.rows('select howdah.close_batch($1)', [batch]);
    await db.shiftClock(2_000);
    expect(await dueOf(db, 'expire', 'tend')).toEqual({ expire: 0, tend: 0 });
    await db.rows("select howdah.delete_schedule('due-1')");
    expect(await settleDown(db)).toEqual({});
    await db.rows("select howdah.pause_queue('much', null, howdah.clock() + interval '1 second')");
    expect(await dueOf(db, 'tend')).toEqual({});
    await db.shiftClock(4_000);
    expect(await dueOf(db, 'tend')).toEqual({ tend: 0 });
    expect(await settleDown(db)).toEqual({});
    await db.rows(`select howdah.alter_queue('much', '{"ageing_ms": 60000}')`);
    expect(await dueOf(db, 'tend')).toEqual({ tend: 0 });
    await db.shiftClock(0);
  });

  test('sees a job that was committed behind the cursors, and not those before them', async ({
    db,
    pool,
  }) => {
    await db.createQueue('behind');
    const lease = await db.openLease();
    const late = await pool.connect();
    await late.query('begin');
    await late.query(`select howdah.enqueue('[{"queue": "behind", "payload": 1}]')`);
    await db.enqueue('behind', 2);
    await db.claim('behind', lease, 2);
    await settleDown(db);
    expect(await dueOf(db, 'sweep')).toEqual({});
    await late.query('commit');
    late.release();
    expect(await dueOf(db, 'sweep')).toEqual({ sweep: 0 });
    expect(await db.one<number>('select howdah.sweep()')).toBe(1);
    expect(await dueOf(db, 'sweep')).toEqual({});
  });

  test('waits no longer than 100 ms for a lock on a table', async ({ db, pool }) => {
    const other = await pool.connect();
    await other.query('begin');
    await other.query('lock table howdah._batch_deltas in access exclusive mode');
    await expect(dueOf(db, 'fold-batches')).rejects.toMatchObject({ code: '55P03' });
    expect(await dueOf(db, 'roll-up', 'tend')).toBeTypeOf('object');
    await other.query('rollback');
    other.release();
  });
});
