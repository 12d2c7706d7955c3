import { COST_COLUMNS, serverCost, workerCost } from '../harness/cost.js';
import { encodeHistogram } from '../harness/histogram.js';
import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';
import { latencyMetrics } from '../harness/statistics.js';

const COLUMNS = [
  { key: 'p50', label: 'p50', digits: 2 },
  { key: 'p90', label: 'p90', digits: 2 },
  { key: 'p99', label: 'p99', digits: 2 },
  { key: 'p999', label: 'p99.9', digits: 1 },
  { key: 'worst', label: 'worst', digits: 1 },
  { key: 'sentPerSecond', label: 'taken/s' },
  ...COST_COLUMNS,
];

/** The same at four rates; who does not hold one has no latency in its table. */
export const STEADY = [
  steadyAt(400, [], { isLong: true }),
  steadyAt(1000, [
    { text: 'p50, ms', measure: (m) => m('howdah', 'p50'), most: 2.5 },
    { text: 'p99, ms', measure: (m) => m('howdah', 'p99'), most: 10 },
    {
      text: 'p99, times that of BullMQ with fsync always',
      measure: (m) => m('howdah', 'p99') / m('bullmq-always', 'p99'),
      most: 1,
    },
  ]),
  steadyAt(3000, held(3000), { isLong: true }),
  steadyAt(10_000, held(10_000), { isLong: true }),
];

function held(rate) {
  return [
    { text: `p99 at ${rate}/s, ms`, measure: (m) => m('howdah', 'p99'), most: 25 },
    {
      text: 'share of the rate taken',
      measure: (m) => m('howdah', 'sentPerSecond') / rate,
      least: 0.99,
    },
  ];
}

function steadyAt(rate, goals, more) {
  const words = rate.toLocaleString('en-US');
  return {
    name: `steady-${rate}`,
    title: `${words} jobs/s in an open loop: due time to start of handler, ms (no coordinated omission)`,
    columns: COLUMNS,
    goals,
    ...more,
    run: (context) => measureRate(context, rate),
  };
}

async function measureRate({ quick, agent, meter }, rate) {
  const warmupSeconds = 2;
  const seconds = warmupSeconds + (quick ? 4 : 20);
  const worker = await agent();
  await worker.call('startWorker', { capacity: rate * seconds, measure: 'monotonic' });
  const producer = await agent();
  const before = await meter();
  const loop = { how: 'openLoop', rate, seconds };
  const { sent, isHeld, elapsedMs, cpuSeconds } = await producer.call('produce', loop);
  await untilSettled([worker], producer, sent);
  const after = await meter();
  const reports = await collect([worker]);
  assertEachOnce(reports, sent);
  // Who does not hold the rate has no steady latency: it grows for as long as one measures.
  const measured = reports[0].latencies.subarray(warmupSeconds * rate);
  return {
    ...(isHeld && { ...latencyMetrics(measured), histogram: encodeHistogram(measured) }),
    sentPerSecond: (sent * 1000) / elapsedMs,
    ...workerCost(reports, sent),
    producerCpuUs: (cpuSeconds * 1e6) / sent,
    ...serverCost(before, after, sent),
  };
}
