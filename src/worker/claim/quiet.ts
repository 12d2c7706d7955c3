import type { Clock } from '../../core/clock.js';
import type { Runner } from '../run/runner.js';
import type { Settler } from '../settle/settler.js';

/** How often it is looked again while jobs run. */
const LOOK_MS = 20;

/** What must have come to rest. */
export interface QuietParts {
  readonly runners: readonly Runner[];
  readonly settler: Settler;
  readonly clock: Clock;
}

/** Nothing runs, nothing waits to, and every outcome is settled. */
export function isQuiet({ runners, settler }: Omit<QuietParts, 'clock'>): boolean {
  return settler.unsettled === 0 && runners.every(({ isIdle }) => isIdle);
}

/**
 * Waits until nothing runs, nothing waits to, and every outcome is settled.
 * @param until ends the wait before that
 */
export async function whenQuiet(parts: QuietParts, until: AbortSignal): Promise<void> {
  const { clock } = parts;
  while (!until.aborted) {
    if (isQuiet(parts)) return;
    await Promise.race([settled(parts), clock.sleep(LOOK_MS, until)]);
    // let claimed jobs begin, if none has yet
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The handlers that run have returned, and what is known then is settled. */
export async function settled({ runners, settler }: Omit<QuietParts, 'clock'>): Promise<void> {
  await Promise.all(runners.map(({ slots }) => slots.whenIdle()));
  await settler.whenIdle();
}
