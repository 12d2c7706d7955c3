import { createClient, migrate, work } from 'howdah';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { waitFor } from '../support/wait-for.js';
import { heard, makeWorker } from '../support/workers.js';

test('a start that has failed may be made again, by the same worker', async ({
  createDatabase,
}) => {
  const url = await createDatabase('empty');
  const done: unknown[] = [];
  const made = makeWorker({ url, queues: [work('later', (job) => void done.push(job.payload))] });
  const { worker } = made;
  const { stopped } = worker;
  await expect(worker.start()).rejects.toMatchObject({ code: 'HOWDAH_SCHEMA_MISSING' });
  await stopped;
  await expect(worker.runOnce()).rejects.toMatchObject({ code: 'HOWDAH_SCHEMA_MISSING' });
  await migrate({ url });
  await expect(worker.start()).rejects.toMatchObject({ code: 'HOWDAH_QUEUE_UNKNOWN' });
  const client = createClient({ url });
  onTestFinished(() => client.close());
  await client.queues.create('later');
  await client.enqueue('later', 1);
  expect(await worker.runOnce()).toMatchObject({ completed: 1, isDrained: true });
  await Promise.all([worker.start(), worker.start()]);
  await client.enqueue('later', 2);
  await waitFor(() => done.includes(2));
  let isStopped = false;
  void worker.stopped.then(() => {
    isStopped = true;
  });
  expect(isStopped).toBe(false);
  await worker.stop();
  await worker.stopped;
  await expect(worker.start()).rejects.toMatchObject({ code: 'HOWDAH_SHUTDOWN' });
});

test('with startWithin it waits for a database that is not there, not migrated, lacks the queue', {
  timeout: 60_000,
}, async ({ createDatabase }) => {
  const url = await createDatabase('empty');
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  proxy.refuse();
  const done: unknown[] = [];
  const made = makeWorker({
    url: proxy.url,
    startWithin: '5m',
    queues: [work('early', (job) => void done.push(job.payload))],
  });
  const started = made.worker.start();
  const waitsFor = (code: string): Promise<unknown> =>
    waitFor(
      () =>
        made.events.some((event) => event.type === 'worker.waiting' && event.error.code === code),
      { timeoutMs: 20_000, what: `to wait with ${code}` },
    );
  await waitsFor('HOWDAH_DATABASE_UNAVAILABLE');
  proxy.refuse(false);
  await waitsFor('HOWDAH_SCHEMA_MISSING');
  await migrate({ url });
  await waitsFor('HOWDAH_QUEUE_UNKNOWN');
  const client = createClient({ url });
  onTestFinished(() => client.close());
  await client.queues.create('early');
  await started;
  await client.enqueue('early', 1);
  await waitFor(() => done.length === 1);
});

test('it does not wait longer, nor for what will not pass, and a stop ends the wait', async ({
  createDatabase,
  url,
}) => {
  const empty = await createDatabase('empty');
  const queues = [work('any', () => undefined)];
  const short = makeWorker({ url: empty, startWithin: '300ms', queues });
  await expect(short.worker.start()).rejects.toMatchObject({ code: 'HOWDAH_SCHEMA_MISSING' });
  expect(short.events.some(({ type }) => type === 'worker.waiting')).toBe(true);

  const wrong = new URL(url);
  wrong.username = 'nobody-of-that-name';
  const barred = makeWorker({ url: wrong.href, startWithin: '1h', queues });
  await expect(barred.worker.start()).rejects.toThrow();
  expect(barred.events).toEqual([]);

  const stopped = makeWorker({ url: empty, startWithin: '1h', queues });
  const starting = stopped.worker.start().catch((error: { code: string }) => error.code);
  await heard(stopped, 'worker.waiting');
  await stopped.worker.stop();
  expect(await starting).toBe('HOWDAH_SHUTDOWN');
  await stopped.worker.stopped;
});
