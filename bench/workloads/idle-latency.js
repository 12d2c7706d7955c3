import { encodeHistogram } from '../harness/histogram.js';
import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';
import { latencyMetrics } from '../harness/statistics.js';

export default {
  name: 'idle-latency',
  title: 'one job at a time on an idle worker: call of enqueue to start of handler, ms',
  columns: [
    { key: 'p50', label: 'p50', digits: 2 },
    { key: 'p90', label: 'p90', digits: 2 },
    { key: 'p99', label: 'p99', digits: 2 },
    { key: 'worst', label: 'worst', digits: 1 },
  ],
  goals: [
    { text: 'p50, ms', measure: (m) => m('howdah', 'p50'), most: 1.5 },
    { text: 'p99, ms', measure: (m) => m('howdah', 'p99'), most: 4 },
    {
      text: 'p50, times that of BullMQ with fsync always',
      measure: (m) => m('howdah', 'p50') / m('bullmq-always', 'p50'),
      most: 1,
    },
  ],

  async run({ quick, agent }) {
    const warmup = 50;
    const count = warmup + (quick ? 150 : 1000);
    const worker = await agent();
    await worker.call('startWorker', { capacity: count, measure: 'monotonic' });
    const producer = await agent();
    await producer.call('produce', { how: 'gaps', count });
    await untilSettled([worker], producer, count);
    const reports = await collect([worker]);
    assertEachOnce(reports, count);
    const measured = reports[0].latencies.subarray(warmup);
    return { ...latencyMetrics(measured), histogram: encodeHistogram(measured) };
  },
};
