import type { Json } from '../json.js';

/**
 * State of a job. It is derived from its row, never stored; see `migrations/0003_jobs.sql`.
 * `blocked` waits for its turn in its group, `scheduled` for its time. Finished are `completed`, `cancelled`, `expired` and `discarded`.
 */
export type JobState =
  | 'scheduled'
  | 'blocked'
  | 'ready'
  | 'running'
  | 'completed'
  | 'dead'
  | 'cancelled'
  | 'expired'
  | 'discarded';

/** Priority of a job's lane, -100 to 100: see `migrations/0003_jobs.sql` and `0023_claim.sql`. */
export function priorityOf(lane: number): number {
  return 100 - (((lane + 2_000) % 1_000) >> 1);
}

/** What is kept of one failed attempt. */
export interface JobError {
  readonly name?: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
  /** Number of the attempt that failed. */
  readonly attempt: number;
  /** When, as ISO 8601 text. */
  readonly at: string;
}

/** A job as its handler sees it. */
export interface Job<Payload = unknown> {
  /** Opaque; unique within the installation. */
  readonly id: string;
  /** Name of the queue. */
  readonly queue: string;
  readonly payload: Payload;
  readonly headers: Readonly<Record<string, Json>>;
  /** Number of this attempt; begins at 1. Attempts given back (snooze, release) do not count. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** -100 to 100; higher runs first. */
  readonly priority: number;
  readonly enqueuedAt: Date;
  /** Key of its group; null: it is in none. */
  readonly group: string | null;
  /** Errors of earlier attempts, oldest first; the last 100. */
  readonly errors: readonly JobError[];
}
