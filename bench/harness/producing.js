import { assertStored } from './ledger.js';

/** One producer process, nobody working; warmed with a tenth of the jobs. */
export async function measureProducing({ quick, agent, postgres, url }, how, counts) {
  const count = quick ? counts.quick : counts.full;
  const warmup = Math.ceil(count / 10);
  const producer = await agent();
  await producer.call('produce', { ...how, count: warmup });
  await postgres?.settle(url);
  const { elapsedMs } = await producer.call('produce', { ...how, from: warmup, count });
  await assertStored(producer, warmup + count);
  return { jobsPerSecond: (count * 1000) / elapsedMs, meanMs: elapsedMs / count };
}
