import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sessions.js';

let queues = 0;

const close = (db: Engine, id: string) => db.one<string>('select howdah.close_batch($1)', [id]);
const fold = async (db: Engine) =>
  (await db.rows<{ finished: number }>('select * from howdah.fold_batches()'))[0]?.finished;
const batch = async (db: Engine, id: string) =>
  (await db.rows('select * from howdah.batches where id = $1', [id]))[0];
const followers = (db: Engine, queue: string) => db.stats(`${queue}/after`);

/** An open batch of running jobs. */
async function running(db: Engine, count: number) {
  queues += 1;
  const queue = `batch-race-${queues}`;
  await db.createQueue(queue);
  await db.createQueue(`${queue}/after`);
  const id = await db.one<string>('select howdah.open_batch($1)', [
    JSON.stringify({ on_complete: { queue: `${queue}/after`, payload: null } }),
  ]);
  await db.enqueue(queue, count, { batch: id });
  const lease = await db.openLease();
  return { queue, id, lease, jobs: await db.claim(queue, lease, count) };
}

describe('the last jobs of a batch', () => {
  test('end at the same moment: maintenance sees it', async ({ db, a, b }) => {
    const { queue, id, lease, jobs } = await running(db, 2);
    await close(db, id);
    await a.begin();
    await b.begin();
    await a.complete(lease, jobs.slice(0, 1));
    await b.complete(lease, jobs.slice(1));
    expect(await fold(db)).toBe(0);
    await a.commit();
    expect(await fold(db)).toBe(0);
    await b.commit();
    expect(await followers(db, queue)).toMatchObject({ enqueued: '0' });
    expect(await fold(db)).toBe(1);
    expect(await followers(db, queue)).toMatchObject({ enqueued: '1' });
    expect(await fold(db)).toBe(0);
    await db.expectTruth();
  });

  test('end while the batch is closed: whoever comes last decides', async ({ db, a }) => {
    const { queue, id, lease, jobs } = await running(db, 1);
    await a.begin();
    await a.complete(lease, jobs);
    expect(await close(db, id)).toBe('closed'); // waits for no settle
    await a.commit();
    expect(await fold(db)).toBe(1);
    expect(await followers(db, queue)).toMatchObject({ enqueued: '1' });
    await db.expectTruth();
  });

  test('end, and the settle that saw it is rolled back', async ({ db, a }) => {
    const { queue, id, lease, jobs } = await running(db, 1);
    await close(db, id);
    await a.begin();
    await a.complete(lease, jobs);
    expect(await batch(a, id)).toMatchObject({ state: 'completed' });
    expect(await fold(db)).toBe(0); // passes over it
    await a.rollback();
    expect(await batch(db, id)).toMatchObject({ state: 'closed', pending: '1' });
    await db.complete(lease, jobs);
    expect(await followers(db, queue)).toMatchObject({ enqueued: '1' });
    await db.expectTruth();
  });

  test('are finished by one of two maintainers', async ({ db, a, b }) => {
    const { queue, id, lease, jobs } = await running(db, 2);
    await close(db, id);
    await a.begin();
    await a.complete(lease, jobs.slice(0, 1));
    await db.complete(lease, jobs.slice(1));
    await a.commit();
    await a.begin();
    expect(await fold(a)).toBe(1);
    expect(await fold(b)).toBe(0);
    await a.commit();
    expect(await followers(db, queue)).toMatchObject({ enqueued: '1' });
  });
});

describe('closing a batch', () => {
  test('waits for a transaction that adds to it', async ({ db, a, b }) => {
    const { queue, id, lease, jobs } = await running(db, 1);
    await db.complete(lease, jobs);
    await a.begin();
    await a.enqueue(queue, 1, { batch: id });
    const [closing] = await b.blocks((session) => close(session, id));
    await a.commit();
    expect(await closing).toBe('closed');
    expect(await batch(db, id)).toMatchObject({ total: '2', pending: '1' });
    await db.expectTruth();
  });

  test('first: what is added waits, and is refused', async ({ db, a, b }) => {
    const { queue, id } = await running(db, 1);
    await a.begin();
    await close(a, id);
    const [adding] = await b.blocks((session) => session.enqueue(queue, 1, { batch: id }));
    await a.commit();
    expect(await sqlError(adding as Promise<unknown>)).toMatchObject({ code: 'HW201' });
    await db.expectTruth();
  });

  test('rolled back: it goes on', async ({ db, a, b }) => {
    const { queue, id } = await running(db, 1);
    await a.begin();
    await close(a, id);
    const [adding] = await b.blocks((session) => session.enqueue(queue, 1, { batch: id }));
    await a.rollback();
    await adding;
    expect(await batch(db, id)).toMatchObject({ state: 'open', total: '2' });
  });

  test('does not count what an old snapshot does not show', async ({ db, a }) => {
    const { queue, id, lease, jobs } = await running(db, 1);
    await db.complete(lease, jobs);
    await a.rows('begin isolation level repeatable read');
    await batch(a, id); // takes its snapshot
    await db.enqueue(queue, 1, { batch: id });
    expect(await close(a, id)).toBe('closed');
    await a.commit();
    expect(await fold(db)).toBe(0);
    expect(await followers(db, queue)).toMatchObject({ enqueued: '0' });
    await db.complete(lease, await db.claim(queue, lease));
    expect(await followers(db, queue)).toMatchObject({ enqueued: '1' });
    await db.expectTruth();
  });
});

describe('a redrive', () => {
  test('that is not committed keeps its batch from ending', async ({ db, a }) => {
    const { queue, id, lease, jobs } = await running(db, 2);
    await close(db, id);
    await db.end(lease, jobs[0] as never, 'dead_letter');
    await a.begin();
    await a.rows('select howdah.redrive($1)', [JSON.stringify({ ids: [jobs[0]?.id] })]);
    await db.complete(lease, jobs.slice(1));
    expect(await fold(db)).toBe(0);
    expect(await followers(db, queue)).toMatchObject({ enqueued: '0' });
    await a.commit();
    expect(await fold(db)).toBe(0);
    expect(await batch(db, id)).toMatchObject({ state: 'closed', pending: '1', failed: '0' });
    await db.expectTruth();
  });

  test('rolled back lets it end', async ({ db, a }) => {
    const { id, lease, jobs } = await running(db, 2);
    await close(db, id);
    await db.end(lease, jobs[0] as never, 'dead_letter');
    await a.begin();
    await a.rows('select howdah.redrive($1)', [JSON.stringify({ ids: [jobs[0]?.id] })]);
    await db.complete(lease, jobs.slice(1));
    await a.rollback();
    expect(await fold(db)).toBe(1);
    expect(await batch(db, id)).toMatchObject({ state: 'failed' });
  });
});

test('many small batches that end all at once are each followed once', async ({ db }) => {
  const [queue, after] = ['batch-storm', 'batch-storm/after'];
  await db.createQueue(queue);
  await db.createQueue(after);
  const ids: string[] = [];
  const fill = async () => {
    const id = await db.one<string>('select howdah.open_batch($1)', [
      JSON.stringify({ on_complete: { queue: after, payload: null } }),
    ]);
    ids.push(id);
    await db.enqueue(queue, 1 + (ids.length % 4), { batch: id });
    await close(db, id);
  };
  let isFilled = false;
  const settle = async (mine: number) => {
    const lease = await db.openLease();
    for (let n = mine; ; n++) {
      const jobs = await db.claim(queue, lease, 1 + (n % 5));
      if (jobs.length === 0 && isFilled) return;
      if (n % 3 > 0) await db.complete(lease, jobs);
      else for (const job of jobs) await db.end(lease, job, 'dead_letter');
    }
  };
  const filling = Promise.all(
    Array.from({ length: 3 }, async () => {
      for (let n = 0; n < 60; n++) await fill();
    }),
  ).then(() => {
    isFilled = true;
  });
  await Promise.all([filling, ...[0, 1, 2, 3].map(settle)]);
  await fold(db);
  expect(
    await db.rows(
      "select id, pending from howdah.batches where state = 'closed' and id = any ($1)",
      [ids],
    ),
  ).toEqual([]);
  const rows = await db.rows<{ id: string }>(
    `select headers #>> '{howdah-batch,id}' as id from howdah.job_states where queue = $1`,
    [after],
  );
  expect(rows.map(({ id }) => id).sort()).toEqual(ids.sort());
  await db.expectTruth();
});
