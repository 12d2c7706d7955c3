import type { Clock } from '../core/clock.js';
import type { MaintenanceCalls } from '../db/calls/maintenance.js';
import type { Executor } from '../db/executor.js';
import type { Duty } from './duty.js';

const LIMIT = 1_000;
const INTERVAL_MS = 1_000;
/** How often a round begins at the beginning, for transactions that committed late. */
const FROM_START_MS = 250;

/**
 * Delayed jobs become ready on time: it sleeps exactly until the next one is due, and a notice wakes
 * it when one is enqueued that is due sooner.
 */
export function promoter(executor: Executor, calls: MaintenanceCalls, clock: Clock): Duty {
  let mark = '-infinity';
  let fromStartAt = Number.NEGATIVE_INFINITY;
  return {
    name: 'promote',
    intervalMs: INTERVAL_MS,
    rests: true,
    noticedBy: 'p',
    async runOnce() {
      const now = clock.monotonic();
      const isFromStart = now - fromStartAt >= FROM_START_MS;
      if (isFromStart) fromStartAt = now;
      const found = await calls.promote(executor, LIMIT, isFromStart ? '-infinity' : mark);
      mark = found.mark;
      return {
        counts: { promoted: found.promoted },
        hasMore: found.promoted >= LIMIT,
        nextMs: found.nextMs ?? undefined,
      };
    },
  };
}
