import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { type ClaimedRow, Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

/** States of jobs, in the order of the ids given. */
async function states(db: Engine, ids: readonly string[]): Promise<(string | undefined)[]> {
  return Promise.all(ids.map((id) => db.state(id)));
}

async function blocked(db: Engine, queue: string): Promise<Record<string, unknown>[]> {
  return db.rows(
    `select group_key, waiting, admitted, head_id, head_state, reason from howdah.blocked_groups
    where queue = $1 order by group_key`,
    [queue],
  );
}

/** Claims and completes until nothing is ready. Returns the ids in the order they ran. */
async function drain(db: Engine, queue: string, limit = 10): Promise<string[]> {
  const lease = await db.openLease();
  const order: string[] = [];
  for (let jobs = await db.claim(queue, lease, limit); jobs.length > 0; ) {
    order.push(...jobs.map(({ id }) => id));
    expect(await db.complete(lease, jobs)).toEqual([]);
    jobs = await db.claim(queue, lease, limit);
  }
  return order;
}

describe('a group with one turn', () => {
  test('admits one, the others are blocked until it is completed, in order', async ({ db }) => {
    await db.createQueue('strict');
    const ids = await db.enqueue('strict', 3, { group: 'a' });
    expect(await states(db, ids)).toEqual(['ready', 'blocked', 'blocked']);
    expect(await db.stats('strict')).toMatchObject({ ready: '1', blocked: '2', scheduled: '0' });
    await db.expectTruth();
    const lease = await db.openLease();
    for (const id of ids) {
      const jobs = await db.claim('strict', lease, 10);
      expect(jobs.map((job) => job.id)).toEqual([id]);
      expect(await db.claim('strict', lease, 10)).toEqual([]);
      await db.complete(lease, jobs);
      await db.expectTruth();
    }
    expect(await db.rows('select * from howdah._groups')).toEqual([]);
    expect(
      await db.rows('select id, group_key from howdah.jobs where id = any ($1) order by id', [ids]),
    ).toEqual(ids.map((id) => ({ id, group_key: 'a' })));
  });

  test('later statements join behind; an empty group begins anew', async ({ db }) => {
    await db.createQueue('later');
    const [a] = await db.enqueue('later', 1, { group: 'x' });
    const [b] = await db.enqueue('later', 1, { group: 'x' });
    const [c] = await db.enqueue('later', 1, { group: 'y' });
    expect(await drain(db, 'later')).toEqual([a, c, b]);
    const [d] = await db.enqueue('later', 1, { group: 'x' });
    expect(await db.state(d ?? '')).toBe('ready');
    expect(await drain(db, 'later')).toEqual([d]);
    await db.expectTruth();
  });

  test('keys take turns: one job of a new key does not wait for a hundred of another', async ({
    db,
  }) => {
    await db.createQueue('fair', { retention_ms: 0 });
    await db.enqueue('fair', 100, { group: 'whale' });
    const lease = await db.openLease();
    await db.complete(lease, await db.claim('fair', lease, 10));
    const [shrimp] = await db.enqueue('fair', 1, { group: 'shrimp' });
    const order = await drain(db, 'fair', 1);
    expect(order.indexOf(shrimp ?? '')).toBeLessThanOrEqual(1);
    expect(order).toHaveLength(100);
  });

  test('the order is that of enqueue, whatever the priorities', async ({ db }) => {
    await db.createQueue('priorities');
    const rows = await db.enqueueRows(
      [0, 100, -100, 50].map((priority) => ({
        queue: 'priorities',
        payload: 1,
        priority,
        group: 'g',
      })),
    );
    expect(await drain(db, 'priorities')).toEqual(rows.map(({ id }) => id));
  });

  test('jobs of other queues, and jobs without a group, are not held', async ({ db }) => {
    await db.createQueue('one');
    await db.createQueue('two');
    const rows = await db.enqueueRows([
      { queue: 'one', payload: 1, group: 'k' },
      { queue: 'two', payload: 1, group: 'k' },
      { queue: 'one', payload: 1 },
      { queue: 'one', payload: 1, group: null },
      { queue: 'one', payload: 1, group: 'k' },
    ]);
    expect(
      await states(
        db,
        rows.map(({ id }) => String(id)),
      ),
    ).toEqual(['ready', 'ready', 'ready', 'ready', 'blocked']);
    await db.expectTruth();
  });
});

describe('a head keeps its turn', () => {
  const held = async (db: Engine, name: string, policy: object = {}) => {
    await db.createQueue(name, { backoff_ms: 60_000, backoff_jitter: 0, ...policy });
    const ids = await db.enqueue(name, 2, { group: 'g' });
    const lease = await db.openLease();
    const job = await db.claimOne(name, lease);
    expect(job.id).toBe(ids[0]);
    return { ids: ids as [string, string], lease, job };
  };

  test.for([
    ['fail', {}, 'scheduled'],
    ['fail', { delay_ms: 0 }, 'ready'],
    ['snooze', { delay_ms: 60_000 }, 'scheduled'],
    ['release', {}, 'ready'],
  ] as const)('%s %o', async ([outcome, more, state], { db }) => {
    const { ids, lease, job } = await held(db, `keep-${outcome}-${state}`);
    expect(await db.end(lease, job, outcome, more)).toBe(state);
    expect(await states(db, ids)).toEqual([state, 'blocked']);
    await db.expectTruth();
    await db.rows('select * from howdah.run_now($1)', [[ids[0]]]);
    expect(await drain(db, `keep-${outcome}-${state}`)).toEqual(ids);
    await db.expectTruth();
  });

  test.for([
    ['dead_letter', 'dead'],
    ['cancel', 'cancelled'],
    ['expire', 'expired'],
    ['complete', 'completed'],
  ] as const)('until %s: then the next is admitted', async ([outcome, state], { db }) => {
    const { ids, lease, job } = await held(db, `end-${outcome}`);
    expect(await db.end(lease, job, outcome)).toBe(state);
    expect(await states(db, ids)).toEqual([state, 'ready']);
    await db.expectTruth();
  });

  test('through worker death, until it is out of crashes', async ({ db }) => {
    const { ids, lease } = await held(db, 'death', { max_crashes: 2 });
    await db.killLease(lease);
    expect(await db.reap()).toMatchObject({ requeued: 1, dead: 0 });
    expect(await states(db, ids)).toEqual(['ready', 'blocked']);
    await db.expectTruth();
    const second = await db.openLease();
    expect((await db.claim('death', second, 5)).map(({ id }) => id)).toEqual([ids[0]]);
    await db.killLease(second);
    expect(await db.reap()).toMatchObject({ requeued: 0, dead: 1 });
    expect(await states(db, ids)).toEqual(['dead', 'ready']);
    await db.expectTruth();
  });

  test('through a good-bye, which burns no attempt', async ({ db }) => {
    const { ids, lease } = await held(db, 'bye');
    expect(await db.closeLease(lease)).toBe(1);
    expect(await db.job(ids[0])).toMatchObject({ state: 'ready', attempt: 0 });
    expect(await drain(db, 'bye')).toEqual(ids);
  });

  test('that is not due yet', async ({ db }) => {
    await db.createQueue('early');
    const [late] = await db.enqueue('early', 1, { group: 'g', delay_ms: 60_000 });
    const [next] = await db.enqueue('early', 1, { group: 'g' });
    const [third] = await db.enqueue('early', 1, { group: 'g', delay_ms: 60_000 });
    const ids = [late, next, third].map(String);
    expect(await states(db, ids)).toEqual(['scheduled', 'blocked', 'blocked']);
    expect(await db.stats('early')).toMatchObject({ scheduled: '1', blocked: '2' });
    expect(await blocked(db, 'early')).toMatchObject([
      {
        head_id: late,
        head_state: 'scheduled',
        reason: expect.stringMatching(/^head is not due until 20/),
      },
    ]);
    expect(await db.rows('select id, outcome from howdah.run_now($1)', [[late, next]])).toEqual([
      { id: late, outcome: 'ready' },
      { id: next, outcome: 'blocked' },
    ]);
    // the third is scheduled only when its turn has come
    expect(await drain(db, 'early')).toEqual([late, next]);
    expect(await states(db, ids)).toEqual(['completed', 'completed', 'scheduled']);
    await db.expectTruth();
    await db.rows('select * from howdah.run_now($1)', [[third]]);
    expect(await drain(db, 'early')).toEqual([third]);
    await db.expectTruth();
  });
});

describe('more than one turn', () => {
  test('k run at once, the next when one has ended', async ({ db }) => {
    await db.createQueue('k3', { group_concurrency: 3 });
    const ids = await db.enqueue('k3', 5, { group: 'g' });
    expect(await states(db, ids)).toEqual(['ready', 'ready', 'ready', 'blocked', 'blocked']);
    const lease = await db.openLease();
    const jobs = await db.claim('k3', lease, 9);
    expect(jobs.map(({ id }) => id)).toEqual(ids.slice(0, 3));
    await db.complete(lease, [jobs[1] as ClaimedRow]);
    expect(await states(db, ids)).toEqual(['running', 'completed', 'running', 'ready', 'blocked']);
    await db.complete(lease, [jobs[0] as ClaimedRow, jobs[2] as ClaimedRow]);
    expect(await db.state(ids[4] ?? '')).toBe('ready');
    await db.expectTruth();
  });

  test('raising it lets upkeep admit; lowering it lets what runs end', async ({ db }) => {
    await db.createQueue('change');
    const ids = await db.enqueue('change', 6, { group: 'g' });
    await db.createQueue('change', { group_concurrency: 3 });
    await db.expectTruth();
    expect(await db.rows(`select duty from howdah.upkeep_due('{tend}')`)).toEqual([
      { duty: 'tend' },
    ]);
    await db.rows('select howdah.tend_queues()');
    expect(await db.stats('change')).toMatchObject({ ready: '3', blocked: '3' });
    await db.expectTruth();
    await db.createQueue('change', { group_concurrency: 1 });
    const lease = await db.openLease();
    const jobs = await db.claim('change', lease, 9);
    expect(jobs).toHaveLength(3);
    await db.complete(lease, jobs.slice(0, 2));
    expect(await db.stats('change')).toMatchObject({ running: '1', ready: '0', blocked: '3' });
    await db.complete(lease, jobs.slice(2));
    expect(await drain(db, 'change')).toEqual(ids.slice(3));
    await db.expectTruth();
  });

  test.for([0, -1, 10_001, 1.5, null, 'x'])('%s is refused', async (value, { db }) => {
    const error = await sqlError(db.createQueue('bad', { group_concurrency: value }));
    // 1.5 is rounded by none: jsonb_populate_record refuses it
    expect(error.code).toBe('HW003');
  });
});

test.for([1, '', 'x'.repeat(256), {}, true])('group %j is refused', async (group, { db }) => {
  await db.createQueue('refuse');
  const error = await sqlError(db.enqueueRows({ queue: 'refuse', payload: 1, group }));
  expect(error).toMatchObject({ code: 'HW050', hint: 'use text of 1 to 255 characters' });
  expect(await db.enqueueRows([{ queue: 'refuse', payload: 1, group }], 'report')).toMatchObject([
    { id: null, error_code: 'HOWDAH_GROUP_INVALID' },
  ]);
  expect(
    await db.enqueueRows({ queue: 'refuse', payload: 1, group: 'ü'.repeat(255) }),
  ).toMatchObject([{ created: true }]);
});

describe('what people do to members', () => {
  test('cancel of the head admits the next; of a waiting one only shortens the line', async ({
    db,
  }) => {
    await db.createQueue('cancels');
    const ids = await db.enqueue('cancels', 5, { group: 'g' });
    await db.cancel(ids[2] ?? '');
    expect(await states(db, ids)).toEqual(['ready', 'blocked', 'cancelled', 'blocked', 'blocked']);
    await db.expectTruth();
    await db.cancel(ids[0] ?? '', ids[1] ?? '');
    expect(await states(db, ids)).toEqual([
      'cancelled',
      'cancelled',
      'cancelled',
      'ready',
      'blocked',
    ]);
    await db.expectTruth();
    expect(await drain(db, 'cancels')).toEqual(ids.slice(3));
  });

  test('a cancel request ends the head, whatever its worker says', async ({ db }) => {
    await db.createQueue('request');
    const ids = await db.enqueue('request', 2, { group: 'g' });
    const lease = await db.openLease();
    const job = await db.claimOne('request', lease);
    expect(await db.cancel(job.id)).toEqual([{ id: job.id, outcome: 'requested' }]);
    expect(await db.end(lease, job, 'fail')).toBe('cancelled');
    expect(await states(db, ids)).toEqual(['cancelled', 'ready']);
    await db.expectTruth();
  });

  test('waiting TTLs end in the line and at its head', async ({ db }) => {
    await db.createQueue('ttl');
    const ids = await db.enqueue('ttl', 1, { group: 'g', ttl_ms: 1 });
    ids.push(...(await db.enqueue('ttl', 1, { group: 'g' })));
    ids.push(...(await db.enqueue('ttl', 2, { group: 'g', ttl_ms: 1 })));
    await expect.poll(() => db.one('select howdah.expire()')).toBeGreaterThan(0);
    await db.one('select howdah.expire()');
    expect(await states(db, ids)).toEqual(['expired', 'ready', 'expired', 'expired']);
    await db.expectTruth();
  });

  test('a redriven member goes to the tail of its group', async ({ db }) => {
    await db.createQueue('again');
    const ids = await db.enqueue('again', 3, { group: 'g' });
    const lease = await db.openLease();
    await db.end(lease, await db.claimOne('again', lease), 'dead_letter');
    await db.expectTruth();
    await db.rows('select * from howdah.redrive($1)', [JSON.stringify({ ids: [ids[0]] })]);
    expect(await states(db, ids)).toEqual(['blocked', 'ready', 'blocked']);
    await db.expectTruth();
    expect(await drain(db, 'again')).toEqual([ids[1], ids[2], ids[0]]);
    await db.expectTruth();
  });

  test('run_now of a dead member, and a redrive into another queue', async ({ db }) => {
    await db.createQueue('from');
    await db.createQueue('to');
    const ids = await db.enqueue('from', 2, { group: 'g' });
    const [there] = await db.enqueue('to', 1, { group: 'g' });
    const lease = await db.openLease();
    for (const _ of ids) await db.end(lease, await db.claimOne('from', lease), 'dead_letter');
    await db.rows('select * from howdah.run_now($1)', [[ids[0]]]);
    expect(await db.job(ids[0] ?? '')).toMatchObject({ queue: 'from', state: 'ready' });
    await db.rows(`select * from howdah.redrive($1, p_to => 'to')`, [
      JSON.stringify({ ids: [ids[1]] }),
    ]);
    expect(await db.job(ids[1] ?? '')).toMatchObject({ queue: 'to', state: 'blocked' });
    await db.expectTruth();
    expect(await drain(db, 'to')).toEqual([there, ids[1]]);
  });

  test('dead members are no members of groups in their dead-letter queue', async ({ db }) => {
    await db.createQueue('source');
    const ids = await db.enqueue('source', 2, { group: 'g' });
    const lease = await db.openLease();
    for (const _ of ids) await db.end(lease, await db.claimOne('source', lease), 'dead_letter');
    const dead = await db.claim('dead-letters', lease, 50);
    expect(dead.map(({ id }) => id)).toEqual(expect.arrayContaining(ids));
    await db.complete(lease, dead);
    await db.expectTruth();
  });

  test('a queue with blocked jobs is not empty; forced, they are discarded', async ({ db }) => {
    await db.createQueue('gone');
    const ids = await db.enqueue('gone', 3, { group: 'g' });
    const lease = await db.openLease();
    const head = await db.claimOne('gone', lease);
    expect((await sqlError(db.one(`select howdah.delete_queue('gone')`))).code).toBe('HW005');
    await db.one(`select howdah.delete_queue('gone', true)`);
    expect(await states(db, ids)).toEqual(['running', 'discarded', 'discarded']);
    await db.expectTruth();
    await db.complete(lease, [head]);
    await db.expectTruth();
  });

  test('members that an enqueue brought while their queue was deleted become dead letters', async ({
    db,
  }) => {
    await db.createQueue('raced');
    const ids = await db.enqueue('raced', 3, { group: 'g' });
    await db.rows(`update howdah._queues set deleted_at = howdah.clock() where name = 'raced'`);
    await db.rows('select * from howdah.prune()');
    expect(await states(db, ids)).toEqual(['dead', 'dead', 'dead']);
    await db.expectTruth();
  });
});

test('blocked_groups says for what a group waits', async ({ db }) => {
  await db.createQueue('why', { backoff_ms: 60_000 });
  await db.enqueue('why', 1, { group: 'alone' });
  const [head] = await db.enqueue('why', 3, { group: 'g' });
  const row = { group_key: 'g', waiting: 2, admitted: 1, head_id: head };
  const one = async () => (await blocked(db, 'why'))[0];
  expect(await blocked(db, 'why')).toHaveLength(1);
  expect(await one()).toEqual({ ...row, head_state: 'ready', reason: 'head waits for a worker' });
  await db.rows(`select howdah.pause_queue('why')`);
  expect(await one()).toMatchObject({ reason: 'the queue is paused' });
  await db.rows(`select howdah.resume_queue('why')`);
  const lease = await db.openLease();
  const jobs = await db.claim('why', lease, 5);
  const job = jobs.find(({ id }) => id === head) as ClaimedRow;
  expect(await one()).toEqual({ ...row, head_state: 'running', reason: 'head runs' });
  await db.end(lease, job, 'snooze', { delay_ms: 60_000 });
  expect(await one()).toMatchObject({
    reason: expect.stringMatching(/^head snoozes until 20.*Z$/),
  });
  await db.rows('select * from howdah.run_now($1)', [[head]]);
  const again = await db.claimOne('why', lease);
  await db.end(lease, again, 'fail');
  expect(await one()).toEqual({
    ...row,
    head_state: 'scheduled',
    reason: expect.stringMatching(/^head backs off until 20.*Z$/),
  });
  await db.rows('select * from howdah.run_now($1)', [[head]]);
  await db.claimOne('why', lease);
  await db.killLease(lease);
  expect(await one()).toMatchObject({
    reason: 'head runs, but the lease of its worker has ended: it is to be reaped',
  });
});

test('the books are looked at only for groups: a plain life touches no row of them', async ({
  pool,
}) => {
  const client = await pool.connect();
  const db = new Engine(client);
  await db.rows('begin');
  const touched = () =>
    db.one<string>(`select n_tup_ins + n_tup_upd + n_tup_del + coalesce(idx_scan, 0) + seq_scan
      from pg_stat_xact_user_tables where relname = '_groups'`);
  await db.createQueue('plain');
  const before = await touched();
  await db.enqueue('plain', 20);
  await drain(db, 'plain');
  expect(await touched()).toBe(before);
  await db.enqueue('plain', 1, { group: 'g' });
  expect(Number(await touched())).toBeGreaterThan(Number(before));
  await db.rows('rollback');
  client.release();
});

test('an admission passes over what was admitted before, though no vacuum can come', async ({
  createDatabase,
}) => {
  const client = new pg.Client(await createDatabase('migrated'));
  await client.connect();
  onTestFinished(() => client.end());
  const db = new Engine(client);
  await db.createQueue('long', { retention_ms: 0 });
  await db.rows(`select count(*) from howdah.enqueue((select jsonb_agg(jsonb_build_object(
    'queue', 'long', 'payload', 1, 'group', 'g')) from generate_series(1, 5000)))`);
  const lease = await db.openLease();
  // in one transaction every dead entry of the index stays
  await db.rows('begin');
  const first = await pagesOfNext(db);
  let cursors = {};
  for (let i = 0; i < 500; i += 1) {
    const [job] = await db.claim('long', lease, 1, cursors);
    if (!job) throw new Error('the line has ended');
    cursors = { 201: job.seq };
    await db.complete(lease, [job]);
  }
  expect(await pagesOfNext(db)).toBeLessThanOrEqual(first + 3);
  await db.rows('commit');
  await db.expectTruth();
});

/** Pages read to find the next of the line. */
async function pagesOfNext(db: Engine): Promise<number> {
  const [{ queue_id, mark } = {}] = await db.rows('select queue_id, mark from howdah._groups');
  const [row] = await db.rows<{ 'QUERY PLAN': { Plan: { 'Shared Hit Blocks': number } }[] }>(
    `explain (analyze, buffers, format json) select j.id from howdah._jobs j
    where j.queue_id = ${queue_id} and j.group_key = 'g' and j.group_seq > ${mark}
    order by j.group_seq limit 1`,
  );
  return row?.['QUERY PLAN'][0]?.Plan['Shared Hit Blocks'] ?? Number.NaN;
}
