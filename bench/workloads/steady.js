import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';
import { latencyMetrics } from '../harness/statistics.js';

const RATE = 1000;

export default {
  name: 'steady',
  title: '1,000 jobs/s in an open loop: due time to start of handler, ms (no coordinated omission)',
  columns: [
    { key: 'p50', label: 'p50', digits: 2 },
    { key: 'p90', label: 'p90', digits: 2 },
    { key: 'p99', label: 'p99', digits: 2 },
    { key: 'p999', label: 'p99.9', digits: 1 },
    { key: 'worst', label: 'worst', digits: 1 },
    { key: 'sentPerSecond', label: 'taken/s' },
  ],
  goals: [
    { text: 'p50, ms', measure: (m) => m('howdah', 'p50'), most: 2.5 },
    { text: 'p99, ms', measure: (m) => m('howdah', 'p99'), most: 10 },
  ],

  async run({ quick, agent }) {
    const warmupSeconds = 2;
    const seconds = warmupSeconds + (quick ? 4 : 20);
    const worker = await agent();
    await worker.call('startWorker', { capacity: RATE * seconds, measure: 'monotonic' });
    const producer = await agent();
    const loop = { how: 'openLoop', rate: RATE, seconds };
    const { sent, isHeld, elapsedMs } = await producer.call('produce', loop);
    await untilSettled([worker], producer, sent);
    const reports = await collect([worker]);
    assertEachOnce(reports, sent);
    // Who does not hold the rate has no steady latency: it grows for as long as one measures.
    const measured = reports[0].latencies.subarray(warmupSeconds * RATE);
    return { ...(isHeld && latencyMetrics(measured)), sentPerSecond: (sent * 1000) / elapsedMs };
  },
};
