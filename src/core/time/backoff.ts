/** Bounds of a delay that doubles with each failure, in milliseconds. */
export interface BackoffBounds {
  readonly min: number;
  readonly max: number;
}

/** How a lost connection is tried again: for ever. */
export const RECONNECT: BackoffBounds = { min: 50, max: 3_000 };

/**
 * Delay before the next try after `failures` in a row (1 or more): doubling, with full jitter over
 * its upper half, so that a fleet does not come back in step.
 * @param random from 0 to 1
 */
export function backoffMs(failures: number, bounds: BackoffBounds, random: number): number {
  const full = Math.min(bounds.max, bounds.min * 2 ** Math.min(failures - 1, 30));
  return full / 2 + (full / 2) * random;
}

/**
 * A poll interval with jitter: never longer than was asked for, up to a fifth shorter, so that a fleet does not
 * look in step.
 * @param random from 0 to 1
 */
export function pollAfterMs(pollMs: number, random: number): number {
  return pollMs * (0.8 + 0.2 * random);
}

/** How old a sleep is at its first late look, in milliseconds. */
const LATE_LOOK_MS = 250;

/**
 * How long after falling asleep `sleptMs` ago to look once more without a ring: when the sleep is 250 ms old (or `firstMs`), then
 * 500 ms, 1 s, ... Who had begun before it saw no sleeper and does not ring; so what a transaction did that stayed open
 * into the sleep is found after as long again at most.
 */
export function lateLookAfterMs(sleptMs: number, firstMs = LATE_LOOK_MS): number {
  return Math.max(firstMs - sleptMs, sleptMs);
}
