import type { ClientEvents } from '../../core/client-events.js';
import type { CodecField, Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import type { JobError } from '../../core/job/job.js';
import { assertJobIds } from '../../core/job/job-id.js';
import type { Json } from '../../core/json.js';
import { encodeJson } from '../../core/json.js';
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
import { integer } from '../enqueue/enqueue-options.js';
import { lastErrorOf, readFields } from './stored-fields.js';

const LIMIT_MAX = 100_000;

/** Which dead jobs; every key that is given must fit. An empty filter fits all. */
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

/** Jobs that are out of attempts: list, send back, delete. */
export class DeadLetters {
  readonly #database: Executor;
  readonly #codecs: Codecs | undefined;
  readonly #hub: EventHub<ClientEvents>;
  readonly #calls;
  readonly #inspect;

  /** @param changing runs what an open transaction may hold up */
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

  async list(options: DeadLetterListOptions): Promise<DeadLetter[]> {
    const { queue, deadLetterQueue, reason, after } = options;
    if (after !== undefined) assertJobIds([after]);
    const rows = await this.#inspect.deadLetters({
      queue: queue === undefined ? undefined : nameOf(queue),
      deadLetterQueue: deadLetterQueue === undefined ? undefined : nameOf(deadLetterQueue),
      reason,
      after,
      limit: integer('limit', options.limit, 100, 1000),
    });
    return rows.map((row) => deadLetterOf(row, this.#codecs));
  }

  async redrive(filter: DeadLetterFilter, options: RedriveOptions = {}): Promise<RedrivenRow[]> {
    const { preview = false, to, rate = null } = options;
    const limit = integer('limit', options.limit, 1000, LIMIT_MAX);
    const target = to === undefined ? null : nameOf(to);
    const encoded = encodeFilter(filter);
    const calls = this.#calls;
    const rows = await calls.redrive(this.#database, encoded, limit, preview, target, rateOf(rate));
    if (!preview && this.#hub.hears('job.redriven')) {
      for (const { id, from, to } of rows) {
        if (to !== null) this.#hub.emit('job.redriven', { job: { id, queue: to }, from });
      }
    }
    return rows;
  }

  async groups(options: DeadLetterGroupOptions): Promise<DeadLetterGroup[]> {
    const { queue, deadLetterQueue } = options;
    return this.#calls.groups(
      this.#database,
      queue === undefined ? null : nameOf(queue),
      deadLetterQueue === undefined ? null : nameOf(deadLetterQueue),
      integer('limit', options.limit, 100, 1000),
    );
  }

  async discard(filter: DeadLetterFilter, options: DiscardOptions = {}): Promise<DiscardedRow[]> {
    const limit = integer('limit', options.limit, 1000, LIMIT_MAX);
    const isPreview = options.preview ?? false;
    const rows = await this.#calls.discard(this.#database, encodeFilter(filter), limit, isPreview);
    if (!isPreview && this.#hub.hears('job.discarded')) {
      for (const { id, queue } of rows) this.#hub.emit('job.discarded', { job: { id, queue } });
    }
    return rows;
  }
}

const SQL_KEYS: Readonly<Record<keyof DeadLetterFilter, string>> = {
  ids: 'ids',
  queue: 'queue',
  deadLetterQueue: 'dead_letter_queue',
  reason: 'reason',
  error: 'error',
  fingerprint: 'fingerprint',
  since: 'since',
  until: 'until',
  payload: 'payload',
};

/** @throws HowdahError HOWDAH_FILTER_INVALID, HOWDAH_OPTION_INVALID (an id) */
function encodeFilter(filter: DeadLetterFilter): string {
  const encoded: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(filter)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(SQL_KEYS, key)) throw filterInvalid(key, 'does not exist');
    encoded[SQL_KEYS[key as keyof DeadLetterFilter]] = encodeKey(key, value);
  }
  return encodeJson(encoded, 'filter');
}

function encodeKey(key: string, value: unknown): unknown {
  switch (key as keyof DeadLetterFilter) {
    case 'ids':
      if (!Array.isArray(value)) throw filterInvalid(key, 'is not an array');
      assertJobIds(value);
      return value;
    case 'queue':
    case 'deadLetterQueue':
      return nameOf(value as AnyQueue | string);
    case 'since':
    case 'until':
      if (!(value instanceof Date) || Number.isNaN(value.getTime())) {
        throw filterInvalid(key, 'is not a valid Date');
      }
      return value.toISOString();
    case 'reason':
    case 'error':
    case 'fingerprint':
      if (typeof value !== 'string') throw filterInvalid(key, 'is not text');
      return value;
    case 'payload':
      return value;
  }
}

const RATE_MAX = 100_000;

/** @throws HowdahError HOWDAH_REDRIVE_INVALID */
function rateOf(rate: number | null): number | null {
  if (rate === null || (rate > 0 && rate <= RATE_MAX)) return rate;
  throw new HowdahError('HOWDAH_REDRIVE_INVALID', `Rate ${String(rate)} is not valid.`, {
    details: { option: 'rate', value: rate },
    remedy: `Use more than 0 and at most ${RATE_MAX} jobs a second.`,
  });
}

function filterInvalid(key: string, problem: string): HowdahError {
  return new HowdahError('HOWDAH_FILTER_INVALID', `Filter key ${key} ${problem}.`, {
    details: { key },
    remedy: `Known are ${Object.keys(SQL_KEYS).join(', ')}.`,
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
