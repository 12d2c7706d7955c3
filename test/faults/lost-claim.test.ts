import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { createCounts, startFaultWorker } from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, readJob, waitForState } from '../support/workers.js';

test('jobs whose claim was answered to nobody are given back, and run', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  await createCounts(pool);
  const name = await createQueue(pool);
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const payload = { do: 'done', isQuiet: true };
  const ids = await enqueue(pool, name, [{ payload }, { payload }, { payload }]);
  proxy.loseReplyTo('claim_many');
  const worker = await startFaultWorker({ url: proxy.url, effectsUrl: url, queue: name });
  await waitFor(() => proxy.repliesLost === 1, { what: 'the reply to a claim to be lost' });
  await worker.heard('claim.failed');
  for (const id of ids) {
    await waitForState(pool, id, 'completed');
    // it never began the first time: that attempt does not count
    expect(await readJob(pool, id)).toMatchObject({ attempt: 1, errors: null });
  }
  expect(worker.of('lease.lost')).toEqual([]);
});
