import { createQueue, fill } from '../harness/fill.js';
import { isHowdah } from '../harness/goals.js';
import { assertPart } from '../harness/ledger.js';
import { collect } from '../harness/settle.js';
import { latencyMetrics, percentile } from '../harness/statistics.js';

const RUN_MS = 5;

export default {
  name: 'fairness',
  title: 'one key with many jobs before it: how soon the one job of a new key starts',
  settings: { groupConcurrency: 1, concurrency: 1, runMs: RUN_MS },
  takes: isHowdah,
  columns: [
    { key: 'before', label: 'jobs of the old key' },
    { key: 'newKeys', label: 'new keys' },
    { key: 'turns', label: 'turns waited, p50', digits: 1 },
    { key: 'turnsWorst', label: 'worst' },
    { key: 'p50', label: 'wait p50, ms', digits: 1 },
    { key: 'p99', label: 'p99, ms', digits: 1 },
  ],
  goals: [
    {
      // with two keys its turn is after one job of the other
      text: 'jobs of the other key that start before it, worst',
      measure: (m) => m('howdah', 'turnsWorst'),
      most: 2,
      digits: 0,
    },
  ],

  async run({ quick, agent, postgres, url }) {
    const before = quick ? 10_000 : 100_000;
    const newKeys = quick ? 50 : 300;
    const producer = await agent();
    await createQueue(postgres, url);
    const session = await postgres.connect(url);
    await fill(session, { count: before, group: "'old'" });
    await session.end();
    await postgres.settle(url);
    const worker = await agent();
    const capacity = before + newKeys;
    const start = { capacity, measure: 'monotonic', concurrency: 1, runMs: RUN_MS };
    await worker.call('startWorker', start);
    const enqueue = { how: 'newKeys', from: before, count: newKeys, gapMs: 4 * RUN_MS };
    const { ackedAt } = await producer.call('try', enqueue);
    await worker.call('finish');
    const reports = await collect([worker]);
    assertPart(reports, capacity, await producer.call('unfinished'));
    return { before, newKeys, ...waits(reports[0], before, ackedAt) };
  },
};

/** The payloads' `at` is 0, so that the latency of a job is the moment of its start. */
function waits({ counts, latencies: startedAt }, before, ackedAt) {
  const old = startedAt.subarray(0, before).filter((_, n) => counts[n] > 0);
  const waitsMs = [];
  const turns = [];
  ackedAt.forEach((acked, i) => {
    const started = startedAt[before + i];
    if (counts[before + i] === 0) throw new Error(`the job of new key ${i} has not started`);
    waitsMs.push(Math.max(0, started - acked));
    turns.push(old.filter((at) => at > acked && at < started).length);
  });
  turns.sort((a, b) => a - b);
  const { p50, p99 } = latencyMetrics(waitsMs);
  return { turns: percentile(turns, 0.5), turnsWorst: turns.at(-1), p50, p99 };
}
