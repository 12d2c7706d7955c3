import { COST_COLUMNS } from '../harness/cost.js';
import { measureDrain } from '../harness/draining.js';

export default {
  name: 'drain',
  title: 'no-op jobs, all ready, one worker process; until the last is settled',
  columns: [
    { key: 'jobsPerSecond', label: 'jobs/s' },
    ...COST_COLUMNS,
    { key: 'hotShare', label: 'HOT share', digits: 3 },
  ],
  goals: [
    {
      text: 'drain, times graphile-worker',
      measure: (m) => m('howdah', 'jobsPerSecond') / m('graphile', 'jobsPerSecond'),
      least: 3,
    },
    {
      text: 'drain, times pg-boss',
      measure: (m) => m('howdah', 'jobsPerSecond') / m('pg-boss', 'jobsPerSecond'),
      least: 3,
    },
    {
      text: 'jobs/s without history',
      measure: (m) => m('howdah-nohistory', 'jobsPerSecond'),
      least: 100_000,
      digits: 0,
    },
    {
      text: 'server CPU us/job of the drain',
      measure: (m) => m('howdah', 'serverCpuUs'),
      most: 10,
      digits: 1,
    },
    {
      text: 'WAL bytes/job of the drain',
      measure: (m) => m('howdah', 'walBytes'),
      most: 500,
      digits: 0,
    },
    {
      text: 'history kept, share of jobs/s with history deleted',
      measure: (m) => m('howdah', 'jobsPerSecond') / m('howdah-nohistory', 'jobsPerSecond'),
    },
    {
      text: 'times the commit of --against',
      measure: (m) => m('howdah', 'jobsPerSecond') / m('against', 'jobsPerSecond'),
      least: 0.95,
    },
    { text: 'heap-only share of updates', measure: (m) => m('howdah', 'hotShare'), least: 0.9 },
  ],

  run: (context) => measureDrain(context, { count: context.quick ? 50_000 : 1_000_000 }),
};
