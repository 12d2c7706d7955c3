import type { JobRef } from '../../core/events.js';
import { type Job, type JobError, priorityOf } from '../../core/job/job.js';
import type { Settlement } from '../../core/job/outcome.js';
import type { Json } from '../../core/json.js';
import type { ClaimedRow } from '../../db/calls/claim.js';
import type { SettleOutcome } from '../../db/calls/settle.js';

const NO_HEADERS: Readonly<Record<string, Json>> = Object.freeze({});
const NOT_OVER: ReadonlySet<SettleOutcome> = new Set(['stale', 'ready', 'scheduled']);
const NO_ERRORS: readonly JobError[] = Object.freeze([]);

/** One attempt of one job: what was claimed, and how it ends. Its fence is (id, lease, claims). */
export class Attempt {
  readonly id: string;
  readonly leaseId: string;
  readonly claims: number;
  readonly number: number;
  readonly queue: string;
  /** Key of its group; null: it is in none. */
  readonly group: string | null;
  /** It was claimed behind another member of a strict group. */
  readonly isFollower: boolean;
  /** What was claimed; dropped when the attempt has ended, for it may be large. */
  row: ClaimedRow | undefined;
  /** Set where a codec may ask for them. */
  headers: Readonly<Record<string, Json>> | undefined;
  /** How long the handler ran, in milliseconds. */
  durationMs = 0;
  /** How the attempt is to end; undefined while that is open. */
  settlement: Settlement | undefined;
  /** What became of the job; undefined until the database has said so. */
  outcome: SettleOutcome | undefined;
  /** Followers wait for it to be settled. */
  isLed = false;
  isCancelRequested = false;
  /** The handler has completed the job in its own transaction; whether that commits is not known. */
  isCompletedIn = false;
  /** Id of that transaction, and when that was, as {@link SettleAsk} has it. */
  xact: { readonly id: string; readonly at: string } | undefined;
  /** It was completed in a transaction of which we know that it was committed: nothing is to settle. */
  isCommitted = false;
  /** Sent once without an answer: a stale reply may mean that the first try got through. */
  isUncertain = false;
  /** Its handler has said something that is not written yet. */
  isReporting = false;
  /** Something it said was ignored, which has been told. */
  isReportIgnored = false;

  constructor(row: ClaimedRow, queue: string, leaseId: string) {
    const rest = row[5];
    this.id = row[0];
    this.claims = rest === null ? 1 : rest[1];
    this.number = rest === null ? 1 : rest[1] - rest[2];
    this.queue = queue;
    this.group = rest?.[7] ?? null;
    this.isFollower = rest?.[8] === true;
    this.row = row;
    this.leaseId = leaseId;
  }

  /** Whether the job has ended: it does not run again. */
  get isOver(): boolean {
    const { outcome } = this;
    return outcome !== undefined && !NOT_OVER.has(outcome);
  }

  get ref(): JobRef {
    return { id: this.id, queue: this.queue, attempt: this.number };
  }
}

/** A claimed row as its handler sees it. */
export function toJob(row: ClaimedRow, queue: string, payload: unknown): Job {
  const rest = row[5];
  return {
    id: row[0],
    queue,
    payload,
    headers: rest?.[5] ?? NO_HEADERS,
    attempt: rest === null ? 1 : rest[1] - rest[2],
    maxAttempts: row[3],
    priority: priorityOf(row[4]),
    enqueuedAt: new Date(row[2]),
    group: rest?.[7] ?? null,
    errors: rest?.[6] ?? NO_ERRORS,
  };
}
