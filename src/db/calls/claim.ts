import type { ClaimStart } from '../../core/cursors.js';
import type { JobError } from '../../core/job.js';
import type { Json } from '../../core/json.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** The lane of jobs with the default priority: see `migrations/0002_jobs.sql`. */
const ORDINARY_LANE = 201;

/**
 * A claimed job as it comes from the driver: an array, and a short one, because a hundred thousand of
 * them pass here every second and each column costs.
 */
export type ClaimedRow = readonly [
  id: string,
  payload: unknown,
  /** Unix time in seconds. */
  enqueuedAt: number,
  maxAttempts: number,
  /** Null for most: a first attempt with the default priority, without headers, within its TTL. */
  rest: ClaimedRest | null,
];

/** What most claimed jobs have in common. */
export type ClaimedRest = readonly [
  lane: number,
  seq: number,
  /** Claims so far: part of the fence, never goes back. */
  claims: number,
  /** Claims that do not count as attempts. */
  uncounted: number,
  isExpired: boolean,
  headers: Readonly<Record<string, Json>> | null,
  errors: readonly JobError[] | null,
];

/** Lane of a claimed job. */
export function laneOf(row: ClaimedRow): number {
  return row[4] === null ? ORDINARY_LANE : row[4][0];
}

/** Order of readiness within its lane. A job that was ready at once has its id for it. */
export function seqOf(row: ClaimedRow): number {
  return row[4] === null ? Number(row[0]) : row[4][1];
}

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
    `select id, payload, date_part('epoch', enqueued_at), max_attempts,
      case when lane <> ${ORDINARY_LANE} or seq <> id or attempt <> 1 or uncounted <> 0 or expired
          or headers is not null or errors is not null
        then jsonb_build_array(lane, seq, attempt, uncounted, expired, headers, errors) end
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
  return laneOf(a) - laneOf(b) || seqOf(a) - seqOf(b);
}
