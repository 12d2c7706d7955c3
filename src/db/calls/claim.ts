import type { JobError } from '../../core/job/job.js';
import type { Json } from '../../core/json.js';
import type { ClaimStart } from '../../core/time/cursors.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** A claimed job: an array, and a short one, because a hundred thousand of them pass here every second. */
export type ClaimedRow = readonly [
  id: string,
  payload: unknown,
  /** Unix time in milliseconds. */
  enqueuedAt: number,
  maxAttempts: number,
  /** Two lanes a priority: see `migrations/0003_jobs.sql`. */
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

/** Jobs of one lane as the database gives them. Without payloads, these come in the next rows. */
type LaneRow = [
  lane: number,
  ids: string,
  enqueued: string,
  payloads: string | null,
  rest: Readonly<Record<string, ClaimedRest>> | null,
  maxAttempts: number,
];

/** Payloads of the lane before it: one or, of followers, several. */
type PayloadRow = [lane: number, ids: null, enqueued: null, payloads: string];

/** The last row of a queue with limits, or paused until a time. */
type HoldRow = [
  lane: null,
  ids: null,
  enqueued: null,
  payloads: null,
  rest: { readonly reason: HoldReason | null; readonly again_ms: number | null },
];

type ClaimRow = LaneRow | PayloadRow | HoldRow;

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

/** How payloads travel: all of a lane in one text or, where they are large, each in its own. */
export type PayloadTransfer = 'together' | 'apart';

/** What a claim brought. */
interface Claimed {
  /** In order of lane and readiness. */
  readonly rows: ClaimedRow[];
  /** How many of them are followers: they came beyond the limit. */
  readonly followers: number;
  /** Length of their payloads as text, in UTF-16 code units. */
  readonly payloadChars: number;
  /** Of a queue with limits, or paused until a time. */
  readonly hold: Hold | undefined;
}

/** Order of readiness within its lane. A job that was ready at once has its id for it. */
export function seqOf(row: ClaimedRow): number {
  return row[5] === null ? Number(row[0]) : row[5][0];
}

/** What a look at many queues said of one of them. */
export interface QueueState {
  /** Its place among those asked about, from 0. */
  readonly place: number;
  /** A claim may find jobs, there is no such queue, or why it gives none. */
  readonly state: 'ready' | 'missing' | HoldReason;
  /** When to come again; null: as usual. */
  readonly againMs: number | null;
}

/** Claims and what a worker must know of a queue. */
export interface ClaimCalls {
  /**
   * Looks at many queues at once; see `ready_queues`.
   * @param starts where a claim of each would begin
   * @returns those that have something to say, in any order
   * @throws HowdahError HOWDAH_LEASE_LOST
   */
  look(
    executor: Executor,
    leaseId: string,
    queues: readonly string[],
    starts: readonly ClaimStart[],
  ): Promise<QueueState[]>;
  /**
   * Takes ready jobs under a lease, in order of lane and readiness.
   * @param turn most members of one group: with its head come others, as followers; 1: none
   * @param transfer default together
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_LEASE_LOST
   */
  claim(
    executor: Executor,
    queue: string,
    leaseId: string,
    limit: number,
    start: ClaimStart,
    turn: number,
    transfer?: PayloadTransfer,
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
    from {{schema}}.claim_many($1, $2::bigint, $3, $4::smallint[], $5::bigint[], $6, $7)`,
    'array',
  );
  const look = database.statement(
    'look',
    `select place, state, again_ms
    from {{schema}}.ready_queues($1::bigint, $2::text[], $3::integer[], $4::smallint[], $5::bigint[])`,
    'array',
  );
  const timeouts = database.statement(
    'timeouts',
    'select queue, timeout_ms from {{schema}}.queue_policies where queue = any ($1::text[])',
    'array',
  );
  return {
    async look(executor, leaseId, queues, starts) {
      const first: number[] = [];
      const lanes: number[] = [];
      const after: number[] = [];
      for (const start of starts) {
        first.push(lanes.length + 1);
        lanes.push(...start.lanes);
        after.push(...start.after);
      }
      const cursors = [first, lanes, after].map((list) => `{${list.join()}}`);
      const rows = await executor.query<[number, QueueState['state'], string | null]>(look, [
        leaseId,
        queues,
        ...cursors,
      ]);
      return rows.map(([place, state, againMs]) => ({
        place: place - 1,
        state,
        againMs: againMs === null ? null : Number(againMs),
      }));
    },
    async claim(executor, queue, leaseId, limit, { lanes, after }, turn, transfer = 'together') {
      const cursors = [`{${lanes.join()}}`, `{${after.join()}}`];
      const values = [queue, leaseId, limit, ...cursors, turn, transfer];
      return toClaimed(await executor.query<ClaimRow>(claim, values));
    },
    async readTimeouts(executor, queues) {
      return new Map(await executor.query<[string, number | null]>(timeouts, [queues]));
    },
  };
}

function toClaimed(found: readonly ClaimRow[]): Claimed {
  const rows: ClaimedRow[] = [];
  let payloadChars = 0;
  let followers = 0;
  let hold: Hold | undefined;
  for (let at = 0; at < found.length; ) {
    const row = found[at++] as LaneRow | HoldRow;
    if (row[0] === null) {
      hold = { reason: row[4].reason, againMs: row[4].again_ms };
      continue;
    }
    const [lane, idList, timeList, together, rest, maxAttempts] = row;
    const texts = together === null ? [] : [together];
    for (let next = found[at]; isPayloadRow(next); next = found[++at]) texts.push(next[3]);
    const payloads = texts.flatMap((text) => {
      payloadChars += text.length;
      return JSON.parse(`[${text}]`) as unknown[];
    });
    const ids = idList.split(',');
    const times = timeList.split(',');
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as string;
      const more = rest?.[id] ?? null;
      if (more?.[8]) followers++;
      rows.push([id, payloads[i], Number(times[i]), more?.[4] ?? maxAttempts, lane, more]);
    }
  }
  return { rows, followers, payloadChars, hold };
}

function isPayloadRow(row: ClaimRow | undefined): row is PayloadRow {
  return row !== undefined && row[0] !== null && row[1] === null;
}
