import { sleep } from '../harness/clock.js';
import { measureDrain } from '../harness/draining.js';
import { assertPart } from '../harness/ledger.js';
import { collect } from '../harness/settle.js';

export default {
  name: 'backlog',
  title: 'the first jobs of a large backlog: a million ready rows, ten million with --full',
  rounds: 1,
  isLong: true,
  takes: (_name, { store }) => store === 'postgres',
  columns: [
    { key: 'backlog', label: 'ready rows' },
    { key: 'jobsPerSecond', label: 'jobs/s' },
    { key: 'alone', label: 'the same without backlog, jobs/s' },
    { key: 'kept', label: 'share', digits: 2 },
    { key: 'filledPerSecond', label: 'filled/s' },
  ],
  plot: ['jobsPerSecond', 'alone'],
  plotLabel: 'jobs/s',
  goals: [
    {
      text: 'beside a backlog, share of without',
      measure: (m) => m('howdah', 'kept'),
      least: 0.9,
    },
  ],

  async run(context) {
    const { quick, full, freshDatabase } = context;
    const part = quick ? 20_000 : full ? 500_000 : 200_000;
    const backlog = quick ? 200_000 : full ? 10_000_000 : 1_000_000;
    const url = await freshDatabase();
    const { jobsPerSecond: alone } = await measureDrain(context, { count: part, url });
    const { jobsPerSecond, filledPerSecond } = await workSome(context, backlog, part);
    return { backlog, jobsPerSecond, alone, kept: jobsPerSecond / alone, filledPerSecond };
  },
};

/** Works until `part` of the jobs are handled. Those that are not must all be there, and only those. */
async function workSome({ agent, postgres, url }, backlog, part) {
  const producer = await agent();
  const { elapsedMs } = await producer.call('produce', { how: 'many', count: backlog });
  await postgres.settle(url);
  const worker = await agent();
  await worker.call('startWorker', { capacity: backlog });
  let state;
  do {
    await sleep(5);
    state = await worker.call('progress');
  } while (state.handled < part);
  const jobsPerSecond = (state.handled * 1000) / (state.at - state.firstAt);
  await worker.call('finish');
  const reports = await collect([worker]);
  assertPart(reports, backlog, await producer.call('unfinished'));
  return { jobsPerSecond, filledPerSecond: (backlog * 1000) / elapsedMs };
}
