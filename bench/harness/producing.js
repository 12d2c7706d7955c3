import { serverCost } from './cost.js';
import { assertStored } from './ledger.js';

/**
 * One producer process, nobody working. `amount` is `{seconds}` or `{count}`; a tenth of it warms up.
 */
export async function measureProducing({ agent, postgres, meter, url }, how, amount) {
  const producer = await agent();
  const tenth = Object.fromEntries(Object.entries(amount).map(([key, n]) => [key, n / 10]));
  const warmup = await producer.call('produce', { ...how, ...tenth });
  await postgres?.settle(url);
  const from = warmup.count;
  const before = await meter();
  const made = await producer.call('produce', { ...how, ...amount, from });
  const { elapsedMs, count, cpuSeconds } = made;
  const after = await meter();
  await assertStored(producer, from + count);
  return {
    jobsPerSecond: (count * 1000) / elapsedMs,
    meanMs: elapsedMs / count,
    producerCpuUs: (cpuSeconds * 1e6) / count,
    ...serverCost(before, after, count),
  };
}
