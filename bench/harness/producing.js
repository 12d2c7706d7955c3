import { assertStored } from './ledger.js';

/**
 * One producer process, nobody working. `amount` is `{seconds}` or `{count}`; a tenth of it warms up.
 */
export async function measureProducing({ agent, postgres, url }, how, amount) {
  const producer = await agent();
  const tenth = Object.fromEntries(Object.entries(amount).map(([key, n]) => [key, n / 10]));
  const warmup = await producer.call('produce', { ...how, ...tenth });
  await postgres?.settle(url);
  const from = warmup.count;
  const { elapsedMs, count } = await producer.call('produce', { ...how, ...amount, from });
  await assertStored(producer, from + count);
  return { jobsPerSecond: (count * 1000) / elapsedMs, meanMs: elapsedMs / count };
}
