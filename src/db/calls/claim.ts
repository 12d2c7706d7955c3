import type { ClaimStart } from '../../core/cursors.js';
import type { JobError } from '../../core/job.js';
import type { Json } from '../../core/json.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/**
 * A claimed job as it comes from the driver: an array, because a hundred thousand of them pass here
 * every second.
 */
export type ClaimedRow = readonly [
  id: string,
  lane: number,
  seq: string,
  /** Claims so far: part of the fence, never goes back. */
  claims: number,
  /** Claims that do not count as attempts. */
  uncounted: number,
  payload: unknown,
  headers: Readonly<Record<string, Json>> | null,
  /** Unix time in seconds. */
  enqueuedAt: number,
  maxAttempts: number,
  isExpired: boolean,
  errors: readonly JobError[] | null,
];

/** Claims and what a worker must know of a queue. */
export interface ClaimCalls {
  /**
   * Takes ready jobs under a lease, in order of lane and readiness.
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_LEASE_LOST
   */
  claim(
    executor: Executor,
    queue: string,
    leaseId: string,
    limit: number,
    start: ClaimStart,
  ): Promise<ClaimedRow[]>;
  /** Run time-out in milliseconds per queue (null: none); queues that do not exist are left out. */
  readTimeouts(
    executor: Executor,
    queues: readonly string[],
  ): Promise<ReadonlyMap<string, number | null>>;
}

/** Prepares the statements of {@link ClaimCalls}. */
export function claimCalls(database: Database): ClaimCalls {
  const claim = database.statement(
    'claim',
    `select id, lane, seq, attempt, uncounted, payload, headers, date_part('epoch', enqueued_at),
      max_attempts, expired, errors
    from {{schema}}.claim($1, $2::bigint, $3, $4::smallint[], $5::bigint[])`,
    'array',
  );
  const timeouts = database.statement(
    'timeouts',
    'select queue, timeout_ms from {{schema}}.queue_policies where queue = any ($1::text[])',
    'array',
  );
  return {
    async claim(executor, queue, leaseId, limit, { lanes, after }) {
      const values = [queue, leaseId, limit, `{${lanes.join()}}`, `{${after.join()}}`];
      const rows = await executor.query<ClaimedRow & object>(claim, values);
      return rows.length > 1 ? rows.sort(byReadiness) : rows;
    },
    async readTimeouts(executor, queues) {
      return new Map(await executor.query<[string, number | null]>(timeouts, [queues]));
    },
  };
}

function byReadiness(a: ClaimedRow, b: ClaimedRow): number {
  return a[1] - b[1] || Number(a[2]) - Number(b[2]);
}
