import { sleep } from '../harness/clock.js';
import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';

const IN_FLIGHT = 1000;
const MIB = 2 ** 20;

export default {
  name: 'memory-worker',
  title: 'memory of a worker process with 1,000 jobs in flight',
  columns: [
    { key: 'rssMiB', label: 'RSS MiB' },
    { key: 'peakMiB', label: 'peak MiB' },
  ],
  goals: [{ text: 'RSS, MB', measure: (m) => (m('howdah', 'peakMiB') * MIB) / 1e6, most: 150 }],
  takes: (name) => name !== 'raw',

  async run({ agent }) {
    const count = 5 * IN_FLIGHT;
    const producer = await agent();
    await producer.call('produce', { how: 'many', count });
    const worker = await agent();
    const start = { capacity: count, concurrency: IN_FLIGHT, hold: true };
    await worker.call('startWorker', start);
    while ((await worker.call('progress')).handled < IN_FLIGHT) await sleep(20);
    const { rss } = await worker.call('memory');
    await worker.call('release');
    await untilSettled([worker], producer, count);
    const { peak } = await worker.call('memory');
    assertEachOnce(await collect([worker]), count);
    return { rssMiB: rss / MIB, peakMiB: peak / MIB };
  },
};
