import type { ClientEvents } from '../../core/client-events.js';
import { systemClock } from '../../core/clock.js';
import type { CodecField, Codecs } from '../../core/codec/codec.js';
import { decodeErrors } from '../../core/codec/error-codec.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import { batchIdOf } from '../../core/job/batch-id.js';
import type { JobError, JobState } from '../../core/job/job.js';
import { encodeJobEdit, type JobEdit } from '../../core/job/job-edit.js';
import { assertJobIds } from '../../core/job/job-id.js';
import { codecOf } from '../../core/job/job-text.js';
import type { Json } from '../../core/json.js';
import { countOption, givenOptions, type KnownKeys } from '../../core/option.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import type {
  CancelCounts,
  CancelledRow,
  ControlRow,
  RunNowOutcome,
} from '../../db/calls/control.js';
import { controlCalls } from '../../db/calls/control.js';
import { inspectCalls, type JobDetailsRow, type JobSummaryRow } from '../../db/calls/inspect.js';
import type { Database } from '../../db/database.js';
import type { Executor } from '../../db/executor.js';
import { type CancelFilter, type CancelOptions, encodeCancelFilter } from './cancel-filter.js';
import { lastErrorOf, readFields } from './stored-fields.js';
import { readLine, readProgress } from './stored-reports.js';

const IDS_MAX = 10_000;
const STATES: readonly JobState[] = [
  'scheduled',
  'blocked',
  'ready',
  'running',
  'completed',
  'dead',
  'cancelled',
  'expired',
  'discarded',
];

/** A job as lists show it. */
export interface JobSummary {
  readonly id: string;
  /** Where it lies now: a dead job lies in a dead-letter queue. */
  readonly queue: string;
  readonly state: JobState;
  /** Null for a dead job. */
  readonly priority: number | null;
  /** Attempts begun so far, those given back not counted. */
  readonly attempt: number;
  readonly enqueuedAt: Date;
  /** When it is, or was, due; null where it was ready at once. */
  readonly runAt: Date | null;
  readonly claimedAt: Date | null;
  readonly finishedAt: Date | null;
  /** Name of the worker that runs it or ran it. */
  readonly worker: string | null;
  /** Why it is dead, cancelled or discarded. */
  readonly reason: string | null;
  /** Message of its last error. */
  readonly lastError: string | null;
  /** Key of its group; null where it is in none. */
  readonly group: string | null;
  /** Id of its batch; null where it is in none, or was sent back after that had ended. */
  readonly batch: string | null;
}

/** Everything about a job. */
export interface JobDetails extends JobSummary {
  /** The queue that a dead job came from, and goes back to; null of all others, or when that is gone. */
  readonly originQueue: string | null;
  readonly payload: Json;
  readonly headers: Readonly<Record<string, Json>>;
  /** Errors of its attempts, oldest first; the last 100. */
  readonly errors: readonly JobError[];
  readonly result: Json | null;
  /** What no codec of this client could decode; it is shown as it is stored. Mostly empty. */
  readonly undecoded: readonly CodecField[];
  /** What its handler reported last; null where it has not. */
  readonly progress: Json;
  readonly progressAt: Date | null;
  /** What its handler logged, oldest first: the last 500 lines, at most 256 KiB. */
  readonly logs: readonly JobLogLine[];
}

/** A line that a handler wrote to `context.log`. */
export interface JobLogLine {
  /** By the clock of the database. */
  readonly at: Date;
  readonly attempt: number;
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, Json>> | null;
}

/** Which jobs to list: newest first. */
export interface JobFilter {
  readonly queue?: AnyQueue | string | undefined;
  readonly state?: JobState | readonly JobState[] | undefined;
  /** Only jobs of this batch: it, or its id. */
  readonly batch?: string | { readonly id: string } | undefined;
  /** How many, 1 to 1000. Default 100. */
  readonly limit?: number | undefined;
  /** Id of the last job of the page before. */
  readonly after?: string | undefined;
}

const FILTER: KnownKeys<JobFilter> = {
  queue: true,
  state: true,
  batch: true,
  limit: true,
  after: true,
};

const CANCEL: KnownKeys<CancelOptions> = { reason: true, limit: true, preview: true };

/** `client.jobs`: looks at jobs, cancels and changes them. */
export class Jobs {
  readonly #database: Executor;
  readonly #codecs: Codecs | undefined;
  readonly #hub: EventHub<ClientEvents>;
  readonly #control;
  readonly #inspect;

  /** Made by the client. @param changing runs what an open transaction may hold up */
  constructor(
    database: Database,
    changing: Executor,
    codecs: Codecs | undefined,
    hub: EventHub<ClientEvents>,
  ) {
    this.#database = changing;
    this.#hub = hub;
    this.#codecs = codecs;
    this.#control = controlCalls(database);
    this.#inspect = inspectCalls(database);
  }

  /** Everything about a job, finished or not; undefined where it is not, or no longer, there. */
  async get(id: string): Promise<JobDetails | undefined> {
    assertJobIds([id]);
    const row = await this.#inspect.job(id);
    return row && detailsOf(row, this.#codecs);
  }

  /** Jobs, newest first, at most `limit`; give the last id as `after` for the next page. */
  async list(filter: JobFilter = {}): Promise<readonly JobSummary[]> {
    const { queue, state, batch, after } = givenOptions('filter', filter, FILTER);
    if (after !== undefined) assertJobIds([after]);
    const states = state === undefined ? undefined : [state].flat();
    for (const each of states ?? []) assertState(each);
    const rows = await this.#inspect.jobs({
      queue: queue === undefined ? undefined : nameOf(queue),
      states,
      batch: batch === undefined ? undefined : batchIdOf(batch),
      after,
      limit: countOption('limit', filter.limit, 100, 1000),
      isErrorWanted: this.#codecs !== undefined,
    });
    return rows.map((row) => ({ ...summaryOf(row), ...this.#lastError(row) }));
  }

  /** Of a job whose last error is encoded. */
  #lastError({ id, queue, origin_queue, error, last_error }: JobSummaryRow): Partial<JobSummary> {
    if (!this.#codecs || !error) return {};
    const place = { jobId: id, queue: origin_queue ?? queue, foundIn: queue };
    const errors = decodeErrors(this.#codecs, [error], place);
    return { lastError: lastErrorOf(errors, last_error) };
  }

  /** Cancels waiting jobs, and asks the workers of running ones to stop. At most 10,000 at a time. */
  async cancel(ids: string | readonly string[], reason?: string): Promise<readonly CancelledRow[]> {
    const rows = await this.#control.cancel(this.#database, listOf(ids), reason ?? null);
    for (const { id, outcome } of rows) {
      if (outcome === 'cancelled') this.#hub.emit('job.cancelled', { job: { id }, reason });
      if (outcome === 'requested') this.#hub.emit('job.cancel-requested', { job: { id }, reason });
    }
    return rows;
  }

  /**
   * The same for unfinished jobs that match a filter, at most `limit`: call it again while `more`. A job that
   * has begun meanwhile is spared where the filter names states and `running` is none of them.
   * @throws HowdahError HOWDAH_FILTER_INVALID, HOWDAH_QUEUE_UNKNOWN
   */
  async cancelWhere(filter: CancelFilter, options: CancelOptions = {}): Promise<CancelCounts> {
    const { reason = null, preview = false } = givenOptions('options', options, CANCEL);
    const limit = countOption('limit', options.limit, 10_000, 100_000);
    const encoded = encodeCancelFilter(filter);
    const counts = await this.#control.cancelJobs(this.#database, encoded, reason, limit, preview);
    const { cancelled, requested } = counts;
    if (!preview && cancelled + requested > 0) {
      this.#hub.emit('jobs.cancelled', { cancelled, requested, reason: options.reason });
    }
    return counts;
  }

  /**
   * Changes a job that waits: payload, headers, priority, time. A member of a group that waits for its turn keeps its
   * place.
   * @returns its state: ready, scheduled or blocked
   * @throws HowdahError HOWDAH_JOB_RUNNING, HOWDAH_JOB_ENDED, HOWDAH_JOB_UNKNOWN, HOWDAH_EDIT_INVALID,
   *   HOWDAH_QUEUE_FULL (the payload has grown past `maxBytes`), and what `enqueue` says of a bad option
   */
  async edit(id: string, edit: JobEdit): Promise<JobState> {
    assertJobIds([id]);
    const codec = this.#codecs && (await this.#codecOf(this.#codecs, id, edit));
    const changes = encodeJobEdit(edit, systemClock.now(), codec);
    return (await this.#control.edit(this.#database, id, changes)) as JobState;
  }

  /** What a changed job passes: of its queue and, where they stay, with its headers. */
  async #codecOf(codecs: Codecs, id: string, edit: JobEdit) {
    const isEncoded = edit.payload !== undefined || edit.headers !== undefined;
    const row = isEncoded ? await this.#inspect.job(id) : undefined;
    // of a job that is not there the database tells
    const queue = row?.queue ?? '';
    const stored = row && readFields(row, queue, codecs);
    const known = stored?.undecoded.includes('headers') ? undefined : stored?.headers;
    return codecOf(codecs, queue, { headers: edit.headers ?? known });
  }

  /** Makes scheduled jobs ready and sends dead ones back to their queue. At most 10,000 at a time. */
  async runNow(ids: string | readonly string[]): Promise<readonly ControlRow<RunNowOutcome>[]> {
    return this.#control.runNow(this.#database, listOf(ids));
  }
}

function listOf(ids: string | readonly string[]): readonly string[] {
  const list = typeof ids === 'string' ? [ids] : ids;
  assertJobIds(list);
  if (list.length <= IDS_MAX) return list;
  throw new HowdahError('HOWDAH_OPTION_INVALID', `${list.length} ids are too many for one call.`, {
    details: { option: 'ids', max: IDS_MAX },
    remedy: `Give at most ${IDS_MAX} at a time.`,
  });
}

function assertState(state: string): void {
  if ((STATES as readonly string[]).includes(state)) return;
  throw new HowdahError('HOWDAH_FILTER_INVALID', `State ${JSON.stringify(state)} does not exist.`, {
    details: { key: 'state', value: state },
    remedy: `Use ${STATES.join(', ')}.`,
  });
}

function summaryOf(row: JobSummaryRow): JobSummary {
  return {
    id: row.id,
    queue: row.queue,
    state: row.state as JobState,
    priority: row.priority,
    attempt: row.attempt,
    enqueuedAt: row.enqueued_at,
    runAt: row.run_at,
    claimedAt: row.claimed_at,
    finishedAt: row.finished_at,
    worker: row.worker,
    reason: row.reason,
    lastError: row.last_error,
    group: row.group_key,
    batch: row.batch_id,
  };
}

function detailsOf(row: JobDetailsRow, codecs: Codecs | undefined): JobDetails {
  const queue = row.origin_queue ?? row.queue;
  const fields = readFields(row, row.queue, codecs, queue);
  const place = { jobId: row.id, queue, foundIn: row.queue };
  const { progress, isDecoded } = readProgress(row, place, codecs);
  return {
    ...summaryOf(row),
    originQueue: row.origin_queue,
    ...fields,
    undecoded: isDecoded ? fields.undecoded : [...fields.undecoded, 'progress'],
    lastError: lastErrorOf(fields.errors, row.last_error),
    progress,
    progressAt: row.progress_at,
    logs: row.logs.map((line) => readLine({ ...line, at: new Date(line.at) }, place, codecs)),
  };
}
