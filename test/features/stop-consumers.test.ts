import { createClient, work } from 'howdah';
import { expect, onTestFinished } from 'vitest';
import { codeOf } from '../support/client.js';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, heard, startWorker, waitForState } from '../support/workers.js';

function newClient(url: string) {
  const client = createClient({ url });
  onTestFinished(() => client.close());
  return client;
}

/** A handler that waits until it is let go. */
function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, handler: () => opened };
}

test('a poison pill stops one worker, after what came before it and before what came after', async ({
  url,
  pool,
}) => {
  const client = newClient(url);
  const queue = await createQueue(pool);
  await client.queues.pause(queue);
  const before = await enqueue(pool, queue, [{}, {}, {}]);
  const pill = await client.workers.stopConsumers(queue);
  const after = await enqueue(pool, queue, [{}, {}]);
  const { open, handler } = gate();
  const options = { url, queues: [work(queue, handler, { concurrency: 10 })] };
  const { worker } = await startWorker(options);
  await client.queues.resume(queue);
  await waitForState(pool, pill, 'completed');
  for (const id of before) await waitForState(pool, id, 'running');
  for (const id of after) await waitForState(pool, id, 'ready');
  open();
  await worker.stopped;
  for (const id of before) await waitForState(pool, id, 'completed');
  for (const id of after)
    expect(await client.jobs.get(id)).toMatchObject({ state: 'ready', attempt: 0 });
  expect(await client.workers.list()).toEqual([]);
});

test('in an empty queue it stops exactly one of several workers', async ({ url, pool }) => {
  const client = newClient(url);
  const queue = await createQueue(pool);
  const workers = await Promise.all(
    [0, 1, 2].map(async () => {
      const made = await startWorker({ url, queues: [work(queue, () => undefined)] });
      await heard(made, 'listener.hearing');
      return made.worker;
    }),
  );
  await client.workers.stopConsumers(queue);
  await Promise.race(workers.map(({ stopped }) => stopped));
  const [id] = await enqueue(pool, queue);
  await waitForState(pool, id, 'completed');
  expect(await client.workers.list()).toHaveLength(2);
  await client.workers.stopConsumers(queue, { mode: 'all' });
  await Promise.all(workers.map(({ stopped }) => stopped));
  expect(await client.workers.list()).toEqual([]);
});

test('a drained worker claims no more, finishes what runs and ends, told within a second', async ({
  url,
  pool,
}) => {
  const client = newClient(url);
  const queue = await createQueue(pool);
  const { open, handler } = gate();
  const made = await startWorker({ url, name: 'to-drain', queues: [work(queue, handler)] });
  await heard(made, 'listener.hearing');
  const [running] = await enqueue(pool, queue);
  await waitForState(pool, running, 'running');
  const since = performance.now();
  const told = heard(made, 'worker.draining');
  expect(await client.workers.drain('to-drain')).toMatchObject([{ worker: 'to-drain' }]);
  expect(await told).toMatchObject({ reason: 'drained by an operator' });
  expect(performance.now() - since).toBeLessThan(1_000);
  expect(await client.workers.list()).toMatchObject([{ draining: true, queues: [queue] }]);
  const [later] = await enqueue(pool, queue);
  open();
  await made.worker.stopped;
  await waitForState(pool, running, 'completed');
  await waitForState(pool, later, 'ready');
  expect(await codeOf(client.workers.drain('to-drain'))).toBe('HOWDAH_WORKER_UNKNOWN');
  expect(await codeOf(client.workers.stopConsumers('nowhere'))).toBe('HOWDAH_QUEUE_UNKNOWN');
  expect(await codeOf(client.workers.stopConsumers(queue, { mode: 'x' as never }))).toBe(
    'HOWDAH_STOP_INVALID',
  );
});

test('a pull consumer meets the pill in its turn and says that it obeys', async ({ url, pool }) => {
  const client = newClient(url);
  const queue = await createQueue(pool);
  await enqueue(pool, queue);
  await client.workers.stopConsumers(queue);
  const seen: boolean[] = [];
  for (let isStopped = false; !isStopped; ) {
    for (const job of await client.receive(queue, { wait: '5s' })) {
      seen.push(job.isStop);
      await job.complete();
      isStopped = job.isStop;
    }
  }
  expect(seen).toEqual([false, true]);
  await waitFor(async () => {
    const { rowCount } = await pool.query('select from howdah._leases where held is not null');
    return rowCount === 0;
  });
});
