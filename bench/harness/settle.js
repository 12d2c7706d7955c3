import { monotonicMs, sleep } from './clock.js';

const STALL_MS = 60_000;

/**
 * Waits until the workers have handled `count` jobs and nothing is left unfinished in the store.
 * Counts from the first job's start, so that no contender pays for its connecting.
 */
export async function untilSettled(workers, observer, count, { pollMs = 10 } = {}) {
  let best = -1;
  let movedAt = monotonicMs();
  for (;;) {
    const states = await Promise.all(workers.map((worker) => worker.call('progress')));
    const handled = states.reduce((sum, state) => sum + state.handled, 0);
    if (handled >= count) break;
    if (handled > best) {
      best = handled;
      movedAt = monotonicMs();
    } else if (monotonicMs() - movedAt > STALL_MS) {
      throw new Error(`stuck: ${handled} of ${count} jobs handled`);
    }
    await sleep(pollMs);
  }
  // An answer tells of the moment it was asked: to count a table full of dead rows takes a while.
  let settledAt = monotonicMs();
  const deadline = settledAt + STALL_MS;
  while ((await observer.call('unfinished')) > 0) {
    if (monotonicMs() > deadline) throw new Error('jobs handled but never finished');
    await sleep(5);
    settledAt = monotonicMs();
  }
  const states = await Promise.all(workers.map((worker) => worker.call('progress')));
  const firstAt = Math.min(...states.filter((s) => s.handled > 0).map((s) => s.firstAt));
  return { seconds: (settledAt - firstAt) / 1000 };
}

/** Stops workers and returns what they counted. */
export async function collect(workers) {
  const reports = await Promise.all(workers.map((worker) => worker.call('report')));
  await Promise.all(workers.map((worker) => worker.stop()));
  return reports;
}
