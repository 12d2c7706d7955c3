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

/** Looks at workers and stops them. */
export class Workers {
  readonly #database: Executor;
  readonly #stops;
  readonly #overview;

  /** @param changing runs what an open transaction may hold up */
  constructor(database: Database, changing: Executor) {
    this.#database = changing;
    this.#stops = stopCalls(database);
    this.#overview = overviewCalls(database);
  }

  async list(): Promise<WorkerInfo[]> {
    return (await this.#overview.workers()).map(infoOf);
  }

  drain(worker: string): Promise<readonly DrainedWorker[]> {
    return this.#stops.drain(this.#database, worker);
  }

  placePill(target: AnyQueue | string, mode: StopMode): Promise<string> {
    return this.#stops.place(this.#database, nameOf(target), mode);
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
