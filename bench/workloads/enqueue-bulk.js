import { COST_COLUMNS } from '../harness/cost.js';
import { bestPeer } from '../harness/goals.js';
import { measureProducing } from '../harness/producing.js';

export default {
  name: 'enqueue-bulk',
  title: 'one caller, one call for all jobs',
  columns: [{ key: 'jobsPerSecond', label: 'jobs/s' }, ...COST_COLUMNS],
  goals: [
    {
      text: 'jobs/s, times the best Postgres peer',
      measure: (m) => m('howdah', 'jobsPerSecond') / bestPeer(m, 'jobsPerSecond'),
      least: 2,
    },
    { text: 'jobs/s', measure: (m) => m('howdah', 'jobsPerSecond'), least: 90_000, digits: 0 },
  ],
  run: (context) =>
    measureProducing(context, { how: 'many' }, { count: context.quick ? 100_000 : 300_000 }),
};
