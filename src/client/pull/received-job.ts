import type { CodecPlace, Codecs } from '../../core/codec/codec.js';
import { encodeError } from '../../core/codec/error-codec.js';
import { type ErrorSnapshot, snapshotError } from '../../core/codec/error-snapshot.js';
import { HowdahError } from '../../core/errors.js';
import { type Job, priorityOf } from '../../core/job/job.js';
import type { Json } from '../../core/json.js';
import { givenOptions } from '../../core/option.js';
import { WAIT_MS_MAX } from '../../core/queue/queue-policy.js';
import { encodeResult } from '../../core/result.js';
import { textOf } from '../../core/shown-text.js';
import { type Duration, parseDuration } from '../../core/time/duration.js';
import type { PullCalls, ReceivedRow } from '../../db/calls/pull.js';
import { STOP_HEADER } from '../../db/calls/stop.js';
import type { PullSettler } from './pull-settler.js';
import { formatReceipt, type Hold } from './receipt.js';

/** Bounds of a visibility in milliseconds. */
export const VISIBILITY = { min: 100, max: 43_200_000 } as const;

/** How a failed attempt goes on. */
export interface FailOptions {
  /** Until the next attempt, in place of the queue's backoff. 0 to 10 years. */
  readonly delay?: Duration | undefined;
}

/**
 * The hold of one received job. Every call is fenced: it rejects with HOWDAH_SETTLE_STALE when the job is
 * no longer held, because its visibility ended or it is settled already, and has changed nothing then.
 */
export interface Receipt {
  /** The hold as text, for `client.receipt()` here or elsewhere. Another after `extend`. */
  readonly receipt: string;
  /** @param result any JSON value of at most 1 MiB, kept with the job */
  complete(result?: unknown): Promise<void>;
  /**
   * The attempt failed: the job runs again after its backoff, or is dead when it is out of attempts.
   * @returns `scheduled`, `ready`, `dead`, or `cancelled` where somebody had asked for that
   */
  fail(error: unknown, options?: FailOptions): Promise<string>;
  /** Later again; the attempt does not count. @param delay 0 to 10 years */
  snooze(delay: Duration): Promise<void>;
  /** Back at once, at the head of its lane; the attempt does not count. */
  release(): Promise<void>;
  /**
   * To its dead-letter queue, whatever attempts are left.
   * @param reason an error, which is kept with its stack, or text, or any value of which text is made
   */
  deadLetter(reason?: unknown): Promise<void>;
  /**
   * The visibility ends this long from now, 100 ms to 12 hours.
   * @returns when it ends, by the clock of the database
   * @throws HowdahError HOWDAH_LEASE_LOST when it has ended, HOWDAH_SETTLE_STALE
   */
  extend(visibility: Duration): Promise<Date>;
}

/** A job that `receive` gave out. The payload is as it was stored. */
export interface ReceivedJob extends Job<Json>, Receipt {
  /** When it runs again unless it is settled or extended before, by the clock of the database. */
  readonly visibleAt: Date;
  /**
   * A poison pill rather than work: `complete()` it and end. With one that was meant for all workers, that
   * tells them, too.
   */
  readonly isStop: boolean;
}

/** What a receipt works with. */
export interface ReceiptParts {
  readonly extend: (hold: Hold, visibilityMs: number) => ReturnType<PullCalls['extend']>;
  readonly settler: PullSettler;
  readonly codecs: Codecs | undefined;
  /** Told of each settlement, after its commit. */
  readonly onSettled: (hold: Hold, outcome: string) => void;
  /** Settles a poison pill. */
  readonly obey: (hold: Hold) => Promise<unknown>;
}

/** The calls of one hold. */
export class HeldReceipt implements Receipt {
  readonly #parts: ReceiptParts;
  readonly #headers: Readonly<Record<string, Json>> | undefined;
  #hold: Hold;

  /** @param headers of the job, decoded, where they are known */
  constructor(hold: Hold, parts: ReceiptParts, headers?: Readonly<Record<string, Json>>) {
    this.#hold = hold;
    this.#parts = parts;
    this.#headers = headers;
  }

  get receipt(): string {
    return formatReceipt(this.#hold);
  }

  async complete(result?: unknown): Promise<void> {
    if (result === undefined) {
      await this.#settle('"outcome":"complete"');
      return;
    }
    const { codecs } = this.#parts;
    const text = encodeResult(result);
    const stored = codecs ? codecs.encode('result', text, this.#place) : text;
    await this.#settle(`"outcome":"complete","result":${stored}`);
  }

  async fail(error: unknown, options: FailOptions = {}): Promise<string> {
    const { delay } = givenOptions('options', options, { delay: true });
    const delayMs =
      delay === undefined ? undefined : parseDuration(delay, 'delay', { max: WAIT_MS_MAX });
    const ask = { outcome: 'fail', error: this.#errorOf(snapshotError(error)), delay_ms: delayMs };
    return this.#settle(JSON.stringify(ask).slice(1, -1));
  }

  async snooze(delay: Duration): Promise<void> {
    const delayMs = parseDuration(delay, 'delay', { max: WAIT_MS_MAX });
    await this.#settle(`"outcome":"snooze","delay_ms":${delayMs}`);
  }

  async release(): Promise<void> {
    await this.#settle('"outcome":"release"');
  }

  async deadLetter(reason: unknown = 'dead-lettered by its consumer'): Promise<void> {
    const isError = reason instanceof Error;
    const error = snapshotError(isError ? reason : new Error(textOf(reason)), { stack: isError });
    const ask = {
      outcome: 'dead_letter',
      error: this.#errorOf(error),
      reason: textOf(error.message),
    };
    await this.#settle(JSON.stringify(ask).slice(1, -1));
  }

  async extend(visibility: Duration): Promise<Date> {
    const ms = parseDuration(visibility, 'visibility', VISIBILITY);
    const { id, claims } = this.#hold;
    const row = await this.#parts.extend(this.#hold, ms);
    this.#hold = { leaseId: row.lease_id, id, claims, queue: this.#hold.queue };
    return row.visible_at;
  }

  /** @returns null when the job is no pill */
  protected obey(): Promise<unknown> {
    return this.#parts.obey(this.#hold);
  }

  #errorOf(error: ErrorSnapshot): object {
    const { codecs } = this.#parts;
    return codecs ? encodeError(codecs, error, this.#place) : error;
  }

  /** @throws HowdahError HOWDAH_OPTION_INVALID for a receipt that names no queue */
  get #place(): CodecPlace {
    const { id, queue } = this.#hold;
    if (queue !== undefined) return { queue, jobId: id, headers: this.#headers };
    throw new HowdahError(
      'HOWDAH_OPTION_INVALID',
      'The receipt names no queue, which a codec needs.',
      {
        details: { option: 'receipt' },
        remedy: 'Receive the job by a client that has a codec, too.',
      },
    );
  }

  async #settle(more: string): Promise<string> {
    const hold = this.#hold;
    const outcome = await this.#parts.settler.settle(hold, more);
    this.#parts.onSettled(hold, outcome);
    return outcome;
  }
}

/** A received job: its facts, with the calls of its hold. */
export class HeldJob extends HeldReceipt implements ReceivedJob {
  readonly id: string;
  readonly queue: string;
  readonly payload: Json;
  readonly headers: Readonly<Record<string, Json>>;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly priority: number;
  readonly enqueuedAt: Date;
  readonly group: string | null;
  readonly errors: ReceivedJob['errors'];
  visibleAt: Date;
  readonly isStop: boolean;

  /** @param row decoded */
  constructor(row: ReceivedRow, queue: string, parts: ReceiptParts) {
    super({ ...holdOf(row), queue: parts.codecs && queue }, parts, row.headers ?? {});
    this.id = row.id;
    this.queue = queue;
    this.payload = row.payload;
    this.headers = row.headers ?? {};
    this.attempt = row.attempt - row.uncounted;
    this.maxAttempts = row.max_attempts;
    this.priority = priorityOf(row.lane);
    this.enqueuedAt = row.enqueued_at;
    this.group = row.group_key;
    this.errors = row.errors ?? [];
    this.visibleAt = row.visible_at;
    this.isStop = STOP_HEADER in this.headers;
  }

  override async complete(result?: unknown): Promise<void> {
    if (this.isStop && (await this.obey()) !== null) return;
    await super.complete(result);
  }

  override async extend(visibility: Duration): Promise<Date> {
    this.visibleAt = await super.extend(visibility);
    return this.visibleAt;
  }
}

/** The fence of a received row. */
export function holdOf(row: ReceivedRow): Hold {
  return { leaseId: row.lease_id, id: row.id, claims: row.attempt };
}
