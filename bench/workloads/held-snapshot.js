import { assertEachOnce } from '../harness/ledger.js';
import { collect, untilSettled } from '../harness/settle.js';

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
  ],
  goals: [
    {
      text: 'last round under a held snapshot, share of free',
      measure: (m) => m('howdah', 'kept'),
      least: 0.9,
    },
  ],

  async run(context) {
    const free = await rounds(context, false);
    const held = await rounds(context, true);
    return {
      freeFirst: free[0],
      freeLast: free.at(-1),
      heldFirst: held[0],
      heldLast: held.at(-1),
      kept: held.at(-1) / free.at(-1),
    };
  },
};

/** Drain rates of 6 rounds. A worker process lives for one round: its memory does not help it. */
async function rounds({ quick, agent, postgres, url }, isHeld) {
  const count = quick ? 20_000 : 50_000;
  const rates = [];
  const snapshot = isHeld ? await postgres.holdSnapshot(url) : null;
  for (let round = 0; round < 6; round++) {
    const producer = await agent();
    await producer.call('produce', { how: 'many', count });
    await postgres.settle(url);
    const worker = await agent();
    await worker.call('startWorker', { capacity: count });
    const { seconds } = await untilSettled([worker], producer, count);
    assertEachOnce(await collect([worker]), count);
    await producer.stop();
    rates.push(count / seconds);
  }
  await snapshot?.release();
  return rates;
}
