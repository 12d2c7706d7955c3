import type { HowdahError } from '../core/errors.js';

/** What a duty found to do. */
export interface DutyResult {
  /** What it changed; all zero: nothing. */
  readonly counts: Readonly<Record<string, number>>;
  /** There is more: run again at once. */
  readonly hasMore?: boolean;
  /** When something is due next, in milliseconds from now; undefined: the interval decides. */
  readonly nextMs?: number | undefined;
  /** A part that failed while the rest was done: it is reported, and tried again with the next run. */
  readonly problem?: HowdahError;
  /** How long the run itself took, where it had to wait for its turn. */
  readonly tookMs?: number;
}

/** One kind of upkeep, as data. Safe to run twice, and at two places at once. */
export interface Duty {
  readonly name: string;
  /** Longest time between two runs while it finds something to do. */
  readonly intervalMs: number;
  /**
   * While it has nothing to do it rests: `upkeep_due()` knows its name, and tells with each renewal of the
   * term. The mark of `rollUp` where that says where to look.
   */
  readonly rests?: boolean | (() => string);
  /** How long after the leader was elected it runs first. Default 0. */
  readonly firstMs?: number;
  /** How long it waits after a time in which nobody led, or after it has failed. Default 0. */
  readonly graceMs?: number;
  /** Most of the time it may take: 0.05 makes a run that took 1 s wait for 19 s. Default 1. */
  readonly share?: number;
  /** A notice of this kind makes it run at once: `p` of a delayed job, `s` of a schedule. */
  readonly noticedBy?: 'p' | 's';
  runOnce(): Promise<DutyResult>;
}

/** A duty that rests runs all the same about so often. */
const REST_MS = 300_000;

/** How long what is due may be left to whoever holds it, before it is looked at again. */
const HELD_MS = 20;

/** Nothing was to be done: it need not run again before something is. */
export function isAtRest({ rests }: Duty, { counts, hasMore }: DutyResult): boolean {
  return rests !== undefined && hasMore !== true && isIdle(counts);
}

/** How long it must not run after a run, so that it takes no more than its share. */
export function shareMs({ share = 1 }: Duty, tookMs: number): number {
  return tookMs / share - tookMs;
}

/**
 * How long to wait after a run. One that changed nothing although something is due has found it held by
 * another session: it comes back a moment later, and never spins.
 * @param tookMs how long the run took
 * @param random from 0 to 1: those that rest do not all run at once
 */
export function waitAfter(duty: Duty, result: DutyResult, tookMs: number, random = 0.5): number {
  const restMs = shareMs(duty, tookMs);
  if (result.hasMore) return restMs;
  const mostMs = isAtRest(duty, result) ? REST_MS * (0.75 + random / 2) : duty.intervalMs;
  const dueMs = Math.min(result.nextMs ?? mostMs, mostMs);
  return Math.max(dueMs, restMs, isIdle(result.counts) && dueMs <= 0 ? HELD_MS : 0);
}

function isIdle(counts: DutyResult['counts']): boolean {
  return Object.values(counts).every((count) => count === 0);
}
