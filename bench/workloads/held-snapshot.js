import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';
import { median } from '../harness/statistics.js';

export default {
  name: 'held-snapshot',
  title: 'jobs in rounds with VACUUM between, free and while another session holds a snapshot',
  rounds: 2,
  takes: (_name, { store }) => store === 'postgres',
  isLong: true,
  columns: [
    { key: 'freeFirst', label: 'free, first /s' },
    { key: 'freeLast', label: 'free, last /s' },
    { key: 'heldFirst', label: 'held, first /s' },
    { key: 'heldLast', label: 'held, last /s' },
    { key: 'kept', label: 'held / free, last', digits: 2 },
    { key: 'keptLate', label: 'of rounds 4 to 6', digits: 2 },
  ],
  goals: [
    {
      text: 'last round under a held snapshot, share of free',
      measure: (m) => m('howdah', 'kept'),
      least: 0.95,
    },
  ],

  /** Two databases take turns, so that a slow minute of the machine hits both alike. */
  async run(context) {
    const { quick, postgres, url, freshDatabase } = context;
    const count = quick ? 20_000 : 50_000;
    const heldUrl = await freshDatabase();
    const snapshot = await postgres.holdSnapshot(heldUrl);
    const free = [];
    const held = [];
    for (let round = 0; round < 6; round++) {
      free.push(await drainRound(context, url, count));
      held.push(await drainRound(context, heldUrl, count));
    }
    await snapshot.release();
    return {
      freeFirst: free[0],
      freeLast: free.at(-1),
      heldFirst: held[0],
      heldLast: held.at(-1),
      kept: held.at(-1) / free.at(-1),
      keptLate: median(held.slice(3)) / median(free.slice(3)),
    };
  },
};

/** Jobs per second of one round. Its processes end with it: their memory does not help the next. */
async function drainRound({ agent, postgres }, url, count) {
  const producer = await agent(url);
  await producer.call('produce', { how: 'many', count });
  await postgres.settle(url);
  const worker = await agent(url);
  await worker.call('startWorker', { capacity: count });
  const { seconds } = await untilSettled([worker], producer, count);
  assertEachOnce(await collect([worker]), count);
  await producer.stop();
  return count / seconds;
}
