import { measureDrain } from '../harness/draining.js';

const PROCESSES = { one: 1, two: 2, four: 4 };

export default {
  name: 'drain-processes',
  title: 'the same drain with 1, 2 and 4 worker processes',
  isLong: true,
  columns: [
    { key: 'one', label: '1 process, jobs/s' },
    { key: 'two', label: '2, jobs/s' },
    { key: 'four', label: '4, jobs/s' },
    { key: 'gain', label: '4 / 1', digits: 2 },
  ],
  plot: ['one', 'two', 'four'],
  plotLabel: 'jobs/s by worker processes',
  goals: [{ text: 'four processes, times one', measure: (m) => m('howdah', 'gain'), least: 1.2 }],

  /** Each round begins with another of them, so that none is always the first in an empty database. */
  async run(context) {
    const count = context.quick ? 20_000 : 400_000;
    const names = Object.keys(PROCESSES);
    const metrics = {};
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + context.round) % names.length];
      const { jobsPerSecond } = await measureDrain(context, { count, processes: PROCESSES[name] });
      metrics[name] = jobsPerSecond;
    }
    return { ...metrics, gain: metrics.four / metrics.one };
  },
};
