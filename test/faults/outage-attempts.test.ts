import { work } from 'howdah';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, heard, startWorker, waitForState } from '../support/workers.js';

const OUTAGE_MS = 6_000;
/** Seen: 11 to 12, of all its connections; 30 when each tried for itself. */
const ATTEMPTS_MAX = 20;

test('a worker does not besiege a server that is away, and is there when it is back', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const queue = await createQueue(pool);
  const made = await startWorker({ url: proxy.url, queues: [work(queue, () => undefined)] });
  await heard(made, 'maintenance.leading');
  proxy.refuse();
  proxy.cut();
  const before = proxy.attempts;
  const until = performance.now() + OUTAGE_MS;
  await waitFor(() => performance.now() > until, { timeoutMs: 2 * OUTAGE_MS, intervalMs: 50 });
  const attempts = proxy.attempts - before;
  expect(attempts).toBeGreaterThan(0);
  expect(attempts).toBeLessThanOrEqual(ATTEMPTS_MAX);
  proxy.refuse(false);
  const [now, later] = await enqueue(pool, queue, [{}, { delay_ms: 500 }]);
  await waitForState(pool, now, 'completed');
  await waitForState(pool, later, 'completed');
});
