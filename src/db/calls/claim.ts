import type { ClaimStart } from '../../core/cursors.js';
import type { JobError } from '../../core/job.js';
import type { Json } from '../../core/json.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** A claimed job: an array, and a short one, because a hundred thousand of them pass here every second. */
export type ClaimedRow = readonly [
  id: string,
  payload: unknown,
  /** Unix time in milliseconds. */
  enqueuedAt: number,
  maxAttempts: number,
  /** Two lanes a priority: see `migrations/0002_jobs.sql`. */
  lane: number,
  /** Null for most: a first attempt, ready at once, without headers, within its TTL. */
  rest: ClaimedRest | null,
];

/** What a job out of the ordinary has besides. */
export type ClaimedRest = readonly [
  /** Order of readiness within its lane. */
  seq: number,
  /** Claims so far: part of the fence, never goes back. */
  claims: number,
  /** Claims that do not count as attempts. */
  uncounted: number,
  isExpired: boolean,
  /** Null: as the queue says. */
  maxAttempts: number | null,
  headers: Readonly<Record<string, Json>> | null,
  errors: readonly JobError[] | null,
  /** Key of its group; a member is never ready by its id, so it always has this row. */
  group: string | null,
  /** It may begin only when the member of its group before it is settled. */
  isFollower?: true,
];

/** Jobs of one lane as the database gives them. */
type LaneRow = [
  lane: number,
  ids: string,
  enqueued: string,
  payloads: string,
  rest: Readonly<Record<string, ClaimedRest>> | null,
  maxAttempts: number,
];

/** The last row of a queue with limits, or paused until a time. */
type HoldRow = [
  lane: null,
  ids: null,
  enqueued: null,
  payloads: null,
  rest: { readonly reason: HoldReason | null; readonly again_ms: number | null },
];

/** Why a queue gives no more jobs although some may be ready. */
export type HoldReason =
  | 'paused'
  | 'rate-limited'
  | 'circuit-open'
  | 'circuit-half-open'
  | 'concurrency'
  | 'rate';

/** What a queue with limits says beside its jobs. */
export interface Hold {
  readonly reason: HoldReason | null;
  /** When to come again; null: as usual. */
  readonly againMs: number | null;
}

/** What a claim brought. */
export interface Claimed {
  /** In order of lane and readiness. */
  readonly rows: ClaimedRow[];
  /** How many of them are followers: they came beyond the limit. */
  readonly followers: number;
  /** Length of their payloads as text. */
  readonly payloadChars: number;
  /** Of a queue with limits, or paused until a time. */
  readonly hold: Hold | undefined;
}

/** Order of readiness within its lane. A job that was ready at once has its id for it. */
export function seqOf(row: ClaimedRow): number {
  return row[5] === null ? Number(row[0]) : row[5][0];
}

/** Claims and what a worker must know of a queue. */
export interface ClaimCalls {
  /**
   * Takes ready jobs under a lease, in order of lane and readiness.
   * @param turn most members of one group: with its head come others, as followers; 1: none
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_LEASE_LOST
   */
  claim(
    executor: Executor,
    queue: string,
    leaseId: string,
    limit: number,
    start: ClaimStart,
    turn: number,
  ): Promise<Claimed>;
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
    `select lane, ids, enqueued, payloads, rest, max_attempts
    from {{schema}}.claim_many($1, $2::bigint, $3, $4::smallint[], $5::bigint[], $6)`,
    'array',
  );
  const timeouts = database.statement(
    'timeouts',
    'select queue, timeout_ms from {{schema}}.queue_policies where queue = any ($1::text[])',
    'array',
  );
  return {
    async claim(executor, queue, leaseId, limit, { lanes, after }, turn) {
      const values = [queue, leaseId, limit, `{${lanes.join()}}`, `{${after.join()}}`, turn];
      const found = await executor.query<LaneRow | HoldRow>(claim, values);
      return toClaimed(found);
    },
    async readTimeouts(executor, queues) {
      return new Map(await executor.query<[string, number | null]>(timeouts, [queues]));
    },
  };
}

function toClaimed(lanes: readonly (LaneRow | HoldRow)[]): Claimed {
  const rows: ClaimedRow[] = [];
  let payloadChars = 0;
  let followers = 0;
  let hold: Hold | undefined;
  for (const laneRow of lanes) {
    if (laneRow[0] === null) {
      hold = { reason: laneRow[4].reason, againMs: laneRow[4].again_ms };
      continue;
    }
    const [lane, idList, timeList, payloadList, rest, maxAttempts] = laneRow;
    const ids = idList.split(',');
    const times = timeList.split(',');
    const payloads = JSON.parse(`[${payloadList}]`) as unknown[];
    payloadChars += payloadList.length;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as string;
      const more = rest?.[id] ?? null;
      if (more?.[8]) followers++;
      rows.push([id, payloads[i], Number(times[i]), more?.[4] ?? maxAttempts, lane, more]);
    }
  }
  return { rows, followers, payloadChars, hold };
}
