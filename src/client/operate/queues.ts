import { systemClock } from '../../core/clock.js';
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

/** Makes queues, changes them, says how they stand. */
export class Queues {
  readonly #database: Executor;
  readonly #calls;
  readonly #inspect;

  /** @param changing runs what an open transaction may hold up */
  constructor(database: Database, changing: Executor = database) {
    this.#database = changing;
    this.#calls = queueCalls(database);
    this.#inspect = inspectCalls(database);
  }

  async create(target: AnyQueue | string, policy: QueuePolicy | undefined): Promise<void> {
    nameOf(target);
    if (typeof target !== 'string' && target.deadLetterQueue) {
      await this.create(target.deadLetterQueue, undefined);
    }
    const declared = typeof target === 'string' ? {} : toPolicy(target);
    const encoded = { ...declared, ...encodePolicy(policy ?? {}) };
    await this.#calls.create(this.#database, nameOf(target), encoded);
  }

  async alter(target: AnyQueue | string, policy: QueuePolicy): Promise<void> {
    await this.#calls.alter(this.#database, nameOf(target), encodePolicy(policy));
  }

  async delete(target: AnyQueue | string, isForced: boolean): Promise<void> {
    await this.#calls.delete(this.#database, nameOf(target), isForced);
  }

  async pause(
    target: AnyQueue | string,
    given: string | PauseOptions | undefined,
  ): Promise<string[]> {
    const { reason, until, forMs } = encodePause(given);
    return this.#calls.pause(this.#database, namesOf(target), reason, until, forMs);
  }

  async limit(target: AnyQueue | string, wait: Duration, reason?: string): Promise<void> {
    const ms = parseDuration(wait, 'retryAfter', { min: 0, max: WAIT_MS_MAX });
    await this.#calls.limit(this.#database, nameOf(target), ms, reason ?? null);
  }

  async setCircuit(
    target: AnyQueue | string,
    state: 'open' | 'closed',
    reason: string | undefined,
  ): Promise<void> {
    await this.#calls.setCircuit(this.#database, nameOf(target), state, reason ?? null);
  }

  async drain(target: AnyQueue | string, options: DrainQueueOptions): Promise<void> {
    const queue = nameOf(target);
    await drainQueue(queue, async () => (await this.stats(queue))[0], options, systemClock);
  }

  async resume(target: AnyQueue | string): Promise<string[]> {
    return this.#calls.resume(this.#database, namesOf(target));
  }

  async close(target: AnyQueue | string, reason: string | undefined): Promise<string[]> {
    return this.#calls.close(this.#database, namesOf(target), reason ?? null);
  }

  async open(target: AnyQueue | string): Promise<string[]> {
    return this.#calls.open(this.#database, namesOf(target));
  }

  async stats(target: AnyQueue | string | undefined): Promise<QueueStats[]> {
    const rows = await this.#inspect.queueStats(target === undefined ? undefined : nameOf(target));
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
