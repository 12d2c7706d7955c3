import { serverCost, workerCost } from './cost.js';
import { assertEachOnce } from './ledger.js';
import { collect, untilSettled } from './settle.js';

/**
 * Fills the store, then lets `processes` workers drain it. `produce`: more for the producer. `queues`:
 * spread over so many. Everything is counted, and its processes end with it.
 */
export async function measureDrain(context, { count, processes = 1, queues, url, ...produce }) {
  const { agent, postgres, meter } = context;
  const start = async () => {
    const started = await agent(url);
    if (queues) await started.call('spread', { queues });
    return started;
  };
  const producer = await start();
  await producer.call('produce', { how: 'many', count, ...produce });
  await postgres?.settle(url ?? context.url);
  const before = await meter(url);
  const workers = await Promise.all(Array.from({ length: processes }, start));
  await Promise.all(workers.map((worker) => worker.call('startWorker', { capacity: count })));
  const { seconds } = await untilSettled(workers, producer, count);
  const reports = await collect(workers);
  assertEachOnce(reports, count);
  await producer.stop();
  return {
    jobsPerSecond: count / seconds,
    ...workerCost(reports, count),
    ...serverCost(before, await meter(url), count),
  };
}
