import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

/** When the jobs are due, in milliseconds after the first time of the first call. */
async function dues(db: Engine, queue: string, group: string): Promise<number[]> {
  const seen: number[] = [];
  const lease = await db.openLease();
  for (;;) {
    const rows = await db.rows<{ id: string; due: number }>(
      `select id, date_part('epoch', coalesce(run_at, enqueued_at)) * 1000 as due
      from howdah.job_states where queue = $1 and group_key = $2 and state in ('ready', 'scheduled')
      order by id`,
      [queue, group],
    );
    if (rows.length === 0) return seen.map((due) => Math.round(due - (seen[0] ?? 0)));
    for (const { id, due } of rows) {
      seen.push(due);
      await db.rows('select * from howdah.run_now($1)', [[id]]);
    }
    await db.complete(lease, await db.claim(queue, lease, 10));
    await db.expectTruth();
  }
}

describe('a rate per key', () => {
  test('turns of a group come at its distance, whatever the jobs take', async ({ db }) => {
    await db.createQueue('even', { group_rate_max: 2, group_rate_ms: 60_000 });
    await db.enqueue('even', 4, { group: 'g' });
    const [first = 0, second = 0, third = 0, fourth = 0] = await dues(db, 'even', 'g');
    expect([first, third - second, fourth - third]).toEqual([0, 30_000, 30_000]);
    expect(Math.abs(second - 30_000)).toBeLessThan(1_000);
  });

  test('after a quiet time up to the burst at once', async ({ db }) => {
    await db.createQueue('burst', {
      group_rate_max: 1,
      group_rate_ms: 60_000,
      group_rate_burst: 3,
    });
    await db.enqueue('burst', 5, { group: 'g' });
    const [, , third = 0, fourth = 0, fifth = 0] = await dues(db, 'burst', 'g');
    expect(third).toBeLessThan(1_000);
    expect(fourth).toBeGreaterThan(55_000);
    expect(fifth - fourth).toBe(60_000);
  });

  test('each key has its own; it is remembered when the group has ended', async ({ db }) => {
    await db.createQueue('own', { group_rate_max: 1, group_rate_ms: 60_000 });
    const [a] = await db.enqueue('own', 1, { group: 'a' });
    const [b] = await db.enqueue('own', 1, { group: 'b' });
    expect([await db.state(String(a)), await db.state(String(b))]).toEqual(['ready', 'ready']);
    const lease = await db.openLease();
    await db.complete(lease, await db.claim('own', lease, 10));

    const [again] = await db.enqueue('own', 1, { group: 'a' });
    expect(await db.state(String(again))).toBe('scheduled');
    const [other] = await db.enqueue('own', 1, { group: 'c' });
    expect(await db.state(String(other))).toBe('ready');
    await db.expectTruth();
    await db.shiftClock(61_000);
    await db.promote();
    expect(await db.state(String(again))).toBe('ready');
    await db.shiftClock(3_600_000);
    await db.rows('select howdah.sweep(1000)');
    expect(await db.rows('select * from howdah._group_rates')).toEqual([]);
    await db.shiftClock(0);
  });

  test('k at once share it; a delay of the job itself holds if it is longer', async ({ db }) => {
    await db.createQueue('share', {
      group_rate_max: 1,
      group_rate_ms: 60_000,
      group_concurrency: 3,
    });
    await db.enqueue('share', 2, { group: 'g' });
    await db.enqueue('share', 1, { group: 'g', delay_ms: 600_000 });
    const rows = await db.rows<{ ms: number }>(
      `select round(date_part('epoch', run_at - enqueued_at)) as ms from howdah.job_states
      where queue = 'share' order by id`,
    );
    expect(rows.map(({ ms }) => ms)).toEqual([null, 60, 600]);
    await db.expectTruth();
  });

  test('taken away, the next is admitted at once; another attempt does not count', async ({
    db,
  }) => {
    await db.createQueue('retry', { group_rate_max: 1, group_rate_ms: 60_000 });
    const [first, second] = await db.enqueue('retry', 2, { group: 'g' });
    const lease = await db.openLease();
    const job = await db.claimOne('retry', lease);
    expect(await db.end(lease, job, 'fail', { delay_ms: 0 })).toBe('ready');
    expect(await db.state(String(first))).toBe('ready');
    await db.createQueue('retry', { group_rate_max: null });
    await db.complete(lease, [await db.claimOne('retry', lease)]);
    expect(await db.state(String(second))).toBe('ready');
    await db.expectTruth();
  });

  test.for([
    { group_rate_max: 0 },
    { group_rate_max: -1 },
    { group_rate_max: 1_000_001 },
    { group_rate_max: 1.5 },
    { group_rate_max: 1, group_rate_burst: 0 },
    { group_rate_max: 1, group_rate_burst: -1 },
    { group_rate_burst: null },
    { group_rate_max: 1, group_rate_ms: 0 },
    { group_rate_max: 'fast' },
  ])('%j is refused', async (policy, { db }) => {
    expect(await sqlError(db.createQueue('bad', policy))).toMatchObject({ code: 'HW003' });
  });
});
