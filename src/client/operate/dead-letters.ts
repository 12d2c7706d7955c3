import type { ClientEvents } from '../../core/client-events.js';
import type { CodecField, Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import type { JobError } from '../../core/job/job.js';
import { assertJobIds } from '../../core/job/job-id.js';
import type { Json } from '../../core/json.js';
import { countOption, givenOptions, type KnownKeys } from '../../core/option.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import {
  type DeadLetterGroup,
  type DiscardedRow,
  deadLetterCalls,
  type RedrivenRow,
} from '../../db/calls/dead-letters.js';
import { inspectCalls } from '../../db/calls/inspect.js';
import type { Database } from '../../db/database.js';
import type { Executor } from '../../db/executor.js';
import type { DeadLettersView } from '../../db/tables.js';
import {
  anyKey,
  encodeFilter,
  type FilterKeys,
  idsKey,
  queueKey,
  textKey,
  timeKey,
} from './filter.js';
import { lastErrorOf, readFields } from './stored-fields.js';

const LIMIT_MAX = 100_000;

/** Which dead jobs; every key that is given must match. An empty filter matches all. */
export interface DeadLetterFilter {
  readonly ids?: readonly string[] | undefined;
  /** The queue they came from. */
  readonly queue?: AnyQueue | string | undefined;
  /** The dead-letter queue they lie in. */
  readonly deadLetterQueue?: AnyQueue | string | undefined;
  readonly reason?: string | undefined;
  /** Part of the message of the last error. */
  readonly error?: string | undefined;
  /** The fingerprint of the last error, as lists and groups show it. */
  readonly fingerprint?: string | undefined;
  /** Dead since this time, or later. */
  readonly since?: Date | undefined;
  /** Dead before this time. */
  readonly until?: Date | undefined;
  /** The payload contains this, as jsonb's `@>` has it. */
  readonly payload?: Json | undefined;
}

/** How to redrive. */
export interface RedriveOptions {
  /** Most jobs, oldest first, 1 to 100,000. Default 1000. */
  readonly limit?: number | undefined;
  /** Only say which jobs it would be. Default false. */
  readonly preview?: boolean | undefined;
  /** Another queue than the one they came from. */
  readonly to?: AnyQueue | string | undefined;
  /** So many jobs a second become ready, above 0 to 100,000. Default: all at once. */
  readonly rate?: number | undefined;
}

/** How to discard. */
export type DiscardOptions = Omit<RedriveOptions, 'to' | 'rate'>;

/** Which dead letters to list: newest first. */
export interface DeadLetterListOptions {
  readonly queue?: AnyQueue | string | undefined;
  readonly deadLetterQueue?: AnyQueue | string | undefined;
  readonly reason?: string | undefined;
  /** How many, 1 to 1000. Default 100. */
  readonly limit?: number | undefined;
  /** Id of the last one of the page before. */
  readonly after?: string | undefined;
}

/** Which groups of dead letters: the largest first. */
export interface DeadLetterGroupOptions {
  readonly queue?: AnyQueue | string | undefined;
  readonly deadLetterQueue?: AnyQueue | string | undefined;
  /** How many, 1 to 1000. Default 100. */
  readonly limit?: number | undefined;
}

/** A dead job with its whole history. */
export interface DeadLetter {
  readonly id: string;
  /** The queue it came from; null when that is gone. */
  readonly queue: string | null;
  readonly deadLetterQueue: string;
  readonly reason: string | null;
  readonly lastError: string | null;
  /** The same for all whose last errors are alike; null without an error. */
  readonly fingerprint: string | null;
  readonly deadAt: Date;
  readonly enqueuedAt: Date;
  readonly payload: Json;
  readonly headers: Readonly<Record<string, Json>>;
  readonly errors: readonly JobError[];
  /** What no codec of this client could decode; it is shown as it is stored. Mostly empty. */
  readonly undecoded: readonly CodecField[];
}

const LIST: KnownKeys<DeadLetterListOptions> = {
  queue: true,
  deadLetterQueue: true,
  reason: true,
  limit: true,
  after: true,
};

const GROUPS: KnownKeys<DeadLetterGroupOptions> = {
  queue: true,
  deadLetterQueue: true,
  limit: true,
};

const REDRIVE: KnownKeys<RedriveOptions> = { limit: true, preview: true, to: true, rate: true };

const DISCARD: KnownKeys<DiscardOptions> = { limit: true, preview: true };

/** `client.deadLetters`: looks at dead jobs, sends them back, deletes them. */
export class DeadLetters {
  readonly #database: Executor;
  readonly #codecs: Codecs | undefined;
  readonly #hub: EventHub<ClientEvents>;
  readonly #calls;
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
    this.#calls = deadLetterCalls(database);
    this.#inspect = inspectCalls(database);
  }

  /** Dead jobs with their errors, newest first, at most `limit`. */
  async list(options: DeadLetterListOptions = {}): Promise<readonly DeadLetter[]> {
    const { queue, deadLetterQueue, reason, after } = givenOptions('options', options, LIST);
    if (after !== undefined) assertJobIds([after]);
    const rows = await this.#inspect.deadLetters({
      queue: queue === undefined ? undefined : nameOf(queue),
      deadLetterQueue: deadLetterQueue === undefined ? undefined : nameOf(deadLetterQueue),
      reason,
      after,
      limit: countOption('limit', options.limit, 100, 1000),
    });
    return rows.map((row) => deadLetterOf(row, this.#codecs));
  }

  /**
   * Sends dead jobs back to the queue they came from, with fresh attempts; their errors stay.
   * @throws HowdahError HOWDAH_FILTER_INVALID, HOWDAH_QUEUE_UNKNOWN, HOWDAH_REDRIVE_INVALID (the rate,
   *   or a destination that is the dead-letter queue where a job lies)
   */
  async redrive(
    filter: DeadLetterFilter,
    options: RedriveOptions = {},
  ): Promise<readonly RedrivenRow[]> {
    const { preview = false, to, rate = null } = givenOptions('options', options, REDRIVE);
    const limit = countOption('limit', options.limit, 1000, LIMIT_MAX);
    const target = to === undefined ? null : nameOf(to);
    const encoded = encodeFilter(filter, KEYS);
    const calls = this.#calls;
    const rows = await calls.redrive(this.#database, encoded, limit, preview, target, rateOf(rate));
    if (!preview && this.#hub.hears('job.redriven')) {
      for (const { id, from, to } of rows) {
        if (to !== null) this.#hub.emit('job.redriven', { job: { id, queue: to }, from });
      }
    }
    return rows;
  }

  /** Dead jobs whose last errors are alike, the largest groups first. @throws HowdahError HOWDAH_QUEUE_UNKNOWN */
  async groups(options: DeadLetterGroupOptions = {}): Promise<readonly DeadLetterGroup[]> {
    const { queue, deadLetterQueue } = givenOptions('options', options, GROUPS);
    return this.#calls.groups(
      this.#database,
      queue === undefined ? null : nameOf(queue),
      deadLetterQueue === undefined ? null : nameOf(deadLetterQueue),
      countOption('limit', options.limit, 100, 1000),
    );
  }

  /** Deletes dead jobs; the history keeps them as discarded. @throws HowdahError as `redrive` */
  async discard(
    filter: DeadLetterFilter,
    options: DiscardOptions = {},
  ): Promise<readonly DiscardedRow[]> {
    const { preview: isPreview = false } = givenOptions('options', options, DISCARD);
    const limit = countOption('limit', options.limit, 1000, LIMIT_MAX);
    const encoded = encodeFilter(filter, KEYS);
    const rows = await this.#calls.discard(this.#database, encoded, limit, isPreview);
    if (!isPreview && this.#hub.hears('job.discarded')) {
      for (const { id, queue } of rows) this.#hub.emit('job.discarded', { job: { id, queue } });
    }
    return rows;
  }
}

const KEYS: FilterKeys<DeadLetterFilter> = {
  ids: idsKey('ids'),
  queue: queueKey('queue'),
  deadLetterQueue: queueKey('dead_letter_queue'),
  reason: textKey('reason'),
  error: textKey('error'),
  fingerprint: textKey('fingerprint'),
  since: timeKey('since'),
  until: timeKey('until'),
  payload: anyKey('payload'),
};

const RATE_MAX = 100_000;

/** @throws HowdahError HOWDAH_REDRIVE_INVALID */
function rateOf(rate: number | null): number | null {
  if (rate === null || (rate > 0 && rate <= RATE_MAX)) return rate;
  throw new HowdahError('HOWDAH_REDRIVE_INVALID', `Rate ${String(rate)} is not valid.`, {
    details: { option: 'rate', value: rate },
    remedy: `Use more than 0 and at most ${RATE_MAX} jobs a second.`,
  });
}

function deadLetterOf(row: DeadLettersView, codecs: Codecs | undefined): DeadLetter {
  const { payload, headers, errors, undecoded } = readFields(
    row,
    row.dead_letter_queue,
    codecs,
    row.queue ?? undefined,
  );
  return {
    id: row.id,
    queue: row.queue,
    deadLetterQueue: row.dead_letter_queue,
    reason: row.reason,
    lastError: lastErrorOf(errors, row.last_error),
    fingerprint: row.fingerprint,
    deadAt: row.dead_at,
    enqueuedAt: row.enqueued_at,
    payload,
    headers,
    errors,
    undecoded,
  };
}
