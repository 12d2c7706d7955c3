import { encodeHistogram } from '../harness/histogram.js';
import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';
import { latencyMetrics } from '../harness/statistics.js';

export default {
  name: 'delayed',
  title: 'delayed jobs, due at random times: start of handler after the due time, ms',
  isLong: true,
  columns: [
    { key: 'p50', label: 'p50', digits: 1 },
    { key: 'p99', label: 'p99', digits: 1 },
    { key: 'worst', label: 'worst', digits: 1 },
    { key: 'least', label: 'earliest', digits: 1 },
  ],
  goals: [
    { text: 'p99, ms', measure: (m) => m('howdah', 'p99'), most: 50, digits: 1 },
    { text: 'earliest start, ms', measure: (m) => m('howdah', 'least'), least: 0, digits: 1 },
  ],

  async run({ quick, agent }) {
    const count = quick ? 500 : 5000;
    const due = quick ? { minMs: 2000, maxMs: 7000 } : { minMs: 8000, maxMs: 23_000 };
    const worker = await agent();
    await worker.call('startWorker', { capacity: count, measure: 'epoch' });
    const producer = await agent();
    await producer.call('produce', { how: 'delayed', count, ...due });
    await untilSettled([worker], producer, count);
    const reports = await collect([worker]);
    assertEachOnce(reports, count);
    const [{ latencies }] = reports;
    return { ...latencyMetrics(latencies), histogram: encodeHistogram(latencies) };
  },
};
