import { type AnyQueue, nameOf, toPolicy } from '../core/queue.js';
import { encodePolicy, type QueuePolicy } from '../core/queue-policy.js';
import { inspectCalls } from '../db/calls/inspect.js';
import { queueCalls } from '../db/calls/queues.js';
import type { Database } from '../db/database.js';
import type { QueueStatsView } from '../db/tables.js';

/** How a queue stands. Read from counters: it costs the same however many jobs there are. */
export interface QueueStats {
  readonly queue: string;
  readonly ready: number;
  readonly scheduled: number;
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
  readonly #database: Database;
  readonly #calls;
  readonly #inspect;

  constructor(database: Database) {
    this.#database = database;
    this.#calls = queueCalls(database);
    this.#inspect = inspectCalls(database);
  }

  async create(target: AnyQueue | string, policy: QueuePolicy | undefined): Promise<void> {
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

  async pause(target: AnyQueue | string, reason: string | undefined): Promise<void> {
    await this.#calls.pause(this.#database, nameOf(target), reason ?? null);
  }

  async resume(target: AnyQueue | string): Promise<void> {
    await this.#calls.resume(this.#database, nameOf(target));
  }

  async close(target: AnyQueue | string, reason: string | undefined): Promise<void> {
    await this.#calls.close(this.#database, nameOf(target), reason ?? null);
  }

  async open(target: AnyQueue | string): Promise<void> {
    await this.#calls.open(this.#database, nameOf(target));
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
    closed: row.closed,
    closedReason: row.closed_reason,
    maxDepth: row.max_depth,
    maxBytes: row.max_bytes === null ? null : Number(row.max_bytes),
    waitingBytes: row.waiting_bytes === null ? null : Number(row.waiting_bytes),
  };
}
