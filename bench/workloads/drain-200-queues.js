import { COST_COLUMNS } from '../harness/cost.js';
import { measureDrain } from '../harness/draining.js';
import { bestPeer } from '../harness/goals.js';

const QUEUES = 200;

export default {
  name: 'drain-200-queues',
  title: 'the same drain with the jobs in 200 queues and one worker process for all of them',
  isLong: true,
  takes: (name) => name !== 'raw',
  columns: [{ key: 'jobsPerSecond', label: 'jobs/s' }, ...COST_COLUMNS],
  goals: [
    {
      text: 'jobs/s, times the best Postgres peer',
      measure: (m) => m('howdah', 'jobsPerSecond') / bestPeer(m, 'jobsPerSecond'),
    },
  ],
  run: (context) =>
    measureDrain(context, { count: context.quick ? 10_000 : 100_000, queues: QUEUES }),
};
