import { createQueue, fill } from '../harness/fill.js';
import { isHowdah } from '../harness/goals.js';
import { assertPart } from '../harness/ledger.js';
import { collect } from '../harness/settle.js';
import { latencyMetrics, percentile } from '../harness/statistics.js';

const RUN_MS = 5;
/** A turn of a group is as many of its jobs as are likely to take 25 ms, one after another. */
const JOBS_A_TURN = 25 / RUN_MS;

/** As it comes, and with nothing claimed ahead: a turn is a single job then. */
const BINDINGS = { turns: {}, single: { prefetch: 0 } };

export default {
  name: 'fairness',
  title: 'one key with many jobs before it: how soon the one job of a new key starts',
  settings: { groupConcurrency: 1, concurrency: 1, runMs: RUN_MS, bindings: BINDINGS },
  takes: isHowdah,
  columns: [
    { key: 'before', label: 'jobs of the old key' },
    { key: 'newKeys', label: 'new keys' },
    { key: 'turnsBefore', label: 'jobs waited for, p50', digits: 1 },
    { key: 'turnsWorst', label: 'worst' },
    { key: 'turnsP50', label: 'wait p50, ms', digits: 1 },
    { key: 'turnsP99', label: 'p99, ms', digits: 1 },
    { key: 'singleBefore', label: 'prefetch 0: jobs, p50', digits: 1 },
    { key: 'singleWorst', label: 'worst' },
    { key: 'singleP50', label: 'wait p50, ms', digits: 1 },
    { key: 'singleP99', label: 'p99, ms', digits: 1 },
  ],
  goals: [
    {
      text: `turns of the other key (up to ${JOBS_A_TURN} jobs each) that start before it, worst`,
      measure: (m) => m('howdah', 'turnsWorst') / JOBS_A_TURN,
      most: 2,
      digits: 1,
    },
    {
      text: 'jobs of the other key that start before it with prefetch 0, worst',
      measure: (m) => m('howdah', 'singleWorst'),
      most: 2,
      digits: 0,
    },
  ],

  async run({ quick, agent, postgres, freshDatabase }) {
    const before = quick ? 10_000 : 100_000;
    const newKeys = quick ? 50 : 300;
    const found = { before, newKeys };
    for (const [name, binding] of Object.entries(BINDINGS)) {
      const url = await freshDatabase();
      const producer = await agent(url);
      await createQueue(postgres, url);
      const session = await postgres.connect(url);
      await fill(session, { count: before, group: "'old'" });
      await session.end();
      await postgres.settle(url);
      const worker = await agent(url);
      const capacity = before + newKeys;
      const start = { capacity, measure: 'monotonic', concurrency: 1, runMs: RUN_MS, binding };
      await worker.call('startWorker', start);
      const enqueue = { how: 'newKeys', from: before, count: newKeys, gapMs: 4 * RUN_MS };
      const { ackedAt } = await producer.call('try', enqueue);
      await worker.call('finish');
      const reports = await collect([worker]);
      assertPart(reports, capacity, await producer.call('unfinished'));
      for (const [key, value] of Object.entries(waits(reports[0], before, ackedAt))) {
        found[`${name}${key}`] = value;
      }
    }
    return found;
  },
};

/** The payloads' `at` is 0, so that the latency of a job is the moment of its start. */
function waits({ counts, latencies: startedAt }, before, ackedAt) {
  const old = startedAt.subarray(0, before).filter((_, n) => counts[n] > 0);
  const waitsMs = [];
  const jobs = [];
  ackedAt.forEach((acked, i) => {
    const started = startedAt[before + i];
    if (counts[before + i] === 0) throw new Error(`the job of new key ${i} has not started`);
    waitsMs.push(Math.max(0, started - acked));
    jobs.push(old.filter((at) => at > acked && at < started).length);
  });
  jobs.sort((a, b) => a - b);
  const { p50, p99 } = latencyMetrics(waitsMs);
  return { Before: percentile(jobs, 0.5), Worst: jobs.at(-1), P50: p50, P99: p99 };
}
