import { systemClock } from '../../core/clock.js';
import { givenOptions, type KnownKeys } from '../../core/option.js';
import { type AnyQueue, nameOf, namesOf, toPolicy } from '../../core/queue/queue.js';
import { encodePolicy, type QueuePolicy, WAIT_MS_MAX } from '../../core/queue/queue-policy.js';
import { type Duration, parseDuration } from '../../core/time/duration.js';
import { inspectCalls } from '../../db/calls/inspect.js';
import { queueCalls } from '../../db/calls/queues.js';
import type { Database } from '../../db/database.js';
import type { Executor } from '../../db/executor.js';
import type { QueueStatsView } from '../../db/tables.js';
import {
  type DrainQueueOptions,
  drainQueue,
  encodePause,
  type PauseOptions,
} from './queue-control.js';

/** How a queue stands. Read from counters: it costs the same however many jobs there are. */
export interface QueueStats {
  readonly queue: string;
  readonly ready: number;
  readonly scheduled: number;
  /** Jobs that wait for their turn in their group. */
  readonly blocked: number;
  readonly running: number;
  /** Dead jobs that lie in this queue. */
  readonly dead: number;
  readonly enqueued: number;
  readonly completed: number;
  readonly failedAttempts: number;
  /** Jobs of this queue that died. */
  readonly buried: number;
  readonly cancelled: number;
  readonly expired: number;
  readonly discarded: number;
  /** How long the first ready job has waited, in milliseconds; null where none is ready. */
  readonly backlogAgeMs: number | null;
  readonly paused: boolean;
  readonly pausedReason: string | null;
  /** When the pause ends by itself; null: by hand. */
  readonly pausedUntil: Date | null;
  /** Until when nothing is claimed, because a handler was told to come again later. */
  readonly limitedUntil: Date | null;
  readonly limitedReason: string | null;
  /** State of the circuit breaker; null where the queue has none. */
  readonly circuit: 'closed' | 'open' | 'half-open' | null;
  /** When a single job tries; null while it is not open, or until it is closed by hand. */
  readonly circuitUntil: Date | null;
  readonly circuitReason: string | null;
  /** Closed to new jobs. */
  readonly closed: boolean;
  readonly closedReason: string | null;
  /** Bound of ready and scheduled jobs; null: none. */
  readonly maxDepth: number | null;
  /** Bound of the bytes of their payloads; null: none. */
  readonly maxBytes: number | null;
  /** Bytes of payloads that wait, counted only where there is a bound. */
  readonly waitingBytes: number | null;
}

/** How to delete a queue. */
export interface DeleteQueueOptions {
  /** Also its waiting jobs, which are recorded as discarded. Default false: a queue with jobs stays. */
  readonly force?: boolean | undefined;
}

const DELETE: KnownKeys<DeleteQueueOptions> = { force: true };

const DRAIN: KnownKeys<DrainQueueOptions> = { timeout: true, signal: true, onProgress: true };

/** `client.queues`: makes queues, changes, pauses, closes and drains them, says how they stand. */
export class Queues {
  readonly #database: Executor;
  readonly #calls;
  readonly #inspect;

  /** Made by the client. @param changing runs what an open transaction may hold up */
  constructor(database: Database, changing: Executor = database) {
    this.#database = changing;
    this.#calls = queueCalls(database);
    this.#inspect = inspectCalls(database);
  }

  /**
   * Creates a queue, or applies the policy keys that are given to the one that is there.
   * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID, HOWDAH_OPTION_INVALID, HOWDAH_QUEUE_UNKNOWN (its
   *   dead-letter queue)
   */
  async create(queue: AnyQueue | string, policy?: QueuePolicy): Promise<void> {
    nameOf(queue);
    if (typeof queue !== 'string' && queue.deadLetterQueue) {
      await this.create(queue.deadLetterQueue);
    }
    const declared = typeof queue === 'string' ? {} : toPolicy(queue);
    const encoded = { ...declared, ...encodePolicy(policy ?? {}) };
    await this.#calls.create(this.#database, nameOf(queue), encoded);
  }

  /** Applies the policy keys that are given. @throws HowdahError HOWDAH_QUEUE_UNKNOWN, ... */
  async alter(queue: AnyQueue | string, policy: QueuePolicy): Promise<void> {
    await this.#calls.alter(this.#database, nameOf(queue), encodePolicy(policy));
  }

  /**
   * Deletes a queue without jobs; with `force` also its waiting jobs, which are recorded as discarded.
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_QUEUE_NOT_EMPTY
   */
  async delete(queue: AnyQueue | string, options: DeleteQueueOptions = {}): Promise<void> {
    const { force = false } = givenOptions('options', options, DELETE);
    await this.#calls.delete(this.#database, nameOf(queue), force);
  }

  /**
   * Workers claim no more from it; what runs goes on. With `until` or `for` it resumes by itself, on
   * the clock of the database. A name may have a `*`, which stands for any text: `'mail.*'` pauses that
   * kind of queues, `'*'` all that there are. Resume, close and open know it too.
   * @returns the names of the queues
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_HOLD_INVALID (a time that is past)
   */
  async pause(queue: AnyQueue | string, options?: string | PauseOptions): Promise<string[]> {
    const { reason, until, forMs } = encodePause(options);
    return this.#calls.pause(this.#database, namesOf(queue), reason, until, forMs);
  }

  /** @returns the names of the queues @throws HowdahError HOWDAH_QUEUE_UNKNOWN */
  async resume(queue: AnyQueue | string): Promise<string[]> {
    return this.#calls.resume(this.#database, namesOf(queue));
  }

  /**
   * Closed to new jobs: enqueues are refused with HOWDAH_QUEUE_CLOSED; what is there goes on.
   * Closing it twice is fine. @returns the names of the queues @throws HowdahError HOWDAH_QUEUE_UNKNOWN
   */
  async close(queue: AnyQueue | string, reason?: string): Promise<string[]> {
    return this.#calls.close(this.#database, namesOf(queue), reason ?? null);
  }

  /** Takes new jobs again. @returns the names of the queues @throws HowdahError HOWDAH_QUEUE_UNKNOWN */
  async open(queue: AnyQueue | string): Promise<string[]> {
    return this.#calls.open(this.#database, namesOf(queue));
  }

  /**
   * Waits until nothing of it is ready or running; closes and pauses nothing by itself. Scheduled jobs
   * are not waited for.
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_TIMEOUT (`details` say what is left); the reason
   *   of the signal
   */
  async drain(queue: AnyQueue | string, options: DrainQueueOptions = {}): Promise<void> {
    const name = nameOf(queue);
    const look = async () => (await this.stats(name))[0];
    await drainQueue(name, look, givenOptions('options', options, DRAIN), systemClock);
  }

  /** As `rateLimited()` from a handler: nothing is claimed for so long. 0 to 10 years. */
  async limit(queue: AnyQueue | string, wait: Duration, reason?: string): Promise<void> {
    const ms = parseDuration(wait, 'retryAfter', { min: 0, max: WAIT_MS_MAX });
    await this.#calls.limit(this.#database, nameOf(queue), ms, reason ?? null);
  }

  /**
   * Opens the circuit of a queue until it is closed by hand. Without it the circuit breaker moves by
   * itself. @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_CIRCUIT_INVALID (it has no breaker)
   */
  async openCircuit(queue: AnyQueue | string, reason?: string): Promise<void> {
    await this.#calls.setCircuit(this.#database, nameOf(queue), 'open', reason ?? null);
  }

  /** Closes it, whatever its state. @throws HowdahError as `openCircuit` */
  async closeCircuit(queue: AnyQueue | string): Promise<void> {
    await this.#calls.setCircuit(this.#database, nameOf(queue), 'closed', null);
  }

  /** How all queues stand, or the one that is named (none where it does not exist). */
  async stats(queue?: AnyQueue | string): Promise<readonly QueueStats[]> {
    const rows = await this.#inspect.queueStats(queue === undefined ? undefined : nameOf(queue));
    return rows.map(statsOf);
  }
}

function statsOf(row: QueueStatsView): QueueStats {
  return {
    queue: row.queue,
    ready: Number(row.ready),
    scheduled: Number(row.scheduled),
    blocked: Number(row.blocked),
    running: Number(row.running),
    dead: Number(row.dead),
    enqueued: Number(row.enqueued),
    completed: Number(row.completed),
    failedAttempts: Number(row.failed_attempts),
    buried: Number(row.buried),
    cancelled: Number(row.cancelled),
    expired: Number(row.expired),
    discarded: Number(row.discarded),
    backlogAgeMs: row.backlog_age_ms === null ? null : Number(row.backlog_age_ms),
    paused: row.paused,
    pausedReason: row.paused_reason,
    pausedUntil: row.paused_until,
    limitedUntil: row.limited_until,
    limitedReason: row.limited_reason,
    circuit: row.circuit,
    circuitUntil: row.circuit_until,
    circuitReason: row.circuit_reason,
    closed: row.closed,
    closedReason: row.closed_reason,
    maxDepth: row.max_depth,
    maxBytes: row.max_bytes === null ? null : Number(row.max_bytes),
    waitingBytes: row.waiting_bytes === null ? null : Number(row.waiting_bytes),
  };
}
