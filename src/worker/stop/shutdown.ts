import { HowdahError } from '../../core/errors.js';
import { leaseCalls } from '../../db/calls/leases.js';
import type { Engine } from '../engine.js';
import type { StopReport } from './stop-report.js';

/** How long handlers may take to return after their signal was aborted. */
const ABORT_GRACE_MS = 1_000;
/** How long the last settlements and the good-bye may take; then the reaper does the rest. */
const GOODBYE_MS = 5_000;

/**
 * Stops an engine: claims no more, gives back what has not begun, lets what runs finish within the
 * grace, aborts it, gives it back uncounted, and says good-bye. Always ends, also without a database.
 * @param hurry aborts the grace
 */
export async function shutDown(
  engine: Engine,
  graceMs: number,
  hurry: AbortSignal,
): Promise<StopReport> {
  const { runners, settler, claimer, companion, tally } = engine;
  const before = { ...tally.counts };
  claimer.stop();
  const farewell = companion?.stop();
  for (const runner of runners) runner.stop();
  await within(engine, graceMs, hurry, () => idle(engine));
  const reason = new HowdahError('HOWDAH_SHUTDOWN', 'The worker is shutting down.');
  let aborted = 0;
  if (runners.some(({ isIdle }) => !isIdle)) {
    for (const runner of runners) aborted += runner.runs.abortAll(reason);
    await within(engine, ABORT_GRACE_MS, undefined, () => idle(engine));
    for (const runner of runners) runner.runs.endAll(reason);
  }
  let left = 0;
  await within(engine, GOODBYE_MS, undefined, async () => {
    await engine.claiming;
    await settler.whenIdle();
    left = await settler.leave().catch(() => 0);
    await farewell;
    await closeLease(engine);
  });
  await engine.close();
  const { counts } = tally;
  return {
    completed: counts.completed - before.completed,
    failed: counts.failed + counts.dead - before.failed - before.dead,
    released: counts.released - before.released,
    aborted,
    left,
  };
}

async function idle({ runners }: Engine): Promise<void> {
  await Promise.all(runners.map(({ slots }) => slots.whenIdle()));
}

async function closeLease({ keeper, database, settleLine }: Engine): Promise<void> {
  if (keeper.id === undefined) return;
  await leaseCalls(database)
    .close(settleLine, keeper.id)
    .catch(() => undefined); // the reaper will find it
}

/** Waits for something, but not longer than allowed. */
async function within(
  { parts }: Engine,
  ms: number,
  hurry: AbortSignal | undefined,
  wait: () => Promise<void>,
): Promise<void> {
  const done = new AbortController();
  const signals = hurry ? [hurry, done.signal] : [done.signal];
  const timeUp = parts.clock.sleep(ms, AbortSignal.any(signals));
  await Promise.race([wait().finally(() => done.abort()), timeUp]);
  done.abort();
}
