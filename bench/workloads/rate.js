import { createQueue, fill } from '../harness/fill.js';
import { isHowdah } from '../harness/goals.js';
import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';
import { mostWithin } from '../harness/statistics.js';

const RATE = 1000;
/** What 250 ms bring: the burst of a queue that names none. */
const BURST = RATE / 4;
const PROCESSES = 4;

export default {
  name: 'rate',
  title: 'a queue limited to 1,000/s, worked by 4 processes, from cold and after a warm-up',
  settings: { rate: { max: RATE, per: '1s', burst: BURST }, processes: PROCESSES },
  takes: isHowdah,
  columns: [
    { key: 'seconds', label: 'over, s' },
    { key: 'coldPerSecond', label: 'from cold, jobs/s', digits: 1 },
    { key: 'warmPerSecond', label: 'warm, jobs/s', digits: 1 },
    { key: 'mostInSecond', label: 'most in any second' },
    { key: 'mostInWarmSecond', label: 'when warm' },
    { key: 'mostStarts', label: 'most starts in any second' },
  ],
  plot: ['warmPerSecond'],
  goals: [
    {
      text: 'off the rate when warm, share',
      measure: (m) => Math.abs(m('howdah', 'warmPerSecond') / RATE - 1),
      most: 0.02,
      digits: 4,
    },
    {
      text: 'most claimed in any second',
      measure: (m) => m('howdah', 'mostInSecond'),
      most: RATE + BURST,
      digits: 0,
    },
  ],

  async run({ quick, agent, postgres, url }) {
    const warmup = quick ? 2 : 5;
    const seconds = quick ? 5 : 30;
    const count = RATE * (warmup + seconds + 1) + BURST;
    const observer = await agent();
    await createQueue(postgres, url, { rate_max: RATE });
    const session = await postgres.connect(url);
    await fill(session, { count });
    await session.end();
    const workers = await Promise.all(Array.from({ length: PROCESSES }, () => agent()));
    const start = { capacity: count, measure: 'monotonic' };
    await Promise.all(workers.map((worker) => worker.call('startWorker', start)));
    await untilSettled(workers, observer, count);
    const reports = await collect(workers);
    assertEachOnce(reports, count);
    const claims = await readClaims(postgres, url);
    const within = (from) =>
      claims.filter((at) => at >= from * 1000 && at < (from + seconds) * 1000).length / seconds;
    return {
      seconds,
      coldPerSecond: within(0),
      warmPerSecond: within(warmup),
      mostInSecond: mostWithin(claims, 1000),
      mostInWarmSecond: mostWithin(
        claims.filter((at) => at >= warmup * 1000),
        1000,
      ),
      mostStarts: mostWithin(startsOf(reports), 1000),
    };
  },
};

/** When each job was claimed by the database's clock, ms after the first. */
async function readClaims(postgres, url) {
  const rows = await postgres.query(
    url,
    `select extract(epoch from claimed_at - min(claimed_at) over ())::float8 * 1000 as at
     from howdah.history order by claimed_at`,
  );
  return rows.map(({ at }) => at);
}

/** The payloads' `at` is 0, so that the latency of a job is the moment of its start. */
function startsOf(reports) {
  const starts = reports.flatMap(({ counts, latencies }) => [
    ...latencies.filter((_, n) => counts[n] > 0),
  ]);
  return starts.sort((a, b) => a - b);
}
