import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sessions.js';

async function put(session: Engine, queue: string, payload: unknown, dedupe: object) {
  const [row] = await session.enqueueRows([{ queue, payload, dedupe }]);
  return row as { id: string; created: boolean; same: boolean | null };
}

function jobsIn(db: Engine, queue: string) {
  return db.rows('select payload from howdah.job_states where queue = $1', [queue]);
}

describe('dedupe', () => {
  for (const mode of ['skip', 'replace', 'throttle', 'latest']) {
    test(`two at once on one key: one job (${mode})`, async ({ db, a, b }) => {
      await db.createQueue(mode);
      await a.begin();
      const first = await put(a, mode, 1, { key: 'k', mode });
      const [second] = await b.blocks((session) => put(session, mode, 2, { key: 'k', mode }));
      await a.commit();
      expect(await second).toMatchObject({ id: first.id, created: false, same: false });
      expect(await jobsIn(db, mode)).toHaveLength(1);
      expect(await db.job(first.id)).toMatchObject({ payload: mode === 'skip' ? 1 : 2 });
      await db.expectTruth();
    });
  }

  test('the first rolls back: the second is the one', async ({ db, a, b }) => {
    await db.createQueue('rolled');
    await a.begin();
    await put(a, 'rolled', 1, { key: 'k' });
    const [second] = await b.blocks((session) => put(session, 'rolled', 2, { key: 'k' }));
    await a.rollback();
    expect(await second).toMatchObject({ created: true });
    expect(await jobsIn(db, 'rolled')).toEqual([{ payload: 2 }]);
  });

  test('two at once on a key whose window has ended: one job', async ({ db, a, b }) => {
    await db.createQueue('ended');
    await put(db, 'ended', 0, { key: 'k', window_ms: 1 });
    await db.shiftClock(1000);
    await a.begin();
    const first = await put(a, 'ended', 1, { key: 'k' });
    expect(first.created).toBe(true);
    const [second] = await b.blocks((session) => put(session, 'ended', 2, { key: 'k' }));
    await a.commit();
    expect(await second).toMatchObject({ id: first.id, created: false });
    await db.shiftClock(0);
  });

  test('a claim in flight: the newer payload becomes a job of its own', async ({ db, a, b }) => {
    await db.createQueue('claimed');
    const first = await put(db, 'claimed', 1, { key: 'k', mode: 'replace' });
    const lease = await db.openLease();
    await a.begin();
    await a.claimOne('claimed', lease);
    const [second] = await b.blocks((session) =>
      put(session, 'claimed', 2, { key: 'k', mode: 'replace' }),
    );
    await a.commit();
    const { id, created } = await (second as Promise<{ id: string; created: boolean }>);
    expect(created).toBe(true);
    expect(await db.job(first.id)).toMatchObject({ state: 'running', payload: 1 });
    expect(await db.job(id)).toMatchObject({ state: 'ready', payload: 2 });
    await db.expectTruth();
  });

  test('a key that is pruned meanwhile', async ({ db, a, b }) => {
    await db.createQueue('pruned');
    await put(db, 'pruned', 0, { key: 'k', window_ms: 1 });
    await db.shiftClock(1000);
    await a.begin();
    await a.rows('select howdah.prune_dedupes()');
    const [second] = await b.blocks((session) => put(session, 'pruned', 1, { key: 'k' }));
    await a.commit();
    expect(await second).toMatchObject({ created: true });
    expect(await jobsIn(db, 'pruned')).toHaveLength(2);
    await db.shiftClock(0);
  });

  test('opposite orders of keys in one statement do not deadlock', async ({ db }) => {
    await db.createQueue('orders');
    const jobs = (keys: readonly number[]) =>
      keys.map((n) => ({
        queue: 'orders',
        payload: n,
        dedupe: { key: `k${n}`, mode: 'replace' },
      }));
    const up = Array.from({ length: 30 }, (_, n) => n);
    for (let round = 0; round < 10; round++) {
      await Promise.all([
        db.enqueueRows(jobs(up)),
        db.enqueueRows(jobs([...up].reverse())),
        db.enqueueRows(jobs(up)),
        db.enqueueRows(jobs([...up].reverse())),
      ]);
    }
    expect(await jobsIn(db, 'orders')).toHaveLength(30);
    await db.expectTruth();
  });

  for (const mode of ['skip', 'throttle', 'latest']) {
    test(`many callers on one key: one job (${mode})`, async ({ db }) => {
      await db.createQueue('many');
      const rows = (
        await Promise.all(
          Array.from({ length: 64 }, (_, n) =>
            db.enqueueRows(
              Array.from({ length: 20 }, () => ({
                queue: 'many',
                payload: n,
                dedupe: { key: mode, mode },
              })),
            ),
          ),
        )
      ).flat();
      expect(rows.filter(({ created }) => created)).toHaveLength(1);
      expect(new Set(rows.map(({ id }) => id)).size).toBe(1);
      await db.expectTruth();
    });
  }
});
