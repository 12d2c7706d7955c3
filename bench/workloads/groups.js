import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';

export default {
  name: 'groups',
  title: 'one group, strictly in order, no-op jobs (raw: claim one, delete it, claim the next)',
  takes: (name) => ['howdah', 'howdah-nohistory', 'raw'].includes(name),
  columns: [
    { key: 'jobsPerSecond', label: 'jobs/s' },
    { key: 'workerCpuUs', label: 'worker CPU us/job', digits: 1 },
  ],
  goals: [
    {
      text: 'one group, jobs/s',
      measure: (m) => m('howdah', 'jobsPerSecond'),
      least: 1500,
      digits: 0,
    },
    {
      text: 'one group, times a strict loop in bare SQL',
      measure: (m) => m('howdah', 'jobsPerSecond') / m('raw', 'jobsPerSecond'),
      least: 1,
    },
  ],

  async run({ quick, agent, postgres, url }) {
    const count = quick ? 3_000 : 20_000;
    const producer = await agent();
    await producer.call('produce', { how: 'many', count, group: 'only' });
    await postgres?.settle(url);
    const worker = await agent();
    await worker.call('startWorker', { capacity: count, isStrict: true });
    const { seconds } = await untilSettled([worker], producer, count);
    const reports = await collect([worker]);
    assertEachOnce(reports, count);
    const [{ cpuSeconds, misplaced }] = reports;
    if (misplaced > 0) throw new Error(`${misplaced} of ${count} jobs ran out of order`);
    return { jobsPerSecond: count / seconds, workerCpuUs: (cpuSeconds * 1e6) / count };
  },
};
