import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** `requested`: it runs, and its worker has been told. */
export type CancelOutcome = 'cancelled' | 'requested' | 'finished' | 'unknown';

/** `running`: it runs already. `dead`: it stays dead, because its own queue was deleted. */
export type RunNowOutcome = 'ready' | 'blocked' | 'running' | 'finished' | 'dead' | 'unknown';

/** What became of one job. */
export interface ControlRow<Outcome> {
  readonly id: string;
  readonly outcome: Outcome;
}

/** What became of one job that was to be cancelled. */
export interface CancelledRow extends ControlRow<CancelOutcome> {
  /** Why it is not cancelled, or not yet; null where it is. */
  readonly why: string | null;
}

/** What became of the jobs that a filter fits. */
export interface CancelCounts {
  /** Waited: they are cancelled. */
  readonly cancelled: number;
  /** Run: their workers have been told. */
  readonly requested: number;
  /** Fitted, but had begun or ended meanwhile; the first 100. */
  readonly refused: readonly {
    readonly id: string;
    readonly outcome: CancelOutcome | 'running';
    readonly why: string;
  }[];
  /** The limit was reached: there may be more. */
  readonly more: boolean;
}

/** What an operator does to jobs by id. */
interface ControlCalls {
  cancel(
    executor: Executor,
    ids: readonly string[],
    reason: string | null,
  ): Promise<CancelledRow[]>;
  /** @param filter a JSON object; see `_find_unfinished` */
  cancelJobs(
    executor: Executor,
    filter: string,
    reason: string | null,
    limit: number,
    isPreview: boolean,
  ): Promise<CancelCounts>;
  /**
   * @param changes a JSON object; see `edit_job`
   * @returns its state
   */
  edit(executor: Executor, id: string, changes: string): Promise<string>;
  runNow(executor: Executor, ids: readonly string[]): Promise<ControlRow<RunNowOutcome>[]>;
}

/** Prepares the statements of {@link ControlCalls}. */
export function controlCalls(database: Database): ControlCalls {
  const cancel = database.statement(
    'cancel',
    'select id, outcome, why from {{schema}}.cancel($1::bigint[], $2)',
  );
  const runNow = database.statement(
    'run_now',
    'select id, outcome from {{schema}}.run_now($1::bigint[])',
  );
  const cancelJobs = database.statement(
    'cancel_jobs',
    `select cancelled, requested, more, (
      select coalesce(jsonb_agg(e || jsonb_build_object('id', e ->> 'id')), '[]')
      from jsonb_array_elements(refused) e) as refused
    from {{schema}}.cancel_jobs($1::text::jsonb, $2, $3, $4)`,
  );
  const edit = database.statement(
    'edit_job',
    'select {{schema}}.edit_job($1::bigint, $2::text::jsonb) as state',
  );
  return {
    async cancelJobs(executor, filter, reason, limit, isPreview) {
      const rows = await executor.query<CancelCounts>(cancelJobs, [
        filter,
        reason,
        limit,
        isPreview,
      ]);
      return rows[0] as CancelCounts;
    },
    async edit(executor, id, changes) {
      const [row] = await executor.query<{ state: string }>(edit, [id, changes]);
      return row?.state ?? '';
    },
    cancel: (executor, ids, reason) => executor.query(cancel, [ids, reason]),
    runNow: (executor, ids) => executor.query(runNow, [ids]),
  };
}
