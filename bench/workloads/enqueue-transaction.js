import { COST_COLUMNS } from '../harness/cost.js';
import { measureProducing } from '../harness/producing.js';

export default {
  name: 'enqueue-transaction',
  title: 'one transactional caller: BEGIN, enqueue, COMMIT (raw: a bare INSERT)',
  takes: (_name, { store }) => store === 'postgres',
  columns: [
    { key: 'jobsPerSecond', label: 'transactions/s' },
    { key: 'meanMs', label: 'mean ms', digits: 2 },
    ...COST_COLUMNS,
  ],
  goals: [
    {
      text: 'time of a transaction, times a bare INSERT + COMMIT',
      measure: (m) => m('howdah', 'meanMs') / m('raw', 'meanMs'),
      most: 1.3,
    },
  ],
  run: (context) =>
    measureProducing(context, { how: 'transactions' }, { seconds: context.quick ? 2 : 6 }),
};
