import { whenAborted } from '../../core/time/abort.js';
import { maintenanceCalls } from '../../db/calls/maintenance.js';
import { settled, whenQuiet } from '../claim/quiet.js';
import type { Engine } from '../engine.js';

/** Most delayed jobs that become ready in one statement. */
const PROMOTE_MAX = 1_000;
/** How often a drain looks again while jobs run and nothing more is there. */
const LOOK_MS = 20;

/**
 * Works until nothing is ready: what is there, what it enqueues, what is due for another attempt by
 * now. Delayed jobs that are not due are left.
 * @param until ends the drain before that
 * @returns whether everything was drained
 */
export async function drain(engine: Engine, until: AbortSignal): Promise<boolean> {
  const { claimer, runners, settler, database, parts } = engine;
  const calls = maintenanceCalls(database);
  // a claim may wait until nothing runs
  whenAborted(until, () => claimer.stop());
  while (!until.aborted) {
    const found = await claimer.pass();
    if (found > 0) continue;
    if (runners.every(({ isIdle }) => isIdle) && settler.unsettled === 0) {
      const { promoted } = await calls.promote(database, PROMOTE_MAX, '-infinity');
      // one more look, because what was settled last may have enqueued more
      if (promoted === 0 && (await claimer.pass()) === 0) {
        if (!claimer.isWaiting) return true;
        await parts.clock.sleep(LOOK_MS, until);
      }
      continue;
    }
    await Promise.race([settled(engine), parts.clock.sleep(LOOK_MS, until)]);
    // let claimed jobs begin, if none has yet
    await new Promise((resolve) => setImmediate(resolve));
  }
  return false;
}

/**
 * Ends a worker's work: claims no more and runs what it holds to its end.
 * @param until ends that before
 */
export async function finish(engine: Engine, until: AbortSignal): Promise<void> {
  const { claimer, runners, settler, parts } = engine;
  claimer.stop();
  await engine.claiming;
  await whenQuiet({ runners, settler, clock: parts.clock }, until);
}
