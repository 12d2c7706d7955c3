import { measureProducing } from '../harness/producing.js';

export default {
  name: 'enqueue-sixteen',
  title: '16 concurrent callers of one process, each waits for its own job',
  columns: [{ key: 'jobsPerSecond', label: 'jobs/s' }],
  goals: [
    { text: 'jobs/s', measure: (m) => m('howdah', 'jobsPerSecond'), least: 25_000, digits: 0 },
  ],
  run: (context) =>
    measureProducing(context, { how: 'callers', callers: 16 }, { seconds: context.quick ? 2 : 6 }),
};
