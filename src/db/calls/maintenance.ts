import type { Database } from '../database.js';
import type { Executor, Statement } from '../executor.js';

/** What one round of promotion did. */
interface Promotion {
  readonly promoted: number;
  /** Milliseconds until the next job is due; null when none waits. */
  readonly nextMs: number | null;
  /** Where the next round may begin, opaque. */
  readonly mark: string;
}

/** What one round of reaping did. */
interface Reaping {
  readonly leases: number;
  readonly requeued: number;
  readonly dead: number;
}

/** What one round of housekeeping did. */
interface Pruning {
  readonly created: number;
  readonly dropped: number;
  /** Rows of the default partition of the history. */
  readonly cleared: number;
  /** What could not be done, and why. */
  readonly problems: readonly string[] | null;
}

/** An election that was won. */
export interface Election {
  /** The number of the term. */
  readonly term: string;
  /** Nobody led for so long that living workers may have missed their heartbeats. */
  readonly hadGap: boolean;
  /** Of the duties that were asked for: which have something to do, and in how many milliseconds. */
  readonly due?: readonly (readonly [duty: string, inMs: number])[] | null;
}

/** Which duties rest, so that an election is to tell whether they have something to do. */
export interface RestingDuties {
  readonly names: readonly string[];
  /** A mark of `rollUp`, or `0`. */
  readonly rolled: string;
}

/** Duties of the leader. Each is bounded by `limit` and safe to run twice and at two places at once. */
export interface MaintenanceCalls {
  /**
   * Leads, or goes on leading, for `termMs`; tells what these duties have to do.
   * @returns undefined where another leads
   */
  lead(
    executor: Executor,
    leaseId: string,
    termMs: number,
    resting?: RestingDuties,
  ): Promise<Election | undefined>;
  resign(executor: Executor, leaseId: string): Promise<void>;
  /** Scheduled jobs that are due become ready. @param after a mark, or `-infinity` for all */
  promote(executor: Executor, limit: number, after: string): Promise<Promotion>;
  /** Jobs of expired leases run again, or are dead-lettered. */
  reap(executor: Executor, limit: number): Promise<Reaping>;
  /** Ready jobs that were committed behind every cursor are found. @returns how many */
  sweep(executor: Executor, limit: number): Promise<number>;
  /** Waiting jobs whose TTL is over end as expired. @returns how many */
  expire(executor: Executor, limit: number): Promise<number>;
  /** Folds counters. @param after a mark, or `0` for all */
  rollUp(
    executor: Executor,
    limit: number,
    after: string,
  ): Promise<{ readonly rolled: number; readonly mark: string }>;
  /** Pauses and waits of queues that are over end; priorities age; groups that may run more open. */
  tend(
    executor: Executor,
    limit: number,
  ): Promise<{ readonly freed: number; readonly aged: number; readonly opened: number }>;
  /** Running jobs whose lease was lost are left to `reap`. @param after a mark, or `0` for the first */
  findOrphans(
    executor: Executor,
    after: string,
    limit: number,
  ): Promise<{ readonly looked: number; readonly orphans: number; readonly mark: string }>;
  /** Finishes batches whose jobs have ended, and forgets old ones. */
  foldBatches(
    executor: Executor,
    limit: number,
  ): Promise<{ readonly folded: number; readonly finished: number; readonly hasMore: boolean }>;
  /** Sequences and rows that a restore left behind are mended. @returns what was */
  mend(executor: Executor): Promise<readonly string[]>;
  /** Creates and drops partitions of the history. */
  prune(executor: Executor): Promise<Pruning>;
}

/**
 * Beside a call, lets its commit not wait for the disk, for this one statement: what a crash of the
 * server undoes is done again, and delayed jobs need not wait. It is asked for by name so that the
 * planner cannot leave it out.
 */
export const ASYNC_COMMIT = `(select set_config('synchronous_commit', 'off', true)) c (commit_mode)`;

/** Prepares the statements of {@link MaintenanceCalls}. */
export function maintenanceCalls(database: Database): MaintenanceCalls {
  const lead = database.statement(
    'lead',
    `select term, had_gap as "hadGap", commit_mode
    from {{schema}}.lead($1::bigint, $2), ${ASYNC_COMMIT}`,
  );
  // in the list of columns: where another leads nothing is looked at
  const leadAndLook = database.statement(
    'lead_and_look',
    `select term, had_gap as "hadGap", commit_mode, (
      select json_agg(json_build_array(d.duty, d.in_ms))
      from {{schema}}.upkeep_due($3::text[], $4::bigint) d) as due
    from {{schema}}.lead($1::bigint, $2), ${ASYNC_COMMIT}`,
  );
  const resign = database.statement('resign', 'select {{schema}}.resign($1::bigint)');
  const promote = database.statement(
    'promote',
    `select promoted, next_ms::numeric as "nextMs", case when isfinite(mark)
      then to_char(mark at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"') else '-infinity' end as mark, commit_mode
    from {{schema}}.promote($1, $2::text::timestamptz), ${ASYNC_COMMIT}`,
  );
  const reap = database.statement('reap', 'select leases, requeued, dead from {{schema}}.reap($1)');
  const sweep = database.statement(
    'sweep',
    `select n, commit_mode from {{schema}}.sweep($1) n, ${ASYNC_COMMIT}`,
  );
  const expire = database.statement(
    'expire',
    `select n, commit_mode from {{schema}}.expire($1) n, ${ASYNC_COMMIT}`,
  );
  const rollUp = database.statement(
    'roll_up',
    `select rolled, mark, commit_mode from {{schema}}.roll_up($1, $2::bigint), ${ASYNC_COMMIT}`,
  );
  const tend = database.statement(
    'tend',
    `select freed, aged, opened, commit_mode from {{schema}}.tend_queues($1), ${ASYNC_COMMIT}`,
  );
  const findOrphans = database.statement(
    'find_orphans',
    'select looked, orphans, mark from {{schema}}.find_orphans($1::bigint, $2)',
  );
  // waits for the disk: what follows a batch must not be lost
  const foldBatches = database.statement(
    'fold_batches',
    'select folded, finished, has_more as "hasMore" from {{schema}}.fold_batches($1)',
  );
  const prune = database.statement(
    'prune',
    `select created, dropped, cleared, to_json(problems) as problems from {{schema}}.prune()`,
  );
  const mend = database.statement('mend', 'select to_json({{schema}}.mend()) as mended');
  return {
    mend: async (executor) => (await one<{ mended: string[] }>(executor, mend, [])).mended,
    async lead(executor, leaseId, termMs, resting) {
      const [election] = await (resting
        ? executor.query<Election>(leadAndLook, [leaseId, termMs, resting.names, resting.rolled])
        : executor.query<Election>(lead, [leaseId, termMs]));
      return election;
    },
    async resign(executor, leaseId) {
      await executor.query(resign, [leaseId]);
    },
    promote: (executor, limit, after) => one(executor, promote, [limit, after]),
    reap: (executor, limit) => one(executor, reap, [limit]),
    sweep: async (executor, limit) => (await one<{ n: number }>(executor, sweep, [limit])).n,
    expire: async (executor, limit) => (await one<{ n: number }>(executor, expire, [limit])).n,
    rollUp: (executor, limit, after) => one(executor, rollUp, [limit, after]),
    async tend(executor, limit) {
      const { freed, aged, opened } = await one<{ freed: number; aged: number; opened: number }>(
        executor,
        tend,
        [limit],
      );
      return { freed, aged, opened };
    },
    findOrphans: (executor, after, limit) => one(executor, findOrphans, [after, limit]),
    foldBatches: (executor, limit) => one(executor, foldBatches, [limit]),
    prune: (executor) => one(executor, prune, []),
  };
}

/** Functions that return one row, always. */
async function one<R extends object>(
  executor: Executor,
  statement: Statement,
  values: readonly unknown[],
): Promise<R> {
  const [row] = await executor.query<R>(statement, values);
  return row as R;
}
