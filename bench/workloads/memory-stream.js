import { assertStored } from '../harness/ledger.js';

const MIB = 2 ** 20;

export default {
  name: 'memory-stream',
  title: 'memory of a producer that streams jobs in one enqueueMany',
  rounds: 1,
  isLong: true,
  columns: [
    { key: 'liveTenthMiB', label: 'live heap at a tenth, MiB', digits: 1 },
    { key: 'liveEndMiB', label: 'at the end', digits: 1 },
    { key: 'rssEndMiB', label: 'greatest RSS, MiB' },
    { key: 'jobsPerSecond', label: 'jobs/s' },
  ],
  goals: [
    {
      text: 'live heap at the end over a tenth, MiB',
      measure: (m) => m('howdah', 'liveEndMiB') - m('howdah', 'liveTenthMiB'),
      most: 5,
    },
  ],

  async run({ quick, agent }) {
    const count = quick ? 200_000 : 1_000_000;
    const producer = await agent();
    const { elapsedMs, samples } = await producer.call('produce', { how: 'stream', count });
    await assertStored(producer, count);
    return {
      liveTenthMiB: samples[0].live / MIB,
      liveEndMiB: samples.at(-1).live / MIB,
      rssEndMiB: Math.max(...samples.map(({ rss }) => rss)) / MIB,
      jobsPerSecond: (count * 1000) / elapsedMs,
    };
  },
};
