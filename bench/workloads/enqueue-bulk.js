import { measureProducing } from '../harness/producing.js';

export default {
  name: 'enqueue-bulk',
  title: 'one caller, one call for all jobs',
  columns: [{ key: 'jobsPerSecond', label: 'jobs/s' }],
  goals: [
    { text: 'jobs/s', measure: (m) => m('howdah', 'jobsPerSecond'), least: 90_000, digits: 0 },
  ],
  run: (context) =>
    measureProducing(context, { how: 'many' }, { count: context.quick ? 100_000 : 300_000 }),
};
