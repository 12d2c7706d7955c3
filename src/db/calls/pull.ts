import type { JobError } from '../../core/job/job.js';
import type { Json } from '../../core/json.js';
import type { ClaimStart } from '../../core/time/cursors.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';
import { patient } from '../patience.js';
import { withPlainTimes } from '../times.js';

/** A job that was received. */
export interface ReceivedRow {
  readonly lease_id: string;
  readonly id: string;
  /** Claims so far: part of the fence, never goes back. */
  readonly attempt: number;
  /** Claims that do not count as attempts. */
  readonly uncounted: number;
  readonly payload: Json;
  readonly headers: Readonly<Record<string, Json>> | null;
  readonly enqueued_at: Date;
  readonly max_attempts: number;
  readonly errors: readonly JobError[] | null;
  readonly lane: number;
  readonly seq: string;
  /** When it runs again unless it is settled or extended before, by the clock of the database. */
  readonly visible_at: Date;
  readonly group_key: string | null;
}

/** What became of the settlement at place `ordinal` (from 1) of those asked for. */
interface SettledReceivedRow {
  readonly ordinal: number;
  readonly outcome: string;
}

/** Pull: jobs for programs without a handler runtime. */
export interface PullCalls {
  /**
   * Up to `max` ready jobs under a new lease.
   * @param visibilityMs null: as the queue says
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_LEASE_INVALID
   */
  receive(
    queue: string,
    max: number,
    visibilityMs: number | null,
    start: ClaimStart,
    consumer: string,
  ): Promise<ReceivedRow[]>;
  /**
   * @param asks JSON array; see `settle_received`
   * @param lockMs it gives up a lock after so many milliseconds (55P03)
   */
  settle(asks: string, lockMs: number): Promise<SettledReceivedRow[]>;
  /** @throws HowdahError HOWDAH_LEASE_LOST, HOWDAH_SETTLE_STALE, HOWDAH_LEASE_INVALID */
  extend(
    executor: Executor,
    leaseId: string,
    id: string,
    attempt: number,
    visibilityMs: number,
  ): Promise<{ readonly lease_id: string; readonly visible_at: Date }>;
  /** Rings no more for these queues. */
  stopRinging(executor: Executor, leaseId: string, queues: readonly string[]): Promise<void>;
}

/** Prepares the statements of {@link PullCalls}. */
export function pullCalls(database: Database): PullCalls {
  const receive = database.statement(
    'receive',
    withPlainTimes(`select lease_id, id, attempt, uncounted, payload, headers, enqueued_at, max_attempts, errors,
      lane, seq, visible_at, group_key
    from {{schema}}.receive($1, $2, $3, $4::smallint[], $5::bigint[], $6)`),
  );
  const settle = database.statement(
    'settle_received',
    `select ordinal, outcome from {{schema}}.settle_received(${patient('$1::text::jsonb', 2)})`,
  );
  const extend = database.statement(
    'extend_job',
    withPlainTimes(
      'select lease_id, visible_at from {{schema}}.extend_job($1::bigint, $2::bigint, $3, $4)',
    ),
  );
  const stop = database.statement(
    'stop_ringing',
    'select {{schema}}.stop_ringing($1::bigint, $2::text[])',
  );
  return {
    receive: (queue, max, visibilityMs, { lanes, after }, consumer) =>
      database.query(receive, [
        queue,
        max,
        visibilityMs,
        `{${lanes.join()}}`,
        `{${after.join()}}`,
        consumer,
      ]),
    settle: (asks, lockMs) => database.query(settle, [asks, lockMs]),
    async extend(executor, leaseId, id, attempt, visibilityMs) {
      const rows = await executor.query<{ lease_id: string; visible_at: Date }>(extend, [
        leaseId,
        id,
        attempt,
        visibilityMs,
      ]);
      return rows[0] as { lease_id: string; visible_at: Date };
    },
    async stopRinging(executor, leaseId, queues) {
      await executor.query(stop, [leaseId, queues]);
    },
  };
}
