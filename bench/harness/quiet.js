import { sleep } from './clock.js';
import { machineSeconds } from './cpu.js';

/** Cores that others may use beside a run that counts. */
const TOLERATED = 0.2;
const TRIES = 6;
const WAIT_MS = 20 * 60_000;

/**
 * Runs when the machine is quiet, and again where others used it meanwhile: for machines that are
 * shared. The quietest of the tries counts.
 */
export async function runInQuiet(run) {
  let best;
  for (let n = 0; n < TRIES; n++) {
    await untilQuiet();
    const metrics = await run();
    if (!(metrics.foreignLoad >= best?.foreignLoad)) best = metrics;
    if (!(best.foreignLoad > TOLERATED)) break;
  }
  return best;
}

async function untilQuiet() {
  const deadline = performance.now() + WAIT_MS;
  while (performance.now() < deadline) {
    const before = machineSeconds();
    await sleep(1500);
    const after = machineSeconds();
    if (!(after.busy - before.busy > TOLERATED * 1.5)) return;
  }
}
