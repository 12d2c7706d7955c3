import { createClient, createWorker, queue, silentLogger, work } from 'howdah';
import { expect } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';

const LEASE_MS = 1_000;
/** Longer than a term, which is half a lease. */
const BLOCKED_MS = 800;

test('a leader whose term lapsed while its event loop was blocked goes on with its duties', async ({
  url,
}) => {
  const delayed = queue('delayed');
  const client = createClient({ url });
  const done: unknown[] = [];
  const worker = createWorker({
    url,
    lease: LEASE_MS,
    logger: silentLogger,
    queues: [work(delayed, ({ payload }) => void done.push(payload))],
  });
  let leading = 0;
  worker.on('maintenance.leading', () => {
    leading += 1;
  });
  try {
    await worker.start();
    await waitFor(() => leading > 0, { what: 'the worker to lead' });
    await client.enqueue(delayed, 'before', { delay: 100 });
    await waitFor(() => done.length === 1, { what: 'a delayed job' });

    for (let round = 1; round <= 3; round += 1) {
      await client.enqueue(delayed, round, { delay: 300 }); // due while the loop is blocked
      const end = performance.now() + BLOCKED_MS;
      while (performance.now() < end);
      await waitFor(() => done.length === round + 1, { what: `delayed job ${round}` });
    }
    expect(done).toEqual(['before', 1, 2, 3]);
  } finally {
    await worker.stop({ grace: 0 });
    await client.close();
  }
});
