import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import { decodeErrors } from '../../core/codec/error-codec.js';
import { HowdahError } from '../../core/errors.js';
import type { JobState } from '../../core/job/job.js';
import type { Json } from '../../core/json.js';
import { countOption, givenObject, givenOptions, type KnownKeys } from '../../core/option.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import { cronTimes, normalizeCron } from '../../core/schedule/cron.js';
import type { MissedPolicy } from '../../core/schedule/nominal-times.js';
import {
  type AnySchedule,
  assertScheduleName,
  encodeSchedule,
  type Schedule,
} from '../../core/schedule/schedule.js';
import { type ScheduleChange, scheduleCalls } from '../../db/calls/schedules.js';
import type { Database } from '../../db/database.js';
import type { Declarations } from '../../db/declarations.js';
import type { Executor } from '../../db/executor.js';
import type { ScheduleRunsView, SchedulesView } from '../../db/tables.js';
import { lastErrorOf, readFields } from './stored-fields.js';

/** What came of a nominal time: `duplicate` where a dedupe key was taken. */
export type ScheduleOutcome = 'enqueued' | 'duplicate' | 'refused' | 'skipped';

/** A schedule and how it stands. */
export interface ScheduleInfo {
  readonly name: string;
  /** Who declares it; null: made by hand. */
  readonly owner: string | null;
  readonly queue: string;
  readonly cron: string;
  readonly zone: string;
  readonly missed: MissedPolicy;
  readonly missedMax: number;
  readonly payload: Json;
  readonly headers: Readonly<Record<string, Json>>;
  /** Options of the job as SQL has them, such as `max_attempts`. */
  readonly options: Readonly<Record<string, Json>>;
  readonly paused: boolean;
  readonly pausedReason: string | null;
  /** Null while it is paused, wrong, or not worked out yet. */
  readonly nextAt: Date | null;
  /** Why it can never fire. */
  readonly error: string | null;
  /** The nominal time decided last (of a run by hand: when that was), and what came of it. */
  readonly lastAt: Date | null;
  readonly lastOutcome: ScheduleOutcome | null;
  /** Why the job was refused. */
  readonly lastError: string | null;
  readonly lastJobId: string | null;
  /** State of that job; null where it is no longer there. */
  readonly lastJobState: JobState | null;
  readonly lastJobFinishedAt: Date | null;
  /** Message of that job's last error. */
  readonly lastJobError: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** One nominal time. */
export interface ScheduleRun {
  readonly nominalAt: Date;
  readonly outcome: ScheduleOutcome;
  readonly jobId: string | null;
  readonly error: string | null;
  readonly decidedAt: Date;
}

/** Which schedules to list, by name. */
export interface ScheduleFilter {
  readonly queue?: AnyQueue | string | undefined;
  /** Name of the last one of the page before. */
  readonly after?: string | undefined;
  /** How many, 1 to 1000. Default 100. */
  readonly limit?: number | undefined;
}

/** What to preview: an expression, or a schedule that is there by its name. */
export type PreviewTarget = string | { readonly cron: string; readonly zone?: string | undefined };

/** A time at which it will fire. */
export interface PreviewedRun {
  readonly at: Date;
  /** On the clock on the wall there, with the offset: `2027-03-28 03:00:00 GMT+2`. */
  readonly local: string;
}

const FILTER: KnownKeys<ScheduleFilter> = { queue: true, limit: true, after: true };

/** Cron schedules: `client.schedules`. Times are those of the database's clock. */
export class Schedules {
  readonly #codecs: Codecs | undefined;
  readonly #database: Executor;
  readonly #declarations: Declarations;
  readonly #clock: Clock;
  readonly #calls;

  /** @param changing runs what an open transaction may hold up */
  constructor(
    database: Database,
    changing: Executor,
    declarations: Declarations,
    clock: Clock,
    codecs: Codecs | undefined,
  ) {
    this.#codecs = codecs;
    this.#database = changing;
    this.#declarations = declarations;
    this.#clock = clock;
    this.#calls = scheduleCalls(database);
  }

  /**
   * Creates a schedule, or gives the one of this name these values; what is left out takes its
   * default. A pause stays, and nominal times that are past do not come again.
   * @throws HowdahError HOWDAH_SCHEDULE_INVALID, HOWDAH_CRON_INVALID, HOWDAH_ZONE_INVALID,
   *   HOWDAH_SCHEDULE_EXISTS (declared by a program), HOWDAH_QUEUE_UNKNOWN, the code of a bad payload
   *   or option
   */
  async put<In>(schedule: Schedule<In>): Promise<ScheduleChange['change']> {
    const { name, queue, text } = encodeSchedule(
      schedule as AnySchedule,
      this.#clock.now(),
      this.#codecs,
    );
    const encoded = await text;
    await this.#declarations.ensure(queue);
    return this.#calls.put(this.#database, name, encoded);
  }

  /** Schedules by name, at most `limit`; give the last name as `after` for the next page. */
  async list(filter: ScheduleFilter = {}): Promise<readonly ScheduleInfo[]> {
    const { queue, after } = givenOptions('filter', filter, FILTER);
    const rows = await this.#calls.list({
      queue: queue === undefined ? undefined : nameOf(queue),
      after,
      limit: countOption('limit', filter.limit, 100, 1000),
    });
    return rows.map((row) => infoOf(row, this.#codecs));
  }

  /** Undefined where it is not there. @throws HowdahError HOWDAH_SCHEDULE_INVALID (the name) */
  async get(name: string): Promise<ScheduleInfo | undefined> {
    assertScheduleName(name);
    const [row] = await this.#calls.list({ name, limit: 1 });
    return row && infoOf(row, this.#codecs);
  }

  /** What came of the nominal times of the last day, newest first; at most `limit` (100, up to 1000). */
  async runs(
    name: string,
    options: { readonly limit?: number } = {},
  ): Promise<readonly ScheduleRun[]> {
    assertScheduleName(name);
    const rows = await this.#calls.runs(
      name,
      countOption('limit', givenOptions('options', options, { limit: true }).limit, 100, 1000),
    );
    return rows.map(runOf);
  }

  /**
   * The next times, at most `count` (10, up to 1000), whether it is paused or not.
   * @throws HowdahError HOWDAH_SCHEDULE_UNKNOWN, HOWDAH_CRON_INVALID, HOWDAH_ZONE_INVALID
   */
  async preview(
    target: PreviewTarget,
    options: { readonly count?: number } = {},
  ): Promise<readonly PreviewedRun[]> {
    const count = countOption(
      'count',
      givenOptions('options', options, { count: true }).count,
      10,
      1000,
    );
    if (typeof target !== 'string') givenObject('target', target);
    const { cron, zone, afterMs } = await this.#resolve(target);
    const times = cronTimes(normalizeCron(cron), zone);
    const runs: PreviewedRun[] = [];
    for (let at = times.next(afterMs); at !== undefined; at = times.next(at)) {
      if (runs.push({ at: new Date(at), local: localTime(at, zone) }) >= count) break;
    }
    return runs;
  }

  /** Fires no more until it is resumed. @throws HowdahError HOWDAH_SCHEDULE_UNKNOWN */
  pause(name: string, reason?: string): Promise<void> {
    return this.#calls.pause(this.#database, name, reason ?? null);
  }

  /** Goes on with the next time; those meanwhile are not made up for. @throws HowdahError as `pause` */
  resume(name: string): Promise<void> {
    return this.#calls.resume(this.#database, name);
  }

  /** Its jobs stay. One that a program declares is there again at its next start. @throws HowdahError as `pause` */
  delete(name: string): Promise<void> {
    return this.#calls.delete(this.#database, name);
  }

  /**
   * Enqueues its job now, also while it is paused; its times stay as they are.
   * @returns id of the job @throws HowdahError HOWDAH_SCHEDULE_UNKNOWN, as an enqueue
   */
  runNow(name: string): Promise<string> {
    return this.#calls.run(this.#database, name);
  }

  async #resolve(target: PreviewTarget) {
    const nowMs = await this.#calls.now();
    if (typeof target !== 'string') {
      return { cron: target.cron, zone: target.zone ?? 'UTC', afterMs: nowMs };
    }
    assertScheduleName(target);
    const [row] = await this.#calls.list({ name: target, limit: 1 });
    if (row === undefined) {
      throw new HowdahError('HOWDAH_SCHEDULE_UNKNOWN', `Schedule ${target} does not exist.`, {
        details: { name: target },
        remedy: 'See `howdah schedules list`.',
      });
    }
    return { ...row, afterMs: Math.max(nowMs, row.after_at.getTime()) };
  }
}

function localTime(at: number, timeZone: string): string {
  // Swedish writes dates as ISO 8601 does
  const date = new Intl.DateTimeFormat('sv-SE', {
    timeZone,
    dateStyle: 'short',
    timeStyle: 'medium',
  }).format(at);
  const offset = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'shortOffset' })
    .formatToParts(at)
    .find(({ type }) => type === 'timeZoneName')?.value;
  return `${date} ${offset}`;
}

function infoOf(row: SchedulesView, codecs: Codecs | undefined): ScheduleInfo {
  const stored = { id: '', payload: row.payload, headers: row.headers, errors: null };
  const { payload, headers } = readFields(stored, row.queue, codecs);
  return {
    name: row.name,
    owner: row.owner,
    queue: row.queue,
    cron: row.cron,
    zone: row.zone,
    missed: row.missed,
    missedMax: row.missed_max,
    payload,
    headers: headers ?? {},
    options: row.options as Readonly<Record<string, Json>>,
    paused: row.paused,
    pausedReason: row.paused_reason,
    nextAt: row.next_at,
    error: row.error,
    lastAt: row.last_at,
    lastOutcome: row.last_outcome,
    lastError: row.last_error,
    lastJobId: row.last_job_id,
    lastJobState: row.last_job_state as JobState | null,
    lastJobFinishedAt: row.last_job_finished_at,
    lastJobError: lastJobErrorOf(row, codecs),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function lastJobErrorOf(row: SchedulesView, codecs: Codecs | undefined): string | null {
  const error = row.last_job_error_json;
  if (!codecs || !error || row.last_job_id === null) return row.last_job_error;
  const errors = decodeErrors(codecs, [error], { jobId: row.last_job_id, foundIn: row.queue });
  return lastErrorOf(errors, row.last_job_error);
}

function runOf(row: ScheduleRunsView): ScheduleRun {
  return {
    nominalAt: row.nominal_at,
    outcome: row.outcome,
    jobId: row.job_id,
    error: row.error,
    decidedAt: row.decided_at,
  };
}
