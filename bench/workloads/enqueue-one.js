import { COST_COLUMNS } from '../harness/cost.js';
import { measureProducing } from '../harness/producing.js';

export default {
  name: 'enqueue-one',
  title: 'one caller, one job after the other, each durable before the next',
  columns: [
    { key: 'jobsPerSecond', label: 'jobs/s' },
    { key: 'meanMs', label: 'mean ms', digits: 2 },
    ...COST_COLUMNS,
  ],
  run: (context) =>
    measureProducing(context, { how: 'callers', callers: 1 }, { seconds: context.quick ? 2 : 6 }),
};
