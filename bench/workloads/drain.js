import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';

export default {
  name: 'drain',
  title: 'no-op jobs, all ready, one worker process; until the last is settled',
  columns: [
    { key: 'jobsPerSecond', label: 'jobs/s' },
    { key: 'serverCpuUs', label: 'server CPU us/job', digits: 1 },
    { key: 'workerCpuUs', label: 'worker CPU us/job', digits: 1 },
    { key: 'walBytes', label: 'WAL bytes/job' },
    { key: 'fsyncsPer1000', label: 'fsyncs/1000', digits: 1 },
    { key: 'hotShare', label: 'HOT share', digits: 3 },
  ],
  goals: [
    {
      text: 'drain, times graphile-worker',
      measure: (m) => m('howdah', 'jobsPerSecond') / m('graphile', 'jobsPerSecond'),
      least: 2.5,
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
    { text: 'heap-only share of updates', measure: (m) => m('howdah', 'hotShare'), least: 0.9 },
  ],

  async run({ quick, agent, postgres, url }) {
    const count = quick ? 50_000 : 200_000;
    const producer = await agent();
    await producer.call('produce', { how: 'many', count });
    await postgres?.settle(url);
    const before = await postgres?.meter(url);
    const worker = await agent();
    await worker.call('startWorker', { capacity: count });
    const { seconds } = await untilSettled([worker], producer, count);
    const reports = await collect([worker]);
    assertEachOnce(reports, count);
    return {
      jobsPerSecond: count / seconds,
      workerCpuUs: (reports[0].cpuSeconds * 1e6) / count,
      ...(postgres && serverCost(before, await postgres.meter(url), count)),
    };
  },
};

function serverCost(before, after, count) {
  return {
    serverCpuUs: ((after.cpuSeconds - before.cpuSeconds) * 1e6) / count,
    walBytes: (after.wal_bytes - before.wal_bytes) / count,
    fsyncsPer1000: ((after.fsyncs - before.fsyncs) * 1000) / count,
    hotShare: (after.hot - before.hot) / (after.updated - before.updated),
  };
}
