import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

let queues = 0;

async function newQueue(db: Engine, policy: object = {}): Promise<string> {
  queues += 1;
  await db.createQueue(`batch-${queues}`, { backoff_ms: 0, ...policy });
  return `batch-${queues}`;
}

const open = (db: Engine, batch: object = {}) =>
  db.one<string>('select howdah.open_batch($1)', [JSON.stringify(batch)]);
const close = (db: Engine, id: string) => db.one<string>('select howdah.close_batch($1)', [id]);
const closeEmpty = (db: Engine, id: string) =>
  db.one<string>('select howdah.close_batch($1, true)', [id]);
const fold = async (db: Engine) => (await db.rows('select * from howdah.fold_batches()'))[0];
const batch = async (db: Engine, id: string) =>
  (await db.rows('select * from howdah.batches where id = $1', [id]))[0];

/** A batch of that many jobs in a new queue, with a job that follows in another. */
async function filled(db: Engine, jobs: number, policy: object = {}) {
  const queue = await newQueue(db, policy);
  const after = await newQueue(db);
  const id = await open(db, { on_complete: { queue: after, payload: 'all done' }, name: 'test' });
  const ids = jobs === 0 ? [] : await db.enqueue(queue, jobs, { batch: id });
  return { queue, after, id, ids, lease: await db.openLease() };
}

async function followers(db: Engine, queue: string): Promise<unknown[]> {
  const rows = await db.rows('select headers from howdah.jobs where queue = $1', [queue]);
  return rows.map(({ headers }) => (headers as Record<string, unknown>)['howdah-batch']);
}

describe('a batch', () => {
  test('whose jobs all complete is followed by a job, once', async ({ db }) => {
    const { queue, after, id, lease } = await filled(db, 3);
    expect(await batch(db, id)).toMatchObject({ state: 'open', total: '3', pending: '3' });
    expect(await close(db, id)).toBe('closed');
    await db.complete(lease, await db.claim(queue, lease, 2));
    expect(await batch(db, id)).toMatchObject({ state: 'closed', pending: '1', completed: '2' });
    expect(await followers(db, after)).toEqual([]);
    await db.complete(lease, await db.claim(queue, lease, 2));
    expect(await batch(db, id)).toMatchObject({
      state: 'completed',
      name: 'test',
      total: '3',
      pending: '0',
      completed: '3',
      failed: '0',
      on_complete_queue: after,
      job_id: expect.any(String),
      finished_at: expect.any(Date),
    });
    expect(await followers(db, after)).toEqual([{ id, total: 3, completed: 3, failed: 0 }]);
    expect(await fold(db)).toEqual({ folded: 0, finished: 0, has_more: false });
    expect(await close(db, id)).toBe('completed');
    expect(await followers(db, after)).toHaveLength(1);
    await db.expectTruth();
  });

  test('is not over while it is open', async ({ db }) => {
    const { queue, after, id, lease } = await filled(db, 1);
    await db.complete(lease, await db.claim(queue, lease));
    expect(await batch(db, id)).toMatchObject({ state: 'open', pending: '0' });
    await db.enqueue(queue, 1, { batch: Number(id) });
    await db.complete(lease, await db.claim(queue, lease));
    await fold(db);
    expect(await followers(db, after)).toEqual([]);
    expect(await close(db, id)).toBe('completed');
    expect(await followers(db, after)).toEqual([{ id, total: 2, completed: 2, failed: 0 }]);
    await db.expectTruth();
  });

  test.for([
    ['dead', (db: Engine, lease: string, job: never) => db.end(lease, job, 'dead_letter')],
    ['cancelled', (db: Engine, lease: string, job: never) => db.end(lease, job, 'cancel')],
    ['expired', (db: Engine, lease: string, job: never) => db.end(lease, job, 'expire')],
  ] as const)('one of whose jobs is %s has failed', async ([, end], { db }) => {
    const { queue, after, id, lease } = await filled(db, 2);
    await close(db, id);
    const [first, second] = await db.claim(queue, lease, 2);
    await end(db, lease, first as never);
    expect(await batch(db, id)).toMatchObject({ state: 'closed', pending: '1', failed: '1' });
    await db.complete(lease, [second as never]);
    expect(await batch(db, id)).toMatchObject({ state: 'failed' });
    expect(await followers(db, after)).toEqual([{ id, total: 2, completed: 1, failed: 1 }]);
    await db.expectTruth();
  });

  test('waits for retries', async ({ db }) => {
    const { queue, after, id, lease } = await filled(db, 1);
    await close(db, id);
    expect(await db.end(lease, await db.claimOne(queue, lease), 'fail')).toBe('ready');
    expect(await db.end(lease, await db.claimOne(queue, lease), 'release')).toBe('ready');
    expect(await batch(db, id)).toMatchObject({ state: 'closed', pending: '1', failed: '0' });
    expect(await followers(db, after)).toEqual([]);
    await db.complete(lease, await db.claim(queue, lease));
    expect(await batch(db, id)).toMatchObject({ state: 'completed' });
    await db.expectTruth();
  });

  test('without jobs stays open, or is complete when it is closed as one that may be empty', async ({
    db,
  }) => {
    const { after, id } = await filled(db, 0);
    expect(await sqlError(close(db, id))).toMatchObject({
      code: 'HW204',
      hint: expect.stringContaining('p_allow_empty'),
    });
    expect(await batch(db, id)).toMatchObject({ state: 'open' });
    expect(await followers(db, after)).toEqual([]);
    expect(await closeEmpty(db, id)).toBe('completed');
    expect(await close(db, id)).toBe('completed');
    expect(await followers(db, after)).toEqual([{ id, total: 0, completed: 0, failed: 0 }]);
  });

  test('needs no job that follows', async ({ db }) => {
    const queue = await newQueue(db);
    const id = await open(db);
    const [job] = await db.enqueue(queue, 1, { batch: id });
    await close(db, id);
    await db.cancel(String(job));
    expect(await batch(db, id)).toMatchObject({ state: 'failed', job_id: null, failed: '1' });
    await db.expectTruth();
  });

  test('spans queues and groups, and counts no duplicate', async ({ db }) => {
    const [a, b] = [await newQueue(db), await newQueue(db, { max_depth: 10 })];
    const id = await open(db);
    const job = { payload: 1, batch: id };
    const rows = await db.enqueueRows([
      { ...job, queue: a, group: 'g' },
      { ...job, queue: a, group: 'g' },
      { ...job, queue: b, dedupe: { key: 'k' } },
      { ...job, queue: b, dedupe: { key: 'k' } },
      { queue: b, payload: 1 },
    ]);
    expect(rows.map(({ created }) => created)).toEqual([true, true, true, false, true]);
    await close(db, id);
    expect(await batch(db, id)).toMatchObject({ total: '3', pending: '3' });
    await db.expectTruth();
    const lease = await db.openLease();
    for (const queue of [a, a, b, b]) await db.complete(lease, await db.claim(queue, lease));
    expect(await batch(db, id)).toMatchObject({ state: 'completed', completed: '3' });
    await db.expectTruth();
  });

  test('has its jobs deleted with their queue', async ({ db }) => {
    const { queue, id } = await filled(db, 2);
    await close(db, id);
    await db.rows('select howdah.delete_queue($1, true)', [queue]);
    expect(await batch(db, id)).toMatchObject({ state: 'failed', failed: '2' });
    await db.expectTruth();
  });

  test('is forgotten 7 days after it has ended', async ({ db }) => {
    const { id } = await filled(db, 0);
    const { id: open } = await filled(db, 0);
    await closeEmpty(db, id);
    await db.rows("update howdah._batches set finished_at = finished_at - interval '8 days'");
    await fold(db);
    expect(await batch(db, id)).toBeUndefined();
    expect(await batch(db, open)).toMatchObject({ state: 'open' });
  });
});

test('a member of a turn that is completed by itself counts, too', async ({ db }) => {
  const queue = await newQueue(db);
  const id = await open(db);
  await db.enqueue(queue, 3, { batch: id, group: 'g' });
  await close(db, id);
  const lease = await db.openLease();
  const [row] = await db.rows<{ ids: string }>(
    "select ids from howdah.claim_many($1, $2, 1, '{}', '{}', 3)",
    [queue, lease],
  );
  const ids = String(row?.ids).split(',');
  expect(ids).toHaveLength(3);
  for (const job of ids) await db.one('select howdah.complete_led($1, $2, 1)', [lease, job]);
  expect(await batch(db, id)).toMatchObject({ state: 'completed', completed: '3' });
  await db.expectTruth();
});

describe('a dead job that is redriven', () => {
  test('is pending again while its batch has not ended', async ({ db }) => {
    const { queue, after, id, ids, lease } = await filled(db, 2);
    await close(db, id);
    await db.end(lease, await db.claimOne(queue, lease), 'dead_letter');
    expect(await batch(db, id)).toMatchObject({ pending: '1', failed: '1' });
    await db.rows('select * from howdah.redrive($1)', [JSON.stringify({ ids })]);
    expect(await batch(db, id)).toMatchObject({ pending: '2', failed: '0' });
    await db.expectTruth();
    await db.complete(lease, await db.claim(queue, lease, 2));
    expect(await followers(db, after)).toEqual([{ id, total: 2, completed: 2, failed: 0 }]);
    await db.expectTruth();
  });

  test('runs alone when it has', async ({ db }) => {
    const { queue, after, id, ids, lease } = await filled(db, 1);
    await close(db, id);
    await db.end(lease, await db.claimOne(queue, lease), 'dead_letter');
    expect(await batch(db, id)).toMatchObject({ state: 'failed' });
    await db.rows('select * from howdah.run_now($1)', [ids]);
    await db.complete(lease, await db.claim(queue, lease));
    expect(await batch(db, id)).toMatchObject({ state: 'failed', completed: '0', failed: '1' });
    expect(await followers(db, after)).toHaveLength(1);
    await db.expectTruth();
  });

  test('counts once, whoever consumes the dead-letter queue', async ({ db }) => {
    const { queue, id, lease } = await filled(db, 2);
    await close(db, id);
    await db.end(lease, await db.claimOne(queue, lease), 'dead_letter');
    await db.complete(lease, await db.claim('dead-letters', lease));
    expect(await batch(db, id)).toMatchObject({ pending: '1', completed: '0', failed: '1' });
    await db.expectTruth();
  });
});

describe('the job that follows', () => {
  test('waits while its queue refuses it, and says why', async ({ db }) => {
    const { after, id } = await filled(db, 0);
    await db.rows("select howdah.close_queue($1, 'holidays')", [after]);
    expect(await closeEmpty(db, id)).toBe('closed');
    expect(await batch(db, id)).toMatchObject({ problem: expect.stringContaining('holidays') });
    expect(await fold(db)).toMatchObject({ finished: 0 });
    await db.rows('select howdah.open_queue($1)', [after]);
    await db.rows('update howdah._batches set retry_at = howdah.clock() where id = $1', [id]);
    expect(await fold(db)).toMatchObject({ finished: 1 });
    expect(await batch(db, id)).toMatchObject({ state: 'completed', problem: null });
    expect(await followers(db, after)).toHaveLength(1);
  });

  test('may have a group: then maintenance enqueues it', async ({ db }) => {
    const queue = await newQueue(db);
    const id = await open(db, { on_complete: { queue, payload: 1, group: 'g', priority: 7 } });
    const [job] = await db.enqueue(await newQueue(db), 1, { batch: id });
    await close(db, id);
    await db.cancel(String(job));
    expect(await batch(db, id)).toMatchObject({ state: 'closed', pending: '0' });
    expect(await fold(db)).toMatchObject({ finished: 1, has_more: true });
    expect(await batch(db, id)).toMatchObject({ state: 'failed' });
    expect(await followers(db, queue)).toEqual([{ id, total: 1, completed: 0, failed: 1 }]);
  });

  test('is enqueued by maintenance where the last ones ended in an old snapshot', async ({
    db,
  }) => {
    const { queue, after, id, lease } = await filled(db, 1);
    await close(db, id);
    const [job] = await db.claim(queue, lease);
    await db.rows(`begin isolation level repeatable read;
      select howdah.complete(${lease}, ${job?.id}, 1); commit`);
    expect(await followers(db, after)).toEqual([]);
    expect(await fold(db)).toMatchObject({ folded: 1, finished: 1 });
    expect(await followers(db, after)).toHaveLength(1);
  });
});

describe('bad input', () => {
  test.for([
    ['not an object', [], 'HW202'],
    ['an unknown key', { oncomplete: 1 }, 'HW202'],
    ['a long name', { name: 'x'.repeat(201) }, 'HW202'],
    ['a number for a name', { name: 5 }, 'HW202'],
    ['a job that is text', { on_complete: 'x' }, 'HW202'],
    ['a job in a batch', { on_complete: { queue: 'dead-letters', payload: 1, batch: 1 } }, 'HW202'],
    ['a missing queue', { on_complete: { queue: 'nowhere', payload: 1 } }, 'HW001'],
    ['no payload', { on_complete: { queue: 'dead-letters' } }, 'HW010'],
    ['bad headers', { on_complete: { queue: 'dead-letters', payload: 1, headers: 1 } }, 'HW015'],
  ] as const)('%s opens no batch', async ([, input, code], { db }) => {
    const error = await sqlError(open(db, input));
    expect(error).toMatchObject({ code, hint: expect.any(String) });
    if (code !== 'HW202') expect(error.message).toMatch(/^on_complete: /);
    expect(await db.rows('select id from howdah._batches where name = $1', ['x'])).toEqual([]);
  });

  test('nothing is added to a batch that is closed, or is none', async ({ db }) => {
    const { queue, id } = await filled(db, 1);
    await close(db, id);
    expect(await sqlError(db.enqueue(queue, 2, { batch: id }))).toMatchObject({
      code: 'HW201',
      message: `batch ${id} is closed: nothing can be added to it (job 1 of 2)`,
    });
    for (const bad of ['999999', 'x', -1, 1.5, {}, '12345678901234567890']) {
      expect(await sqlError(db.enqueue(queue, 1, { batch: bad }))).toMatchObject({ code: 'HW200' });
    }
    const rows = await db.enqueueRows(
      [
        { queue, payload: 1 },
        { queue, payload: 2, batch: id },
        { queue, payload: 3, batch: null },
      ],
      'report',
    );
    expect(rows.map(({ error_code: code }) => code)).toEqual([null, 'HOWDAH_BATCH_CLOSED', null]);
    expect(await batch(db, id)).toMatchObject({ total: '1' });
    await db.expectTruth();
  });

  test('an unknown batch cannot be closed', async ({ db }) => {
    expect(await sqlError(close(db, '999999'))).toMatchObject({ code: 'HW200' });
  });
});
