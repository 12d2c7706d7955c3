import { type Client, createClient, type EnqueueOptions, HowdahError } from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import type { Engine } from '../support/engine.js';
import { type RaceSession, test } from '../support/sessions.js';

let worlds = 0;

interface World {
  readonly queue: string;
  readonly other: string;
  readonly batch: string;
}

async function world(db: Engine): Promise<World> {
  worlds += 1;
  const here = { queue: `held-${worlds}`, other: `others-${worlds}` };
  await db.createQueue(here.queue);
  await db.createQueue(here.other);
  return { ...here, batch: await db.one<string>(`select howdah.open_batch('{}')`) };
}

interface Hold {
  readonly what: string;
  /** Before, committed. */
  readonly before?: (db: Engine, w: World) => Promise<unknown>;
  readonly hold: (a: RaceSession, w: World) => Promise<unknown>;
  /** What has to wait for it. */
  readonly options: (w: World) => EnqueueOptions;
}

const HOLDS: readonly Hold[] = [
  {
    what: 'a new group',
    hold: (a, { queue }) => a.enqueue(queue, 1, { group: 'g' }),
    options: () => ({ group: 'g' }),
  },
  {
    what: 'a group',
    before: (db, { queue }) => db.enqueue(queue, 2, { group: 'g' }),
    hold: (a, { queue }) => a.enqueue(queue, 1, { group: 'g' }),
    options: () => ({ group: 'g' }),
  },
  {
    what: 'a new dedupe key',
    hold: (a, { queue }) => a.enqueue(queue, 1, { dedupe: { key: 'k' } }),
    options: () => ({ dedupe: { key: 'k' } }),
  },
  {
    what: 'the job of a dedupe key',
    before: (db, { queue }) => db.enqueue(queue, 1, { dedupe: { key: 'k' }, delay_ms: 60_000 }),
    hold: (a, { queue }) =>
      a.rows('select from howdah._jobs j where queue_id = howdah._queue_id_of($1) for update', [
        queue,
      ]),
    options: () => ({ dedupe: { key: 'k', mode: 'replace', window: '1h' } }),
  },
  {
    what: 'a batch that is closed',
    before: (db, { queue, batch }) => db.enqueue(queue, 1, { batch }),
    hold: (a, { batch }) => a.rows('select howdah.close_batch($1)', [batch]),
    options: ({ batch }) => ({ batch }),
  },
];

function clientOf(url: string, options: object = {}): Client {
  const client = createClient({ url, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** Calls whose answers are out; says which have come. */
function pending(calls: readonly Promise<unknown>[]): { readonly answered: () => number } {
  let answered = 0;
  for (const call of calls) {
    const count = () => {
      answered += 1;
    };
    call.then(count, count);
  }
  return { answered: () => answered };
}

describe.for(HOLDS)('an open transaction that holds $what', ({ before, hold, options }) => {
  test('is waited for by those calls of a client that need it, and by no others', async ({
    db,
    a,
    url,
  }) => {
    const here = await world(db);
    await before?.(db, here);
    await a.begin();
    await hold(a, here);
    const client = clientOf(url);
    const held = options(here);
    // more than the pool has connections, in every way
    const calls = [
      ...Array.from({ length: 300 }, (_, i) => client.enqueue(here.queue, i, held)),
      ...Array.from({ length: 15 }, () => client.enqueueMany(here.queue, [1, 2], held)),
      client.enqueueMany(here.queue, [1, 2], { ...held, onError: 'report' }),
    ];
    const { answered } = pending(calls);
    const batch = await db.one<string>(`select howdah.open_batch('{}')`);
    const free = (i: number): EnqueueOptions[] => [
      {},
      { group: `of-its-own-${i}` },
      { dedupe: { key: `of-its-own-${i}` } },
      { batch },
    ];
    for (let round = 0; round < 20; round++) {
      const others = free(round).flatMap((each) => [
        client.enqueue(here.other, round, each),
        client.enqueue(here.queue, round, each),
        client.enqueueMany(here.other, [1, 2, 3], each),
      ]);
      const ids = await Promise.all(others);
      expect(ids).toHaveLength(12);
      if (round === 2) await client.queues.stats(here.other);
    }
    expect(answered()).toBe(0);
    await a.commit();
    const results = await Promise.allSettled(calls);
    const codes = new Set(
      results.map((each) => (each.status === 'rejected' ? each.reason.code : 'done')),
    );
    // the one that reports has told of it by its answer
    expect([...codes]).toEqual(held.batch ? ['HOWDAH_BATCH_CLOSED', 'done'] : ['done']);
    await db.promote();
    await db.expectTruth();
  });
});

test('jobs of a held group come in the order of their calls', async ({ db, a, url }) => {
  const { queue } = await world(db);
  await a.begin();
  await a.enqueue(queue, 1, { group: 'g' });
  const client = clientOf(url);
  const calls: Promise<unknown>[] = [client.enqueue(queue, 0, { group: 'g' })];
  // it stands behind the first from now on
  await client.enqueue(queue, 'free', { group: 'free' });
  await db.rows('select pg_sleep(0.3)');
  for (let i = 1; i < 50; i++) {
    const others = i % 3 === 0 ? { dedupe: { key: `k${i}` } } : {};
    calls.push(client.enqueue(queue, i, { group: 'g', ...others }));
  }
  const { answered } = pending(calls);
  await client.enqueue(queue, 'free', { group: 'free' });
  expect(answered()).toBe(0);
  await a.rollback();
  await Promise.all(calls);
  const rows = await db.rows<{ payload: number }>(
    `select payload from howdah._jobs where queue_id = howdah._queue_id_of($1) and group_key = 'g' order by id`,
    [queue],
  );
  expect(rows.map(({ payload }) => payload)).toEqual(Array.from({ length: 50 }, (_, i) => i));
});

test('a call that is held for longer than a statement may take fails, and has done nothing', async ({
  db,
  a,
  url,
}) => {
  const { queue } = await world(db);
  await a.begin();
  await a.enqueue(queue, 1, { group: 'g' });
  const client = clientOf(url, { statementTimeout: '1s' });
  const calls = [
    ...Array.from({ length: 40 }, (_, i) => client.enqueue(queue, i, { group: 'g' })),
    client.enqueueMany(queue, [1, 2, 3], { group: 'g' }),
  ];
  for (const each of await Promise.allSettled(calls)) {
    const error = each.status === 'rejected' ? each.reason : undefined;
    expect(error).toBeInstanceOf(HowdahError);
    expect(error).toMatchObject({ code: 'HOWDAH_TIMEOUT', details: { sqlstate: '55P03' } });
    expect(error.remedy).toContain('dedupe key');
  }
  await a.rollback();
  await client.enqueue(queue, 'last', { group: 'g' });
  expect(await db.rows('select payload from howdah.jobs where queue = $1', [queue])).toEqual([
    { payload: 'last' },
  ]);
});

test('many keys that are held at once hold up no other call, nor each other once they are free', async ({
  db,
  a,
  b,
  url,
}) => {
  const { queue } = await world(db);
  await a.begin();
  await b.begin();
  await a.enqueueRows(keyed(queue, 0, 20));
  await b.enqueueRows(keyed(queue, 20, 40));
  const client = clientOf(url);
  const calls = Array.from({ length: 60 }, (_, i) =>
    client.enqueue(queue, i, { dedupe: { key: `k${i}` } }),
  );
  await Promise.all(calls.slice(40));
  await a.commit();
  expect((await Promise.all(calls.slice(0, 20))).map(({ created }) => created)).toEqual(
    Array.from({ length: 20 }, () => false),
  );
  await b.rollback();
  for (const { created } of await Promise.all(calls.slice(20))) expect(created).toBe(true);
});

test('a pool of the application with two connections is enough', async ({ db, a, url }) => {
  const { queue, other } = await world(db);
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  onTestFinished(() => pool.end());
  const client = createClient({ pool });
  await a.begin();
  await a.enqueue(queue, 1, { group: 'g' });
  const calls = Array.from({ length: 20 }, () => client.enqueueMany(queue, [1], { group: 'g' }));
  const { answered } = pending(calls);
  for (let i = 0; i < 20; i++) await client.enqueue(other, i);
  expect(answered()).toBe(0);
  await a.rollback();
  await Promise.all(calls);
  await client.close();
  // nothing stays set on its connections
  const { rows } = await pool.query('show lock_timeout');
  expect(rows).toEqual([{ lock_timeout: '0' }]);
});

test('a publication waits by itself', async ({ db, a, url }) => {
  const { queue, other } = await world(db);
  const client = clientOf(url);
  await client.topics.subscribe(`of-${queue}`, queue);
  await client.topics.subscribe(`of-${other}`, other);
  await a.begin();
  await a.enqueue(queue, 1, { group: 'g' });
  const calls = Array.from({ length: 20 }, () => client.publish(`of-${queue}`, 1, { group: 'g' }));
  const { answered } = pending(calls);
  expect(await client.publish(`of-${other}`, 1, { group: 'g' })).toHaveLength(1);
  expect(answered()).toBe(0);
  await a.rollback();
  await Promise.all(calls);
});

test('what an operator does to rows that are held keeps no connection, and is done when they are let go', async ({
  db,
  a,
  url,
}) => {
  const { queue, other } = await world(db);
  const [job = '', free = ''] = await db.enqueue(queue, 2);
  await a.begin();
  await a.lockJob(job);
  await a.rows('select howdah.pause_queue($1)', [queue]);
  const client = clientOf(url);
  const calls = Array.from({ length: 12 }, (_, i) => [
    client.jobs.edit(job, { payload: i }),
    client.queues.pause(queue, 'here, too'),
    client.jobs.cancelWhere({ queue }),
  ]).flat();
  const { answered } = pending(calls);
  await client.enqueue(other, 1);
  expect(await client.jobs.edit(free, { payload: 'edited' })).toBe('ready');
  await client.queues.pause(other, 'for the test');
  expect(await client.queues.resume(other)).toEqual([other]);
  expect(answered()).toBe(0);
  await a.commit();
  await Promise.allSettled(calls);
  expect((await client.queues.stats(queue))[0]).toMatchObject({ paused: true, ready: 0 });
});

test('received jobs are settled while somebody has one of them', async ({ db, a, url }) => {
  const { queue } = await world(db);
  await db.enqueue(queue, 20);
  const client = clientOf(url);
  const jobs = await client.receive(queue, { max: 20 });
  const [first] = jobs;
  if (!first) throw new Error('nothing was received');
  await a.begin();
  await a.lockJob(first.id);
  const held = first.complete();
  const { answered } = pending([held]);
  await Promise.all(jobs.slice(1, 10).map((job) => job.complete()));
  await Promise.all(jobs.slice(10).map((job) => job.fail(new Error('no'))));
  expect(answered()).toBe(0);
  await a.rollback();
  await held;
  expect(await db.state(first.id)).toBe('completed');
  await db.expectTruth();
});

function keyed(queue: string, from: number, to: number): object[] {
  return Array.from({ length: to - from }, (_, i) => ({
    queue,
    payload: i,
    dedupe: { key: `k${from + i}` },
  }));
}

test('hundreds of held calls keep neither a received job from being extended nor another call waiting', {
  timeout: 60_000,
}, async ({ db, a, url }) => {
  const { queue, other } = await world(db);
  const client = clientOf(url);
  const ids = await db.enqueue(queue, 300);
  await db.enqueue(other, 2);
  const [job] = await client.receive(other, { max: 1, visibility: '20s' });
  const [free] = await db.enqueue(other);
  await a.begin();
  await a.rows('select from howdah._jobs where id = any ($1) for update', [ids]);
  const held = pending(ids.map((id) => client.jobs.cancel(id)));
  const extended = job?.extend('60s');
  const cancelled = client.jobs.cancel(free ?? '');
  const first = await Promise.race([
    Promise.all([extended, cancelled]).then(() => 'the others'),
    // what 300 of them took, standing in one line for 100 ms each, five at a time
    new Promise((resolve) => setTimeout(() => resolve('the held ones'), 5_000)),
  ]);
  expect(first).toBe('the others');
  expect(held.answered()).toBe(0);
  await a.rollback();
  await expect.poll(held.answered, { timeout: 20_000 }).toBe(ids.length);
});
