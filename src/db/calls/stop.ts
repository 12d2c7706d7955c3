import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** Header of a job that may be a poison pill; only the database knows whether it is. */
export const STOP_HEADER = 'howdah-stop';

/** `stop`: drain and end. `ignored`: it is settled and meant others. Null: an ordinary job. */
export type StopAnswer = 'stop' | 'ignored' | null;

/** A worker that was told to drain. */
export interface DrainedWorker {
  readonly leaseId: string;
  readonly worker: string;
}

/** Stopping consumers from outside, and how they learn of it. */
export interface StopCalls {
  /** @returns id of the pill @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_STOP_INVALID */
  place(executor: Executor, queue: string, mode: string): Promise<string>;
  /** @throws HowdahError HOWDAH_WORKER_UNKNOWN */
  drain(executor: Executor, worker: string): Promise<DrainedWorker[]>;
  /** Asks of a claimed job with {@link STOP_HEADER}, and settles it if it is a pill. */
  obey(executor: Executor, leaseId: string, id: string, claims: number): Promise<StopAnswer>;
  /** Why this worker is to drain; null: it is not. */
  order(executor: Executor, leaseId: string): Promise<string | null>;
}

/** The calls of {@link StopCalls}; they are rare, so their statements are not prepared. */
export function stopCalls(database: Database): StopCalls {
  const place = { text: database.sql('select {{schema}}.stop_consumers($1, $2) as id') };
  const drain = {
    text: database.sql('select lease_id as "leaseId", worker from {{schema}}.drain_worker($1)'),
  };
  const obey = {
    text: database.sql('select {{schema}}.obey_stop($1::bigint, $2::bigint, $3) as answer'),
  };
  const order = { text: database.sql('select {{schema}}.drain_order($1::bigint) as reason') };
  return {
    async place(executor, queue, mode) {
      const [row] = await executor.query<{ id: string }>(place, [queue, mode]);
      return row?.id ?? '';
    },
    drain: (executor, worker) => executor.query(drain, [worker]),
    async obey(executor, leaseId, id, claims) {
      const rows = await executor.query<{ answer: StopAnswer }>(obey, [leaseId, id, claims]);
      return rows[0]?.answer ?? null;
    },
    async order(executor, leaseId) {
      const [row] = await executor.query<{ reason: string | null }>(order, [leaseId]);
      return row?.reason ?? null;
    },
  };
}
