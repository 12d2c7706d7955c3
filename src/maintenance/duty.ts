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
}

/** One kind of upkeep, as data. Safe to run twice, and at two places at once. */
export interface Duty {
  readonly name: string;
  /** Longest time between two runs. */
  readonly intervalMs: number;
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

/** How long what is due may be left to whoever holds it, before it is looked at again. */
const HELD_MS = 20;

/**
 * How long to wait after a run. One that changed nothing although something is due has found it held by
 * another session: it comes back a moment later, and never spins.
 * @param tookMs how long the run took
 */
export function waitAfter(duty: Duty, result: DutyResult, tookMs: number): number {
  const { intervalMs, share = 1 } = duty;
  const restMs = tookMs / share - tookMs;
  if (result.hasMore) return restMs;
  const dueMs = result.nextMs === undefined ? intervalMs : Math.min(result.nextMs, intervalMs);
  const isIdle = Object.values(result.counts).every((count) => count === 0);
  return Math.max(dueMs, restMs, isIdle && dueMs <= 0 ? HELD_MS : 0);
}
