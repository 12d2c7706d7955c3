import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

let queues = 0;

/** Dead jobs of a new queue, one for each reason. */
async function dead(
  db: Engine,
  reasons: string[],
  policy: object = {},
): Promise<{ queue: string; ids: string[] }> {
  queues += 1;
  const queue = `mortal-${queues}`;
  await db.createQueue(queue, policy);
  const ids = await db.enqueue(queue, reasons.length, { priority: 3 });
  const lease = await db.openLease();
  for (const job of await db.claim(queue, lease, reasons.length)) {
    const reason = reasons[ids.indexOf(job.id)];
    await db.end(lease, job, 'dead_letter', { reason, error: { message: `because ${reason}` } });
  }
  return { queue, ids };
}

const redrive = (
  db: Engine,
  filter: unknown,
  limit = 1000,
  preview = false,
  to: string | null = null,
) =>
  db.rows('select * from howdah.redrive($1, $2, $3, $4)', [
    JSON.stringify(filter),
    limit,
    preview,
    to,
  ]);
const discard = (db: Engine, filter: unknown, limit = 1000, preview = false) =>
  db.rows('select * from howdah.discard($1, $2, $3)', [JSON.stringify(filter), limit, preview]);

describe('redrive', () => {
  test('sends jobs back with fresh attempts and their errors', async ({ db }) => {
    const { queue, ids } = await dead(db, ['a', 'b']);
    const preview = await redrive(db, { queue }, 10, true);
    expect(preview).toMatchObject([
      { id: ids[0], from_queue: 'dead-letters', to_queue: queue, reason: 'a', error: 'because a' },
      { id: ids[1], reason: 'b' },
    ]);
    expect(await db.state(String(ids[0]))).toBe('dead');
    expect(await redrive(db, { queue })).toEqual(preview);
    expect(await redrive(db, { queue })).toEqual([]);
    const lease = await db.openLease();
    const jobs = await db.claim(queue, lease, 9);
    expect(jobs.map(({ id }) => id)).toEqual(ids);
    expect(jobs[0]).toMatchObject({ attempt: 2, uncounted: 1, errors: [{ message: 'because a' }] });
    expect(await db.job(String(ids[0]))).toMatchObject({
      state: 'running',
      priority: 3,
      dead_at: null,
      origin_queue: null,
    });
    await db.expectTruth();
  });

  test('goes to another queue when one is named', async ({ db }) => {
    const { queue, ids } = await dead(db, ['a']);
    await db.createQueue('elsewhere');
    expect(await redrive(db, { queue }, 1, false, 'elsewhere')).toMatchObject([
      { to_queue: 'elsewhere' },
    ]);
    expect(await db.job(String(ids[0]))).toMatchObject({ queue: 'elsewhere', state: 'ready' });
    expect(await sqlError(redrive(db, {}, 1, false, 'nowhere'))).toMatchObject({ code: 'HW001' });
    await db.expectTruth();
  });

  test('of a queue that was deleted waits for a destination', async ({ db }) => {
    const { queue, ids } = await dead(db, ['a']);
    const id = String(ids[0]);
    await db.rows('select howdah.delete_queue($1)', [queue]);
    expect(await redrive(db, { ids: [id] })).toMatchObject([{ id, to_queue: null }]);
    expect(await db.rows('select * from howdah.run_now($1)', [[id]])).toEqual([
      { id, outcome: 'dead' },
    ]);
    expect(await db.state(id)).toBe('dead');
    await db.createQueue(queue);
    expect(await redrive(db, { ids: [id] }, 1, false, queue)).toMatchObject([{ to_queue: queue }]);
    await db.expectTruth();
  });

  test('a dead job can be consumed where it lies, snoozed there, and sent back from there', async ({
    db,
  }) => {
    await db.createQueue('graves');
    const { queue, ids } = await dead(db, ['a', 'b', 'c'], { dead_letter_queue: 'graves' });
    const lease = await db.openLease();
    const [done, snoozed, again] = await db.claim('graves', lease, 9);
    if (!done || !snoozed || !again) throw new Error('three were dead');
    expect(await redrive(db, { queue }), 'what runs is left alone').toEqual([]);
    expect(await db.complete(lease, [done])).toEqual([]);
    expect(await db.end(lease, snoozed, 'snooze', { delay_ms: 60_000 })).toBe('scheduled');
    await db.expectTruth();
    expect(await db.end(lease, again, 'dead_letter')).toBe('dead');
    // dead where the dead lie: parked, not claimed again, still listed
    expect(await db.claim('graves', lease, 9)).toEqual([]);
    expect(
      await db.rows('select id from howdah.dead_letters where queue = $1 order by id', [queue]),
    ).toHaveLength(2);
    await db.expectTruth();
    expect(await redrive(db, { queue })).toHaveLength(2);
    await db.expectTruth();
    expect((await db.claim(queue, lease, 9)).map(({ id }) => id).sort()).toEqual(
      [ids[1], ids[2]].sort(),
    );
    expect(await db.stats('graves')).toMatchObject({
      ready: '0',
      scheduled: '0',
      dead: '0',
      completed: '1',
    });
    await db.expectTruth();
  });
});

describe('discard', () => {
  test('records them as discarded', async ({ db }) => {
    const { queue, ids } = await dead(db, ['a', 'b']);
    expect(await discard(db, { queue, reason: 'a' }, 10, true)).toEqual([
      { id: ids[0], queue, reason: 'a', error: 'because a' },
    ]);
    expect(await db.state(String(ids[0]))).toBe('dead');
    expect(await discard(db, { queue }, 1)).toHaveLength(1);
    expect(await discard(db, { queue })).toMatchObject([{ id: ids[1] }]);
    expect(await db.state(String(ids[0]))).toBe('discarded');
    await db.expectTruth();
  });

  test('shows no priority for one that was parked', async ({ db }) => {
    const [id] = await db.enqueue('dead-letters', 1);
    const lease = await db.openLease();
    await db.end(lease, await db.claimOne('dead-letters', lease), 'dead_letter');
    await discard(db, { ids: [id] });
    expect(
      await db.rows('select state, priority from howdah.history_view where id = $1', [id]),
    ).toEqual([{ state: 'discarded', priority: null }]);
    await db.expectTruth();
  });
});

describe('filters', () => {
  test('each key narrows', async ({ db }) => {
    await db.createQueue('narrow-graves');
    const { queue, ids } = await dead(db, ['x', 'y%'], { dead_letter_queue: 'narrow-graves' });
    const matches = async (filter: object) =>
      (await redrive(db, { queue, ...filter }, 9, true)).map(({ id }) => id);
    expect(await matches({})).toEqual(ids);
    expect(await matches({ ids: [ids[0]] })).toEqual([ids[0]]);
    expect(await matches({ ids: ids.map(Number) })).toEqual(ids);
    expect(await matches({ ids: [] })).toEqual([]);
    expect(await matches({ reason: 'x' })).toEqual([ids[0]]);
    expect(await matches({ error: 'y%' })).toEqual([ids[1]]);
    expect(await matches({ error: '%' })).toEqual([ids[1]]);
    expect(await matches({ payload: 1 })).toEqual([ids[0]]);
    expect(await matches({ dead_letter_queue: 'narrow-graves' })).toEqual(ids);
    expect(await matches({ dead_letter_queue: 'dead-letters' })).toEqual([]);
    expect(await matches({ since: '2100-01-01' })).toEqual([]);
    expect(await matches({ until: '2100-01-01', since: '2000-01-01T00:00:00Z' })).toEqual(ids);
  });

  test('null and an empty object are everything', async ({ db }) => {
    await dead(db, ['x']);
    const all = await redrive(db, {}, 1000, true);
    expect(all.length).toBeGreaterThan(0);
    expect(await db.rows('select * from howdah.redrive(null, 1000, true)')).toEqual(all);
    expect(await redrive(db, {}, 0)).toEqual([]);
    expect(await redrive(db, {}, -1)).toEqual([]);
  });

  test.for([
    [],
    1,
    'x',
    null,
    { state: 'dead' },
    { "'; --": 1 },
    { ids: 1 },
    { ids: null },
    { ids: ['x'] },
    { ids: [1.5] },
    { ids: [{}] },
    { since: 'yesterday-ish' },
    { until: '2026-02-30' },
  ])('%j is refused', async (filter, { db }) => {
    const text = JSON.stringify(filter);
    for (const verb of ['redrive', 'discard']) {
      expect(await sqlError(db.rows(`select howdah.${verb}($1)`, [text]))).toMatchObject({
        code: 'HW030',
        hint: expect.any(String),
      });
    }
  });

  test('of a queue that is unknown', async ({ db }) => {
    for (const filter of [
      { queue: 'nowhere' },
      { dead_letter_queue: 'nowhere' },
      { queue: null },
    ]) {
      expect(await sqlError(redrive(db, filter))).toMatchObject({ code: 'HW001' });
    }
  });
});
