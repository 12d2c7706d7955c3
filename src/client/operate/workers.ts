import { givenOptions, type KnownKeys } from '../../core/option.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import { overviewCalls } from '../../db/calls/overview.js';
import { type DrainedWorker, stopCalls } from '../../db/calls/stop.js';
import type { Database } from '../../db/database.js';
import type { Executor } from '../../db/executor.js';
import type { WorkersView } from '../../db/tables.js';

/** A worker process as the database knows it. */
export interface WorkerInfo {
  readonly leaseId: string;
  readonly worker: string;
  /** False: its lease has expired, and its jobs will be given back. */
  readonly alive: boolean;
  /** Runs maintenance. */
  readonly leads: boolean;
  /** Was told to finish what it holds and end. */
  readonly draining: boolean;
  readonly queues: readonly string[];
  readonly openedAt: Date;
  readonly expiresAt: Date;
}

/** Whom a poison pill stops: whoever meets it, or all workers of the queue. */
export type StopMode = 'one' | 'all';

/** How to stop the workers of a queue. */
export interface StopConsumersOptions {
  /** Default `one`. */
  readonly mode?: StopMode | undefined;
}

const STOP: KnownKeys<StopConsumersOptions> = { mode: true };

/** `client.workers`: looks at workers and stops them. */
export class Workers {
  readonly #database: Executor;
  readonly #stops;
  readonly #overview;

  /** Made by the client. @param changing runs what an open transaction may hold up */
  constructor(database: Database, changing: Executor) {
    this.#database = changing;
    this.#stops = stopCalls(database);
    this.#overview = overviewCalls(database);
  }

  /** Every worker that has a lease, the oldest first. */
  async list(): Promise<readonly WorkerInfo[]> {
    return (await this.#overview.workers()).map(infoOf);
  }

  /**
   * Tells workers to claim no more, finish what they hold and end.
   * @param worker a name, which several may have, or a lease id
   * @throws HowdahError HOWDAH_WORKER_UNKNOWN
   */
  async drain(worker: string): Promise<readonly DrainedWorker[]> {
    return this.#stops.drain(this.#database, worker);
  }

  /**
   * Places a poison pill behind everything that is ready in this queue. The worker that meets it finishes what
   * came before, and ends: that one, or with `all` every worker of the queue that was there when
   * it was placed. In a paused queue it waits until that is resumed.
   * @returns its id; until it is met it can be cancelled like a job
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_STOP_INVALID
   */
  async stopConsumers(
    queue: AnyQueue | string,
    options: StopConsumersOptions = {},
  ): Promise<string> {
    const { mode = 'one' } = givenOptions('options', options, STOP);
    return this.#stops.place(this.#database, nameOf(queue), mode);
  }
}

function infoOf(row: WorkersView): WorkerInfo {
  const { queues } = (row.info ?? {}) as { queues?: readonly string[] };
  return {
    leaseId: row.lease_id,
    worker: row.worker,
    alive: row.alive,
    leads: row.leads,
    draining: row.draining,
    queues: queues ?? [],
    openedAt: row.opened_at,
    expiresAt: row.expires_at,
  };
}
