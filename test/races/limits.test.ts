import { describe, expect } from 'vitest';
import { test } from '../support/sessions.js';

describe('claims of a limited queue', () => {
  test('take turns: the second sees what the first took', async ({ db, a, b }) => {
    await db.createQueue('turns', { concurrency_max: 5 });
    await db.enqueue('turns', 20);
    const [one, two] = [await db.openLease(), await db.openLease()];
    await a.begin();
    expect(await a.claim('turns', one, 3)).toHaveLength(3);
    const [second] = await b.blocks((session) => session.claim('turns', two, 10));
    await a.commit();
    expect(await second).toHaveLength(2);
    await db.expectTruth();
  });

  test('what the first gives up by a rollback the second gets', async ({ db, a, b }) => {
    await db.createQueue('undone', { concurrency_max: 5, rate_max: 10, rate_ms: 60_000 });
    await db.enqueue('undone', 20);
    await db.createQueue('undone', { rate_burst: 4 });
    const [one, two] = [await db.openLease(), await db.openLease()];
    await a.begin();
    expect(await a.claim('undone', one, 3)).toHaveLength(3);
    const [second] = await b.blocks((session) => session.claim('undone', two, 10));
    await a.rollback();
    expect(await second).toHaveLength(4);
    await db.expectTruth();
  });

  test('a queue without limits waits for nobody', async ({ db, a, b }) => {
    await db.createQueue('plain');
    await db.enqueue('plain', 4);
    const [one, two] = [await db.openLease(), await db.openLease()];
    await a.begin();
    await a.claim('plain', one, 2);
    expect(await b.claim('plain', two, 2)).toHaveLength(2);
    await a.rollback();
  });
});

describe('a settle of a limited queue', () => {
  test('waits for no claim, and no claim for it; its room counts from its commit', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('settled', { concurrency_max: 2 });
    await db.enqueue('settled', 10);
    const [one, two] = [await db.openLease(), await db.openLease()];
    const first = await db.claim('settled', one, 2);
    await a.begin();
    expect(await a.complete(one, first.slice(0, 1))).toEqual([]);
    expect(await b.claim('settled', two, 5)).toEqual([]);
    await b.begin();
    expect(await b.claim('settled', two, 5)).toEqual([]);
    expect(await db.complete(one, first.slice(1))).toEqual([]);
    await b.commit();
    await a.commit();
    await db.expectTruth();
    expect(await b.claim('settled', two, 5)).toHaveLength(2);
    await db.expectTruth();
  });

  test('sent twice at once gives back once', async ({ db, a, b }) => {
    await db.createQueue('twice', { concurrency_max: 3 });
    await db.enqueue('twice', 10);
    const lease = await db.openLease();
    const jobs = await db.claim('twice', lease, 3);
    await a.begin();
    expect(await a.complete(lease, jobs)).toEqual([]);
    const [again] = await b.blocks((session) => session.complete(lease, jobs));
    await a.commit();
    expect((await again)?.sort()).toEqual(jobs.map(({ id }) => id).sort());
    await db.expectTruth();
    expect(await db.claim('twice', lease, 9)).toHaveLength(3);
  });

  test('that commits long after others is still counted', async ({ db, a }) => {
    await db.createQueue('late', { concurrency_max: 2 });
    await db.enqueue('late', 30);
    const lease = await db.openLease();
    const [slow, fast] = await db.claim('late', lease, 2);
    await a.begin();
    await a.complete(lease, [slow as never]);
    let last = fast;
    for (let i = 0; i < 5; i++) {
      await db.complete(lease, [last as never]);
      await db.shiftClock((i + 1) * 2_000);
      const next = await db.claim('late', lease, 5);
      expect(next).toHaveLength(1);
      last = next[0];
    }
    await a.commit();
    await db.shiftClock(11_000);
    expect(await db.claim('late', lease, 5)).toHaveLength(1);
    await db.expectTruth();
    await db.shiftClock(0);
  });
});

test('a limit that is set while a claim is under way does not make the count drift', async ({
  db,
  a,
}) => {
  await db.createQueue('set');
  await db.enqueue('set', 10);
  const [one, two] = [await db.openLease(), await db.openLease()];
  await a.begin();
  const early = await a.claim('set', one, 4);
  await db.createQueue('set', { concurrency_max: 2 });
  await a.commit();
  const late = await db.claim('set', two, 9);
  expect(late).toHaveLength(2);
  await db.complete(one, early);
  await db.complete(two, late);
  await db.expectTruth();
  expect(await db.claim('set', two, 9)).toHaveLength(2);
  await db.expectTruth();
});

test('racing workers never exceed the limit, and the count does not drift', async ({
  db,
  pool,
}) => {
  await db.createQueue('storm', { concurrency_max: 7, max_attempts: 50, backoff_ms: 0 });
  await db.enqueue('storm', 400);
  const most: number[] = [];
  const work = async (worker: number): Promise<void> => {
    const lease = await db.openLease(`w${worker}`);
    for (let i = 0; i < 40; i++) {
      const jobs = await db.claim('storm', lease, 1 + ((i + worker) % 5));
      most.push(
        Number(
          await db.one(
            `select count(*) from howdah._jobs where lease_id is not null
            and queue_id = (select id from howdah._queues where name = 'storm')`,
          ),
        ),
      );
      const half = jobs.length >> 1;
      await db.complete(lease, jobs.slice(0, half));
      for (const [n, job] of jobs.slice(half).entries()) {
        await db.end(lease, job, ['fail', 'release', 'complete', 'dead_letter'][n % 4] as string);
      }
    }
    await db.closeLease(lease);
  };
  await Promise.all([1, 2, 3, 4, 5].map(work));
  expect(pool.totalCount).toBeGreaterThan(1);
  expect(Math.max(...most)).toBeLessThanOrEqual(7);
  await db.expectTruth();
});
