import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** Answer to a heartbeat. */
interface HeartbeatAnswer {
  /** False: the lease is gone and its jobs run elsewhere, or will. */
  readonly isAlive: boolean;
  /** One of its jobs has a cancel request. */
  readonly hasAttention: boolean;
}

/** Leases, the doorbell and cancel requests: what a worker says of itself. */
export interface LeaseCalls {
  /** @returns the lease id, a random 63-bit number as text */
  open(executor: Executor, worker: string, leaseMs: number, info: object): Promise<string>;
  heartbeat(executor: Executor, leaseId: string): Promise<HeartbeatAnswer>;
  /** Gives back what the lease still holds, attempts uncounted. @returns how many jobs */
  close(executor: Executor, leaseId: string): Promise<number>;
  /**
   * Gives back what the lease holds beyond these jobs, attempts uncounted: the reply to a claim was lost.
   * @returns false when the lease has ended
   */
  returnStrays(executor: Executor, leaseId: string, known: readonly string[]): Promise<boolean>;
  /**
   * Which claimed suspects have not begun, because others run that must not be beside them; null: they do.
   * @param company those that run, or are about to, beside others
   * @returns false when the lease has ended
   */
  setAside(
    executor: Executor,
    leaseId: string,
    ids: readonly string[] | null,
    company: readonly string[] | null,
  ): Promise<boolean>;
  /** From now on notify this lease of work in these queues, too. */
  sleep(executor: Executor, leaseId: string, queues: readonly string[]): Promise<void>;
  /** No more notifications of these queues, or of any: this worker looks by itself. */
  wake(executor: Executor, leaseId: string, queues?: readonly string[]): Promise<void>;
  /** Passes a wake-up on to another sleeper. */
  ring(executor: Executor, queue: string, exceptLeaseId: string): Promise<void>;
  /**
   * Sends a notification to this lease's own channel, to hear whether it arrives.
   * @returns false: nothing is sent, because the server's queue of notifications is half full
   */
  ringSelf(executor: Executor, leaseId: string, payload: string): Promise<boolean>;
  /** Which of these running jobs somebody asked to cancel. */
  cancelRequests(executor: Executor, leaseId: string, ids: readonly string[]): Promise<string[]>;
}

/** Name of the channel on which a lease is notified. */
export function channelOf(leaseId: string): string {
  return `howdah_${leaseId}`;
}

/** Prepares the statements of {@link LeaseCalls}. */
export function leaseCalls(database: Database): LeaseCalls {
  const open = database.statement(
    'open_lease',
    'select {{schema}}.open_lease($1, $2, $3::text::jsonb) as id',
  );
  const heartbeat = database.statement(
    'heartbeat',
    'select alive, attention from {{schema}}.heartbeat($1::bigint)',
  );
  const close = database.statement('close_lease', 'select {{schema}}.close_lease($1::bigint) as n');
  const strays = database.statement(
    'return_strays',
    'select {{schema}}.return_strays($1::bigint, $2::bigint[]) as n',
  );
  const aside = database.statement(
    'set_aside',
    'select {{schema}}.set_aside($1::bigint, $2::bigint[], $3::bigint[]) as alive',
  );
  const sleep = database.statement('sleep', 'select {{schema}}.sleep($1::bigint, $2::text[])');
  const wake = database.statement('wake', 'select {{schema}}.wake($1::bigint)');
  const stopRinging = database.statement(
    'stop_ringing',
    'select {{schema}}.stop_ringing($1::bigint, $2::text[])',
  );
  const ring = database.statement('ring', 'select {{schema}}.ring($1, 1, $2::bigint)');
  // as _notify_lease() does it
  const ringSelf = database.statement(
    'ring_self',
    'select pg_catalog.pg_notify($1, $2) where pg_catalog.pg_notification_queue_usage() < 0.5',
  );
  const requests = database.statement(
    'cancel_requests',
    'select {{schema}}.cancel_requests($1::bigint, $2::bigint[]) as id',
  );
  return {
    async open(executor, worker, leaseMs, info) {
      const values = [worker, leaseMs, JSON.stringify(info)];
      const [row] = await executor.query<{ id: string }>(open, values);
      return row?.id ?? '';
    },
    async heartbeat(executor, leaseId) {
      const [row] = await executor.query<{ alive: boolean; attention: boolean }>(heartbeat, [
        leaseId,
      ]);
      return { isAlive: row?.alive === true, hasAttention: row?.attention === true };
    },
    async close(executor, leaseId) {
      const [row] = await executor.query<{ n: number }>(close, [leaseId]);
      return row?.n ?? 0;
    },
    async returnStrays(executor, leaseId, known) {
      const [row] = await executor.query<{ n: number | null }>(strays, [leaseId, known]);
      return row?.n !== null && row?.n !== undefined;
    },
    async setAside(executor, leaseId, ids, company) {
      const [row] = await executor.query<{ alive: boolean }>(aside, [leaseId, ids, company]);
      return row?.alive === true;
    },
    async sleep(executor, leaseId, queues) {
      await executor.query(sleep, [leaseId, queues]);
    },
    async wake(executor, leaseId, queues) {
      if (queues) await executor.query(stopRinging, [leaseId, queues]);
      else await executor.query(wake, [leaseId]);
    },
    async ring(executor, queue, exceptLeaseId) {
      await executor.query(ring, [queue, exceptLeaseId]);
    },
    async ringSelf(executor, leaseId, payload) {
      const rows = await executor.query(ringSelf, [channelOf(leaseId), payload]);
      return rows.length > 0;
    },
    async cancelRequests(executor, leaseId, ids) {
      const rows = await executor.query<{ id: string }>(requests, [leaseId, ids]);
      return rows.map(({ id }) => id);
    },
  };
}
