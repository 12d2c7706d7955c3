import { COST_COLUMNS } from '../harness/cost.js';
import { measureDrain } from '../harness/draining.js';
import { bestPeer } from '../harness/goals.js';

const BYTES = 16_384;

export default {
  name: 'drain-16k',
  title: 'the same drain with payloads of 16 KiB',
  isLong: true,
  columns: [
    { key: 'jobsPerSecond', label: 'jobs/s' },
    { key: 'mbPerSecond', label: 'MB/s', digits: 1 },
    ...COST_COLUMNS,
  ],
  goals: [
    {
      text: 'jobs/s, times the best Postgres peer',
      measure: (m) => m('howdah', 'jobsPerSecond') / bestPeer(m, 'jobsPerSecond'),
    },
  ],

  async run(context) {
    const count = context.quick ? 3000 : 20_000;
    const metrics = await measureDrain(context, { count, bytes: BYTES });
    return { ...metrics, mbPerSecond: (metrics.jobsPerSecond * BYTES) / 1e6 };
  },
};
