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

/** What an operator does to jobs by id. */
export interface ControlCalls {
  cancel(
    executor: Executor,
    ids: readonly string[],
    reason: string | null,
  ): Promise<ControlRow<CancelOutcome>[]>;
  runNow(executor: Executor, ids: readonly string[]): Promise<ControlRow<RunNowOutcome>[]>;
}

/** Prepares the statements of {@link ControlCalls}. */
export function controlCalls(database: Database): ControlCalls {
  const cancel = database.statement(
    'cancel',
    'select id, outcome from {{schema}}.cancel($1::bigint[], $2)',
  );
  const runNow = database.statement(
    'run_now',
    'select id, outcome from {{schema}}.run_now($1::bigint[])',
  );
  return {
    cancel: (executor, ids, reason) => executor.query(cancel, [ids, reason]),
    runNow: (executor, ids) => executor.query(runNow, [ids]),
  };
}
