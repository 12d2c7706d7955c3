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

  test('a job that a worker waits for is left alone by producers that take turns', async ({
    db,
    a,
    b,
  }) => {
    for (const mode of ['latest', 'throttle', 'replace']) {
      await db.createQueue(`hot-${mode}`);
      const lease = await db.openLease();
      await db.rows('select howdah.sleep($1, $2)', [lease, [`hot-${mode}`]]);
      const first = await put(db, `hot-${mode}`, 0, { key: 'k', mode });
      await db.shiftClock(1000);
      expect(await put(db, `hot-${mode}`, 1, { key: 'k', mode })).toMatchObject({ id: first.id });
      await db.shiftClock(3000);
      await a.begin();
      await put(a, `hot-${mode}`, 2, { key: 'k', mode });
      const [second] = await b.blocks((session) =>
        put(session, `hot-${mode}`, 3, { key: 'k', mode }),
      );
      await a.commit();
      const { id, created } = await (second as Promise<{ id: string; created: boolean }>);
      expect(created).toBe(true);
      // the newest is never lost, and follows the one before: no more than two ever wait
      await db.shiftClock(9000);
      await a.begin();
      await put(a, `hot-${mode}`, 4, { key: 'k', mode });
      const [third] = await b.blocks((session) =>
        put(session, `hot-${mode}`, 5, { key: 'k', mode }),
      );
      await a.commit();
      expect(await third).toMatchObject({ id, created: false });
      const one = await db.claimOne(`hot-${mode}`, lease);
      expect(one).toMatchObject({ id: first.id, payload: 2 });
      await db.promote();
      expect(await db.claim(`hot-${mode}`, lease)).toEqual([]);
      await db.complete(lease, [one]);
      await db.promote();
      expect(await db.claimOne(`hot-${mode}`, lease)).toMatchObject({ id, payload: 5 });
      await db.shiftClock(0);
      await db.expectTruth();
    }
  });

  test('keys and groups of one statement do not deadlock with those of another', async ({
    db,
    a,
    b,
    c,
  }) => {
    await db.createQueue('mixed');
    await a.begin();
    await put(a, 'mixed', 0, { key: 'k' }); // holds the key, so that both others wait
    const both = { queue: 'mixed', payload: 1, group: 'g' };
    const [one] = await b.blocks((session) =>
      session.enqueueRows([{ ...both, dedupe: { key: 'k', window_ms: 1 } }]),
    );
    const [two] = await c.blocks((session) =>
      session.enqueueRows([
        both,
        { queue: 'mixed', payload: 2, dedupe: { key: 'k', window_ms: 1 } },
      ]),
    );
    // nobody who waits for a key holds a group
    await db.enqueueRows([both]);
    await a.rollback();
    await Promise.all([one, two]);
    await db.expectTruth();
  });

  test('a blocked member is changed by who holds its group', async ({ db, a, b }) => {
    await db.createQueue('member');
    const lease = await db.openLease();
    const group = { queue: 'member', group: 'g' };
    await db.enqueueRows([{ ...group, payload: 'head' }]);
    const head = await db.claimOne('member', lease);
    const dedupe = { key: 'k', mode: 'throttle' };
    const [member] = await db.enqueueRows([{ ...group, payload: 1, dedupe }]);
    await a.begin();
    await a.enqueueRows([{ ...group, payload: 2, dedupe }]);
    // what needs the row of the group, or passes it over, never meets the row of the member
    const free = await db.rows('select id from howdah._jobs where id = $1 for update skip locked', [
      member?.id,
    ]);
    expect(free).toEqual([]);
    expect(
      await db.rows(`select key from howdah._groups where key = 'g'
          and queue_id = howdah._queue_id_of('member') for update skip locked`),
    ).toEqual([]);
    await b.rows('select howdah.expire()');
    await a.enqueueRows([{ ...group, payload: 3 }]);
    await a.commit();
    await db.complete(lease, [head]);
    await db.promote();
    expect(await db.claimOne('member', lease)).toMatchObject({ id: member?.id, payload: 2 });
    // a group that is not there yet and is not joined after all leaves no row
    await db.enqueueRows([
      { ...group, payload: 4, dedupe: { key: 'k2', mode: 'replace' } },
      { queue: 'member', payload: 5, group: 'new', dedupe: { key: 'k3' } },
    ]);
    await db.enqueueRows([
      { ...group, payload: 6, dedupe: { key: 'k2', mode: 'replace' } },
      { queue: 'member', payload: 7, group: 'other', dedupe: { key: 'k3' } },
    ]);
    expect(await db.rows(`select key from howdah._groups where key = 'other'`)).toEqual([]);
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
