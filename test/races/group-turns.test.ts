import { describe, expect } from 'vitest';
import type { ClaimedRow, Engine } from '../support/engine.js';
import { test } from '../support/sessions.js';

/** Ids that a claim with followers brings. */
async function claimTurn(db: Engine, queue: string, lease: string): Promise<string[]> {
  const rows = await db.rows<{ ids: string }>(
    `select ids from howdah.claim_many($1, $2, 10, '{}', '{}', 10) where lane is not null`,
    [queue, lease],
  );
  return rows.flatMap(({ ids }) => ids.split(','));
}

describe('a claim with followers waits for nobody', () => {
  test('a producer holds the group: the head comes alone', async ({ db, a }) => {
    await db.createQueue('producer');
    const ids = await db.enqueue('producer', 3, { group: 'g' });
    const lease = await db.openLease();
    await a.begin();
    const [late] = await a.enqueue('producer', 1, { group: 'g' });
    expect(await claimTurn(db, 'producer', lease)).toEqual([ids[0]]);
    await a.commit();
    await db.expectTruth();
    await db.complete(lease, [{ id: ids[0], attempt: 1 } as ClaimedRow]);
    expect(await claimTurn(db, 'producer', lease)).toEqual([...ids.slice(1), late]);
    await db.expectTruth();
  });

  test('somebody holds a member: the turn ends before it', async ({ db, a }) => {
    await db.createQueue('member');
    const ids = await db.enqueue('member', 4, { group: 'g' });
    const lease = await db.openLease();
    await a.begin();
    await a.lockJob(ids[2] ?? '');
    expect(await claimTurn(db, 'member', lease)).toEqual(ids.slice(0, 2));
    await a.commit();
    await db.expectTruth();
  });

  test('a cancel holds a blocked member: it is not taken, and is cancelled', async ({ db, a }) => {
    await db.createQueue('cancelling');
    const ids = await db.enqueue('cancelling', 3, { group: 'g' });
    const lease = await db.openLease();
    await a.begin();
    expect(await a.cancel(ids[1] ?? '')).toEqual([{ id: ids[1], outcome: 'cancelled' }]);
    expect(await claimTurn(db, 'cancelling', lease)).toEqual([ids[0]]);
    await a.commit();
    await db.expectTruth();
  });
});

test('a cancel that waits for a claim with followers finds the follower running', async ({
  db,
  a,
  b,
}) => {
  await db.createQueue('follower');
  const ids = await db.enqueue('follower', 3, { group: 'g' });
  const lease = await db.openLease();
  await a.begin();
  expect(await claimTurn(a, 'follower', lease)).toEqual(ids);
  const [cancelled] = await b.blocks((session) => session.cancel(ids[1] ?? ''));
  await a.commit();
  expect(await cancelled).toEqual([{ id: ids[1], outcome: 'requested' }]);
  await db.expectTruth();
});

test('completing a leader does not wait for an enqueue into its group', async ({ db, a, b }) => {
  await db.createQueue('leader');
  const ids = await db.enqueue('leader', 2, { group: 'g' });
  const lease = await db.openLease();
  await claimTurn(db, 'leader', lease);
  await a.begin();
  const [late] = await a.enqueue('leader', 1, { group: 'g' });
  expect(await b.one('select howdah.complete_led($1, $2, 1)', [lease, ids[0]])).toBe(true);
  await db.expectTruth();
  await a.commit();
  expect(await db.state(String(late))).toBe('blocked');
  await db.expectTruth();
  expect(await db.one('select howdah.complete_led($1, $2, 1)', [lease, ids[1]])).toBe(true);
  expect(await db.state(String(late))).toBe('ready');
  await db.expectTruth();
});

test('the reaper against a settle of a leader: nothing is lost, nothing out of order', async ({
  db,
  a,
}) => {
  await db.createQueue('reaped');
  const ids = await db.enqueue('reaped', 3, { group: 'g' });
  const lease = await db.openLease();
  await claimTurn(db, 'reaped', lease);
  await a.begin();
  await a.one('select howdah.complete_led($1, $2, 1)', [lease, ids[0]]);
  await db.killLease(lease);
  await db.reap(); // waits for nobody: the job is held, and its group
  await a.commit();
  await db.reap();
  await db.foldGroups();
  const states = await Promise.all(ids.map((id) => db.state(id)));
  expect(states).toEqual(['completed', 'ready', 'blocked']);
  await db.expectTruth();
});
