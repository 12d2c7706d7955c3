import { readdir } from 'node:fs/promises';
import { describe, expect } from 'vitest';
import { test } from '../support/sql-test.js';

describe('views', () => {
  test('show a job in each of its states, once', async ({ db }) => {
    await db.createQueue('views');
    const lease = await db.openLease('ann');
    const [running, done, dead, cancelled] = await db.enqueue('views', 4, { priority: 7 });
    const jobs = await db.claim('views', lease, 3);
    await db.complete(
      lease,
      jobs.filter(({ id }) => id === done),
    );
    for (const job of jobs.filter(({ id }) => id === dead))
      await db.end(lease, job, 'dead_letter', { reason: 'bad' });
    await db.cancel(String(cancelled));
    const [ready] = await db.enqueue('views', 1, { priority: -3 });
    const [scheduled] = await db.enqueue('views', 1, { delay_ms: 60_000 });
    const ids = [running, done, dead, cancelled, ready, scheduled];
    const rows = await db.rows<{ id: string }>(
      'select * from howdah.jobs where id = any($1) order by id',
      [ids],
    );
    expect(rows.map((row) => Object.values(row).slice(0, 4))).toEqual([
      [running, 'views', 'running', 7],
      [done, 'views', 'completed', 7],
      [dead, 'dead-letters', 'dead', 7],
      [cancelled, 'views', 'cancelled', 7],
      [ready, 'views', 'ready', -3],
      [scheduled, 'views', 'scheduled', 0],
    ]);
    expect(await db.stats('views')).toMatchObject({
      ready: '1',
      scheduled: '1',
      running: '1',
      dead: '0',
      enqueued: '6',
      completed: '1',
      failed_attempts: '1',
      buried: '1',
      cancelled: '1',
      expired: '0',
      discarded: '0',
      paused: false,
    });
    expect(Number((await db.stats('views')).backlog_age_ms)).toBeGreaterThanOrEqual(0);
    expect(await db.rows('select * from howdah.dead_letters where id = $1', [dead])).toMatchObject([
      { queue: 'views', dead_letter_queue: 'dead-letters', reason: 'bad', errors_count: 1 },
    ]);
    expect(
      await db.rows('select worker, alive from howdah.workers where lease_id = $1', [lease]),
    ).toEqual([{ worker: 'ann', alive: true }]);
  });

  test('tell how long the first ready job has waited, null when there is none', async ({ db }) => {
    await db.createQueue('age');
    expect(await db.stats('age')).toMatchObject({ backlog_age_ms: null });
    await db.enqueue('age', 1, { delay_ms: 60_000 });
    expect(await db.stats('age')).toMatchObject({ backlog_age_ms: null });
    await db.enqueue('age', 1);
    await db.shiftClock(30_000);
    expect(Number((await db.stats('age')).backlog_age_ms)).toBeGreaterThanOrEqual(30_000);
    await db.shiftClock(61_000);
    await db.promote();
    const lease = await db.openLease();
    await db.claimOne('age', lease);
    expect(Number((await db.stats('age')).backlog_age_ms)).toBeLessThan(30_000);
    await db.shiftClock(0);
  });

  test('schema_version is the number of the newest migration', async ({ db }) => {
    const files = await readdir(new URL('../../migrations/', import.meta.url));
    const newest = Number(files.sort().at(-1)?.slice(0, 4));
    expect(await db.one('select howdah.schema_version()')).toBe(newest);
  });
});
