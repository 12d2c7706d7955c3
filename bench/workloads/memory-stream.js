import { assertStored } from '../harness/ledger.js';

const MIB = 2 ** 20;

export default {
  name: 'memory-stream',
  title: 'memory of a producer that streams jobs in one enqueueMany',
  rounds: 1,
  isLong: true,
  columns: [
    { key: 'tenthMiB', label: 'RSS after a tenth, MiB' },
    { key: 'endMiB', label: 'RSS at the end, MiB' },
    { key: 'growthMiB', label: 'growth MiB' },
    { key: 'jobsPerSecond', label: 'jobs/s' },
  ],
  goals: [
    {
      text: 'growth from a tenth to the end, MiB',
      measure: (m) => m('howdah', 'growthMiB'),
      most: 30,
    },
  ],

  async run({ quick, agent }) {
    const count = quick ? 200_000 : 1_000_000;
    const producer = await agent();
    const { elapsedMs, samples } = await producer.call('produce', { how: 'stream', count });
    await assertStored(producer, count);
    const tenth = Math.max(...samples.slice(0, 6));
    const end = Math.max(...samples.slice(-10));
    return {
      tenthMiB: tenth / MIB,
      endMiB: end / MIB,
      growthMiB: (end - tenth) / MIB,
      jobsPerSecond: (count * 1000) / elapsedMs,
    };
  },
};
