import { COST_COLUMNS } from '../harness/cost.js';
import { bestPeer } from '../harness/goals.js';
import { measureProducing } from '../harness/producing.js';

export default {
  name: 'enqueue-sixteen',
  title: '16 concurrent callers of one process, each waits for its own job',
  columns: [{ key: 'jobsPerSecond', label: 'jobs/s' }, ...COST_COLUMNS],
  goals: [
    {
      text: 'jobs/s, times the best Postgres peer',
      measure: (m) => m('howdah', 'jobsPerSecond') / bestPeer(m, 'jobsPerSecond'),
      least: 5,
    },
    {
      text: 'jobs/s, times BullMQ with fsync each second',
      measure: (m) => m('howdah', 'jobsPerSecond') / m('bullmq-everysec', 'jobsPerSecond'),
      least: 1,
    },
    { text: 'jobs/s', measure: (m) => m('howdah', 'jobsPerSecond'), least: 25_000, digits: 0 },
  ],
  run: (context) =>
    measureProducing(context, { how: 'callers', callers: 16 }, { seconds: context.quick ? 2 : 6 }),
};
