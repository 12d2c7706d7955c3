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
  test('a dead job, and a discarded one, tells how many attempts it had', async ({ db }) => {
    await db.createQueue('tried', { max_attempts: 3, backoff_ms: 0 });
    const [id] = await db.enqueue('tried');
    const lease = await db.openLease();
    for (let i = 0; i < 3; i++) await db.end(lease, await db.claimOne('tried', lease), 'fail');
    expect(await db.job(String(id))).toMatchObject({ state: 'dead', attempt: 3 });
    await redrive(db, { ids: [id] });
    expect(await db.job(String(id))).toMatchObject({ state: 'ready', attempt: 0 });
    await db.end(lease, await db.claimOne('tried', lease), 'dead_letter');
    expect(await db.job(String(id))).toMatchObject({ state: 'dead', attempt: 1 });
    await discard(db, { ids: [id] });
    expect(await db.rows('select attempt from howdah.jobs where id = $1', [id])).toEqual([
      { attempt: 1 },
    ]);
  });

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
    expect(await db.rows('select state, priority from howdah.history where id = $1', [id])).toEqual(
      [{ state: 'discarded', priority: null }],
    );
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

describe('fingerprints', () => {
  const of = (db: Engine, name: string, message: string) =>
    db.one<string>('select howdah.error_fingerprint($1)', [JSON.stringify({ name, message })]);

  test('leave out what varies: numbers, ids, quoted text, white space', async ({ db }) => {
    const same = [
      'user 4711 not found in "crm" after 1.5 s',
      'User 8 not found in "erp"  after 22 s',
      "user 0 not found in 'x y' after 3 s",
    ];
    const prints = await Promise.all(same.map((message) => of(db, 'E', message)));
    expect(new Set(prints).size).toBe(1);
    expect(prints[0]).toMatch(/^[0-9a-f]{12}$/);
    expect(await of(db, 'F', String(same[0]))).not.toBe(prints[0]);
    expect(await of(db, 'E', 'user not found')).not.toBe(prints[0]);
    expect(await of(db, 'E', 'order 550e8400-e29b-41d4-a716-446655440000')).toBe(
      await of(db, 'E', 'order 7'),
    );
    expect(await of(db, 'E', 'added feedback')).not.toBe(await of(db, 'E', 'added defaced'));
    expect(await db.one('select howdah.error_fingerprint(null)')).toBe(null);
  });

  test('group dead jobs of several queues, and redrive one group', async ({ db }) => {
    await db.createQueue('shared-dlq');
    const a = await dead(db, ['t1', 't2', 'other'], { dead_letter_queue: 'shared-dlq' });
    const b = await dead(db, ['t3'], { dead_letter_queue: 'shared-dlq' });
    const groups = (dlq: string | null) =>
      db.rows('select * from howdah.dead_letter_groups($1, $2)', [null, dlq]);
    expect(await groups('shared-dlq')).toMatchObject([
      { jobs: '3', message: 'because t3', queues: [a.queue, b.queue], id: b.ids[0] },
      { jobs: '1', message: 'because other', queues: [a.queue] },
    ]);
    const [largest] = await groups('shared-dlq');
    const listed = await db.rows(
      `select id, fingerprint from howdah.dead_letters where dead_letter_queue = 'shared-dlq'
      and fingerprint = $1 order by id`,
      [largest?.fingerprint],
    );
    expect(listed).toHaveLength(3);
    const done = await redrive(db, {
      fingerprint: largest?.fingerprint,
      dead_letter_queue: 'shared-dlq',
    });
    expect(done.map(({ to_queue }) => to_queue)).toEqual([a.queue, a.queue, b.queue]);
    expect(await groups('shared-dlq')).toMatchObject([{ jobs: '1' }]);
    expect(await sqlError(groups('nowhere'))).toMatchObject({ code: 'HW001' });
    await db.expectTruth();
  });
});

describe('redrive at a rate', () => {
  test('spreads jobs in time, keeps their history, and the first goes at once', async ({ db }) => {
    const { queue, ids } = await dead(db, ['a', 'b', 'c']);
    await db.rows('select * from howdah.redrive($1, 10, false, null, 2)', [
      JSON.stringify({ queue }),
    ]);
    const [first, second, third] = await Promise.all(ids.map((id) => db.job(id)));
    expect(first).toMatchObject({ state: 'ready', queue });
    expect(second).toMatchObject({ state: 'scheduled', errors: [{ message: 'because b' }] });
    const apart = Number(third?.run_at) - Number(second?.run_at);
    expect(apart).toBeGreaterThanOrEqual(499);
    expect(apart).toBeLessThanOrEqual(501);
    await db.expectTruth();
    await db.shiftClock(5_000);
    await db.promote();
    await db.shiftClock(0);
    expect(await db.state(String(ids[2]))).toBe('ready');
    await db.expectTruth();
  });

  test('refuses a rate out of bounds and the dead-letter queue itself', async ({ db }) => {
    const { queue, ids } = await dead(db, ['a']);
    // the last ones: the tenth job would run in more than ten years, or never
    for (const rate of [0, -1, 'nan', 100_001, 1e-8, 1e-300]) {
      const call = db.rows('select * from howdah.redrive($1, 10, false, null, $2)', [
        JSON.stringify({ queue }),
        rate,
      ]);
      expect(await sqlError(call)).toMatchObject({ code: 'HW072' });
    }
    expect(await sqlError(redrive(db, { queue }, 1, false, 'dead-letters'))).toMatchObject({
      code: 'HW072',
    });
    expect(await db.state(String(ids[0]))).toBe('dead');
  });
});
