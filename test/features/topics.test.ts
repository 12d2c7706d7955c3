import { type Codec, createClient, type HowdahError, queue, work } from 'howdah';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/client.js';
import { createQueue, makeWorker } from '../support/workers.js';

const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => 'nothing thrown',
    (error: HowdahError) => error.code,
  );

test('what is published reaches every queue that is subscribed', async ({ client, pool, url }) => {
  const first = queue<{ order: number }>(await createQueue(pool));
  const second = await createQueue(pool);
  expect(await client.topics.subscribe('orders', first)).toBe(true);
  expect(await client.topics.subscribe('orders', second)).toBe(true);
  expect(await client.topics.subscribe('orders', second)).toBe(false);
  expect(await client.topics.subscriptions({ topic: 'orders' })).toMatchObject([
    { topic: 'orders', queue: first.name, subscribedAt: expect.any(Date) },
    { topic: 'orders', queue: second },
  ]);
  const jobs = await client.publish('orders', { order: 7 }, { headers: { a: 1 } });
  expect(jobs).toEqual([
    { queue: first.name, id: expect.stringMatching(/^\d+$/), created: true },
    { queue: second, id: expect.stringMatching(/^\d+$/), created: true },
  ]);
  const seen: unknown[] = [];
  const { worker } = makeWorker({
    url,
    queues: [
      work(first, ({ payload, headers }) => void seen.push(['first', payload, headers])),
      work(second, ({ payload, headers }) => void seen.push(['second', payload, headers])),
    ],
  });
  await worker.runOnce();
  const rest = [{ order: 7 }, { a: 1, 'howdah-topic': 'orders' }];
  expect(seen.sort()).toEqual([
    ['first', ...rest],
    ['second', ...rest],
  ]);
  expect(await client.topics.unsubscribe('orders', first)).toBe(true);
  expect(await client.topics.unsubscribe('orders', first)).toBe(false);
  expect(await client.publish('orders', { order: 8 })).toMatchObject([{ queue: second }]);
});

test('a publication is part of a transaction', async ({ client, pool, storedJobs }) => {
  const name = await createQueue(pool);
  await client.topics.subscribe('tx', name);
  const connection = await pool.connect();
  await connection.query('begin');
  expect(await client.publish('tx', 1, { tx: connection })).toHaveLength(1);
  await connection.query('rollback');
  expect(await storedJobs(name)).toEqual([]);
  await connection.query('begin');
  const [job] = await client.publish('tx', 2, { tx: connection });
  await connection.query('commit');
  connection.release();
  expect(await storedJobs(name)).toMatchObject([{ id: job?.id, payload: 2 }]);
});

test('all queues or none, and none is no error', async ({ client, pool, storedJobs }) => {
  const [open, closed] = [await createQueue(pool), await createQueue(pool)];
  expect(await client.publish('all', 1)).toEqual([]);
  await client.topics.subscribe('all', open);
  await client.topics.subscribe('all', closed);
  await client.queues.close(closed);
  expect(await codeOf(client.publish('all', 1))).toBe('HOWDAH_QUEUE_CLOSED');
  expect(await storedJobs(open)).toEqual([]);
  expect(await codeOf(client.topics.subscribe('all', 'nowhere'))).toBe('HOWDAH_QUEUE_UNKNOWN');
  expect(await codeOf(client.topics.subscribe('a b', open))).toBe('HOWDAH_TOPIC_INVALID');
  expect(await codeOf(client.publish('', 1))).toBe('HOWDAH_TOPIC_INVALID');
  expect(await codeOf(client.publish('all', undefined))).toBe('HOWDAH_PAYLOAD_INVALID');
  expect(await codeOf(client.publish('all', 1, { priority: 1.5 }))).toBe('HOWDAH_PRIORITY_INVALID');
});

test('publications and what follows a batch pass the codec', async ({ url, pool }) => {
  const codec: Codec = {
    id: 'turned',
    encode: (text) => [...text].reverse().join(''),
    decode: (text) => [...text].reverse().join(''),
  };
  const client = createClient({ url, codec });
  onTestFinished(() => client.close());
  const name = await createQueue(pool);
  await client.topics.subscribe('secret', name);
  await client.publish('secret', { a: 1 }, { headers: { b: 2 } });
  const batch = await client.batches.open({ onComplete: { queue: name, payload: { c: 3 } } });
  await batch.close({ allowEmpty: true });
  const { rows } = await pool.query('select payload from howdah.job_states where queue = $1', [
    name,
  ]);
  expect(rows.map(({ payload }) => payload.data)).toEqual(['}1:"a"{', '}3:"c"{']);
  const seen: unknown[] = [];
  const { worker } = makeWorker({
    url,
    codec,
    queues: [work(name, ({ payload, headers }) => void seen.push([payload, headers]))],
  });
  await worker.runOnce();
  expect(seen).toEqual([
    [{ a: 1 }, { b: 2, 'howdah-topic': 'secret' }],
    [{ c: 3 }, { 'howdah-batch': { id: batch.id, total: 0, completed: 0, failed: 0 } }],
  ]);
});
