import { runSteady } from '../steady.js';
import type { Subject } from '../subject.js';

const RATE = 500;
const SHARE = 0.95;
const SLOWER = 3;
const RECOVERY_MS = 60_000;

export const heldSnapshot: Subject = {
  name: 'held-snapshot',
  figures: [
    {
      id: 'S18',
      figure: 'a snapshot is held for 15 min at 500 jobs a second',
      target: 'rate >= 95 %, p99 <= 3x, recovery <= 60 s',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const seconds = lab.count(900, 10);
    const { phases, recoveryMs, failures } = await runSteady(site, { rate: RATE, seconds });
    const [before, held] = phases;
    if (!before || !held) throw new Error('a phase is missing');
    const slower = held.p99Ms / before.p99Ms;
    return [
      {
        measured: `held for ${seconds} s: ${(held.share * 100).toFixed(1)} % of what was offered, p99 ${held.p99Ms} ms against ${before.p99Ms} ms (${slower.toFixed(2)}x), as before after ${recoveryMs} ms; ${failures} calls failed`,
        faults: held.offered,
        isMet: held.share >= SHARE && slower <= SLOWER && recoveryMs <= RECOVERY_MS,
      },
    ];
  },
};
