import { monotonicMs, sleep } from '../harness/clock.js';
import { createQueue } from '../harness/fill.js';
import { isHowdah } from '../harness/goals.js';
import { encodeHistogram } from '../harness/histogram.js';
import { assertEachOnce, assertStored } from '../harness/ledger.js';
import { latencyMetrics } from '../harness/statistics.js';

const WAITERS = 5000;
const MIB = 2 ** 20;

export default {
  name: 'long-poll',
  title:
    '5,000 long polls in one process: enqueue to the arrival of a job, ms; what idleness costs',
  settings: { waiters: WAITERS, wait: '20s', max: 1 },
  takes: isHowdah,
  tracksStatements: true,
  columns: [
    { key: 'idlePerSecond', label: 'idle statements/s', digits: 1 },
    { key: 'idleCpu', label: 'idle CPU, cores', digits: 2 },
    { key: 'connections', label: 'connections' },
    { key: 'rssMiB', label: 'RSS MiB' },
    { key: 'p50', label: 'p50', digits: 2 },
    { key: 'p90', label: 'p90', digits: 2 },
    { key: 'p99', label: 'p99', digits: 2 },
    { key: 'worst', label: 'worst', digits: 1 },
  ],
  goals: [
    {
      text: 'idle statements/s',
      measure: (m) => m('howdah', 'idlePerSecond'),
      most: 20,
      digits: 1,
    },
    { text: 'p50, ms', measure: (m) => m('howdah', 'p50'), most: 10 },
    { text: 'p99, ms', measure: (m) => m('howdah', 'p99'), most: 50 },
  ],

  async run({ quick, agent, postgres, url }) {
    const warmup = 20;
    const count = warmup + (quick ? 150 : 1000);
    const waiting = await agent();
    const producer = await agent();
    await createQueue(postgres, url);
    const start = { capacity: count, waiters: WAITERS, waitMs: 20_000 };
    await waiting.call('wait', start);
    await producer.call('produce', { how: 'gaps', count: warmup });
    await untilArrived(waiting, warmup);
    const idle = await watchIdle(postgres, url, waiting, quick ? 12 : 45);
    await producer.call('produce', { how: 'gaps', from: warmup, count: count - warmup });
    await untilArrived(waiting, count);
    const { rss } = await waiting.call('memory');
    const report = await waiting.call('waitersReport');
    assertEachOnce([report], count);
    await assertStored(producer, 0);
    const measured = report.latencies.subarray(warmup);
    return {
      ...idle,
      rssMiB: rss / MIB,
      ...latencyMetrics(measured),
      histogram: encodeHistogram(measured),
    };
  },
};

async function untilArrived(waiting, count) {
  const deadline = monotonicMs() + 30_000;
  while ((await waiting.call('waited')).handled < count) {
    if (monotonicMs() > deadline) throw new Error(`not all of ${count} jobs have arrived`);
    await sleep(10);
  }
}

/** Statements are counted by the server itself, those of no other database among them. */
async function watchIdle(postgres, url, waiting, seconds) {
  await sleep(2000); // what the warm-up began ends
  const cpu = await waiting.call('cpu');
  const before = await postgres.statements(url);
  const start = monotonicMs();
  await sleep(seconds * 1000);
  const after = await postgres.statements(url);
  const elapsed = (monotonicMs() - start) / 1000;
  const [{ connections }] = await postgres.query(
    postgres.url,
    `select count(*)::int as connections from pg_stat_activity
     where datname = $1 and backend_type = 'client backend'`,
    [new URL(url).pathname.slice(1)],
  );
  return {
    idlePerSecond: (after.calls - before.calls) / elapsed,
    idleCpu: ((await waiting.call('cpu')) - cpu) / elapsed,
    connections,
  };
}
