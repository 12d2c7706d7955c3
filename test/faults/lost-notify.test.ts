import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { createCounts, startFaultWorker } from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, readJob, waitForState } from '../support/workers.js';

const POLL_MS = 400;

test('notifications that stop to arrive on a line that stays up are missed, and not needed', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  await createCounts(pool);
  const name = await createQueue(pool);
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const worker = await startFaultWorker({
    url: proxy.url,
    effectsUrl: url,
    queue: name,
    poll: POLL_MS,
  });
  await worker.heard('listener.hearing');
  const sleepers = async () => (await pool.query('select * from howdah._sleepers')).rows.length;
  await waitFor(async () => (await sleepers()) === 1, { what: 'the worker to sleep' });

  // Before it notices: it sleeps, is rung in vain, and finds the job by its poll.
  proxy.dropNotifications();
  const droppedAt = Date.now();
  const run = async (): Promise<void> => {
    const [id] = await enqueue(pool, name, [{ payload: { do: 'done', isQuiet: true } }]);
    await waitForState(pool, id, 'completed', POLL_MS + 5_000);
    expect((await readJob(pool, id)).attempt).toBe(1);
  };
  await run();
  expect(worker.of('connection.lost')).toEqual([]);

  // It notices by its own test, says so, asks for no bell any more, and polls.
  const deaf = await worker.heard('listener.deaf');
  expect(deaf).toMatchObject({
    reason: 'a notification to itself did not arrive',
    pollMs: POLL_MS,
  });
  expect(deaf.at - droppedAt).toBeLessThan(15_000);
  await waitFor(async () => (await sleepers()) === 0, { what: 'the bell to be taken away' });
  for (let job = 0; job < 3; job += 1) await run();
  expect(worker.of('listener.deaf')).toHaveLength(1);

  // It recovers by itself.
  proxy.dropNotifications(false);
  await worker.heard('listener.hearing', 2);
  await waitFor(async () => (await sleepers()) === 1, { what: 'the worker to sleep again' });
  await run();
  expect(worker.of('lease.lost')).toEqual([]);
  expect(worker.of('claim.failed')).toEqual([]);
});

test('from the very start: it says that it is deaf, and works', async ({ url, pool }) => {
  await createCounts(pool);
  const name = await createQueue(pool);
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  proxy.dropNotifications();
  const worker = await startFaultWorker({
    url: proxy.url,
    effectsUrl: url,
    queue: name,
    poll: POLL_MS,
  });
  const ids = await enqueue(
    pool,
    name,
    Array.from({ length: 20 }, () => ({ payload: { do: 'done', isQuiet: true } })),
  );
  for (const id of ids) await waitForState(pool, id, 'completed');
  await worker.heard('listener.deaf');
  expect(worker.of('listener.hearing')).toEqual([]);
  // a delayed job is on time without a bell as well
  const [delayed] = await enqueue(pool, name, [
    { payload: { do: 'done', isQuiet: true }, delay_ms: 500 },
  ]);
  await waitForState(pool, delayed, 'completed', 5_000);
});
