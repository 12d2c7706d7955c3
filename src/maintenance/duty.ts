/** What a duty found to do. */
export interface DutyResult {
  /** What it changed; all zero: nothing. */
  readonly counts: Readonly<Record<string, number>>;
  /** There is more: run again at once. */
  readonly hasMore?: boolean;
  /** When something is due next, in milliseconds from now; undefined: the interval decides. */
  readonly nextMs?: number | undefined;
}

/** One kind of upkeep, as data. Safe to run twice, and at two places at once. */
export interface Duty {
  readonly name: string;
  /** Longest time between two runs. */
  readonly intervalMs: number;
  /** How long after the leader was elected it runs first. Default 0. */
  readonly firstMs?: number;
  /** Most of the time it may take: 0.05 makes a run that took 1 s wait for 19 s. Default 1. */
  readonly share?: number;
  /** A notice of this kind makes it run at once: `p` of a delayed job, `s` of a schedule. */
  readonly noticedBy?: 'p' | 's';
  runOnce(): Promise<DutyResult>;
}

/**
 * How long to wait after a run.
 * @param tookMs how long the run took
 */
export function waitAfter(duty: Duty, result: DutyResult, tookMs: number): number {
  const { intervalMs, share = 1 } = duty;
  const restMs = tookMs / share - tookMs;
  if (result.hasMore) return restMs;
  const dueMs = result.nextMs === undefined ? intervalMs : Math.min(result.nextMs, intervalMs);
  return Math.max(dueMs, restMs);
}
