import { onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { createCounts, startFaultWorker } from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, waitForState } from '../support/workers.js';

const LEASE_MS = 1_000;

// A known fault: its worker holds the job, does not know, and renews its lease. This fails once that is mended.
test.fails('a job whose claim was answered on a line that broke runs within some leases', async ({
  url,
  pool,
}) => {
  await createCounts(pool);
  const name = await createQueue(pool);
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const options = { queue: name, lease: LEASE_MS, url: proxy.url, effectsUrl: url };
  await startFaultWorker(options);
  proxy.loseReplyTo('claim');
  const [id] = await enqueue(pool, name, [{ payload: { do: 'done', isQuiet: true } }]);
  await waitFor(() => proxy.repliesLost === 1, { what: 'the reply to be lost' });
  await waitForState(pool, id, 'completed', 8 * LEASE_MS);
});
