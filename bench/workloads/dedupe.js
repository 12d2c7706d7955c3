import { createQueue } from '../harness/fill.js';
import { isHowdah } from '../harness/goals.js';

const PROCESSES = 4;
const CALLERS = 64;
const BRIEF_MS = 1000;

export default {
  name: 'dedupe',
  title: '64 callers in 4 processes, all with one dedupe key: one job per window',
  settings: { callers: CALLERS, window: ['5m (default)', `${BRIEF_MS} ms`] },
  takes: isHowdah,
  columns: [
    { key: 'tries', label: 'tries' },
    { key: 'jobs', label: 'jobs in one window' },
    { key: 'triesPerSecond', label: 'tries/s' },
    { key: 'briefWindows', label: 'windows of 1 s begun' },
    { key: 'briefJobs', label: 'jobs in them' },
    { key: 'leastGapMs', label: 'least ms between two', digits: 1 },
  ],
  plot: ['triesPerSecond'],
  goals: [
    {
      text: 'jobs of one key within one window',
      measure: (m) => m('howdah', 'jobs'),
      most: 1,
      digits: 0,
    },
  ],

  async run({ quick, agent, postgres, url }) {
    const tries = quick ? 20_000 : 100_000;
    const producers = await Promise.all(Array.from({ length: PROCESSES }, () => agent()));
    await createQueue(postgres, url);
    const read = () => readJobs(postgres, url);
    const long = await tryKey(producers, tries, { key: 'long' }, read);
    if (long.jobs.length !== 1)
      throw new Error(`${long.jobs.length} jobs of one key in its window`);
    const dedupe = { key: 'brief', window: BRIEF_MS };
    const brief = await tryKey(producers, tries, dedupe, read);
    const gaps = brief.jobs.slice(1).map(({ at }, i) => at - brief.jobs[i].at);
    const leastGapMs = Math.min(...gaps);
    if (leastGapMs < BRIEF_MS) throw new Error(`two jobs of one key ${leastGapMs} ms apart`);
    return {
      tries,
      jobs: long.jobs.length,
      triesPerSecond: (tries * 1000) / long.elapsedMs,
      briefWindows: Math.ceil(brief.elapsedMs / BRIEF_MS),
      briefJobs: brief.jobs.length,
      leastGapMs: gaps.length > 0 ? leastGapMs : Number.NaN,
    };
  },
};

/** Each answer is the id of a job that some try created and that is in the store. */
async function tryKey(producers, tries, dedupe, read) {
  const known = new Set((await read()).map(({ id }) => id));
  const count = tries / PROCESSES;
  const all = await Promise.all(
    producers.map((producer, i) => {
      const loop = { how: 'oneKey', from: i * count, count, callers: CALLERS / PROCESSES, dedupe };
      return producer.call('try', loop);
    }),
  );
  const jobs = (await read()).filter(({ id }) => !known.has(id));
  const created = all.flatMap((each) => each.created).sort();
  if (
    jobs
      .map(({ id }) => id)
      .sort()
      .join() !== created.join()
  ) {
    throw new Error(
      `${created.length} tries were told of a job created, ${jobs.length} are stored`,
    );
  }
  const strangers = all.flatMap(({ answered }) => answered).filter((id) => !created.includes(id));
  if (strangers.length > 0) throw new Error(`tries were answered with ids of no job: ${strangers}`);
  return { jobs, elapsedMs: Math.max(...all.map(({ elapsedMs }) => elapsedMs)) };
}

const readJobs = (postgres, url) =>
  postgres.query(
    url,
    `select id::text, extract(epoch from enqueued_at)::float8 * 1000 as at
     from howdah.job_states order by enqueued_at`,
  );
