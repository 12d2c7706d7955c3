import { work } from 'howdah';
import { expect } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import {
  countdown,
  createQueue,
  enqueue,
  heard,
  startWorker,
  waitForState,
} from '../support/workers.js';

const sleepers = 'select queue_id, lease_id from howdah._sleepers';

test('an idle worker is woken by an enqueue, not by its poll', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const made = await startWorker({ url, poll: '1h', queues: [work(name, () => undefined)] });
  await heard(made, 'listener.hearing');
  for (let n = 0; n < 5; n++) {
    await waitFor(async () => (await pool.query(sleepers)).rowCount === 1);
    const [id] = await enqueue(pool, name);
    await waitForState(pool, id, 'completed', 5_000);
  }
});

test('a job enqueued in a transaction is found when that commits', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const made = await startWorker({ url, poll: '1h', queues: [work(name, () => undefined)] });
  await heard(made, 'listener.hearing');
  await waitFor(async () => (await pool.query(sleepers)).rowCount === 1);
  const client = await pool.connect();
  await client.query('begin');
  const [id] = await enqueue(client, name);
  // another job passes it meanwhile, so that its seq lies behind the cursor when it commits
  const [other] = await enqueue(pool, name);
  await waitForState(pool, other, 'completed');
  await client.query('commit');
  client.release();
  await waitForState(pool, id, 'completed', 5_000);
});

test('who enqueued before the worker fell asleep, and commits after it has looked, is found', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool);
  const client = await pool.connect();
  await client.query('begin');
  const [id] = await enqueue(client, name); // nobody sleeps: nobody is rung
  const made = await startWorker({ url, poll: '1h', queues: [work(name, () => undefined)] });
  await heard(made, 'listener.hearing');
  await waitFor(async () => (await pool.query(sleepers)).rowCount === 1);
  const asleepAt = performance.now();
  await waitFor(() => performance.now() - asleepAt > 600); // its looks at once, at 250 and 500 ms are over
  await client.query('commit');
  client.release();
  await waitForState(pool, id, 'completed', 5_000);
});

test('a busy worker asks for no rings, an idle one for rings again', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const made = await startWorker({
    url,
    queues: [work(name, () => new Promise((resolve) => setTimeout(resolve, 2)))],
  });
  await heard(made, 'listener.hearing');
  await waitFor(async () => (await pool.query(sleepers)).rowCount === 1);
  let isBusy = true;
  const feeding = (async () => {
    while (isBusy)
      await enqueue(
        pool,
        name,
        Array.from({ length: 20 }, () => ({})),
      );
  })();
  await waitFor(async () => (await pool.query(sleepers)).rowCount === 0);
  isBusy = false;
  await feeding;
  await waitFor(async () => (await pool.query(sleepers)).rowCount === 1);
});

test('one queue is busy, the other is still woken', async ({ url, pool }) => {
  const [busy, idle] = [await createQueue(pool), await createQueue(pool)];
  const made = await startWorker({
    url,
    poll: '1h',
    queues: [
      work(busy, () => new Promise((resolve) => setTimeout(resolve, 2))),
      work(idle, () => undefined),
    ],
  });
  await heard(made, 'listener.hearing');
  let isBusy = true;
  const feeding = (async () => {
    while (isBusy)
      await enqueue(
        pool,
        busy,
        Array.from({ length: 20 }, () => ({})),
      );
  })();
  for (let n = 0; n < 5; n++) {
    const [id] = await enqueue(pool, idle);
    await waitForState(pool, id, 'completed', 5_000);
  }
  isBusy = false;
  await feeding;
});

test('a backlog wakes other workers, too', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const seen = new Set<string>();
  const all = countdown(60);
  const start = (worker: string) =>
    startWorker({
      url,
      poll: '1h',
      queues: [
        work(
          name,
          async () => {
            seen.add(worker);
            all.tick();
            await new Promise((resolve) => setTimeout(resolve, 50));
          },
          { concurrency: 2 },
        ),
      ],
    });
  const workers = await Promise.all(['a', 'b', 'c'].map(start));
  for (const made of workers) await heard(made, 'listener.hearing');
  await waitFor(async () => (await pool.query(sleepers)).rowCount === 3);
  await enqueue(
    pool,
    name,
    Array.from({ length: 60 }, () => ({})),
  );
  await all.done;
  expect([...seen].sort()).toEqual(['a', 'b', 'c']);
});

test('a worker that stops is rung no more; what was under way to it is passed on', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool);
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const held = await startWorker({ url, poll: '1h', queues: [work(name, () => gate)] });
  await heard(held, 'listener.hearing');
  const { leaseId } = await heard(held, 'lease.opened');
  const [first] = await enqueue(pool, name);
  await waitForState(pool, first, 'running');
  await waitFor(async () => (await pool.query(sleepers)).rowCount === 1);
  const other = await startWorker({ url, poll: '1h', queues: [work(name, () => undefined)] });
  await heard(other, 'listener.hearing');
  await waitFor(async () => (await pool.query(sleepers)).rowCount === 2);

  const stopped = held.worker.stop({ grace: '1h' });
  await waitFor(async () => (await pool.query(sleepers)).rowCount === 1);
  for (let n = 0; n < 5; n += 1) {
    const { rows } = await pool.query(
      'select id from howdah.enqueue($1::text::jsonb, p_ring => false)',
      [JSON.stringify({ queue: name, payload: n })],
    );
    await pool.query('select pg_notify($1, $2)', [`howdah_${leaseId}`, '']); // as if sent before
    await waitForState(pool, rows[0].id, 'completed', 5_000);
  }
  open();
  expect(await stopped).toMatchObject({ completed: 1, released: 0 });
});
