import type { SettleVerb } from '../../core/job/outcome.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** What became of a settled job. `stale`: it is no longer held by that lease and attempt. */
export type SettleOutcome =
  | 'completed'
  | 'scheduled'
  | 'ready'
  | 'dead'
  | 'cancelled'
  | 'expired'
  | 'stale';

/** One entry of a `settle` call, as the SQL function takes it. */
export interface SettleAsk {
  readonly id: string;
  readonly attempt: number;
  readonly outcome: SettleVerb;
  readonly error?: object;
  readonly delay_ms?: number;
  readonly reason?: string;
  /** Transaction in which the asker has completed it: `completed` if that was committed, else `stale`. */
  readonly xact?: string;
  /** When that was, in microseconds since 1970: whoever ended it later ended another attempt. */
  readonly xact_at?: string;
}

/** id, outcome, Unix time in milliseconds when it runs again (null: not, or at once). */
export type SettledRow = readonly [id: string, outcome: SettleOutcome, runAtMs: number | null];

/** Ways to end attempts; all are fenced by job, lease and attempt. */
export interface SettleCalls {
  /**
   * The hot path: successes of one lease.
   * @param results JSON object by job id, or null when none has a result
   * @returns the ids that were stale
   */
  complete(
    executor: Executor,
    leaseId: string,
    ids: readonly string[],
    claims: readonly number[],
    results: string | null,
  ): Promise<string[]>;
  /**
   * Success of a member of a group behind which a follower waits. What it changes is not on the disk
   * at once, but with the next settle of its turn.
   * @param result JSON text
   * @returns false: it was stale
   */
  completeLed(
    executor: Executor,
    leaseId: string,
    id: string,
    claims: number,
    result: string | null,
  ): Promise<boolean>;
  /** Any outcomes of one lease. @param asks JSON array of {@link SettleAsk} */
  settle(executor: Executor, leaseId: string, asks: string): Promise<SettledRow[]>;
  /**
   * Leaves what an open transaction has for when the lease is given back. Waits for nobody.
   * @param asks JSON array of {@link SettleAsk}, 10,000 at most
   * @returns how many were taken: none, where the lease has ended
   */
  leave(executor: Executor, leaseId: string, asks: string): Promise<number>;
  /** Which of these jobs somebody's open transaction has, now. Waits for nobody. */
  held(executor: Executor, ids: readonly string[]): Promise<string[]>;
  /**
   * SQL that completes jobs with one text parameter, so that it runs in any driver's transaction:
   * `{"lease": ..., "jobs": [...]}`. A stale job raises HW021, which makes the transaction fail. Each
   * row has the id of the transaction, `xact`, and when that was, `xact_at` (see {@link SettleAsk}).
   */
  readonly completeInText: string;
}

/** Prepares the statements of {@link SettleCalls}. */
export function settleCalls(database: Database): SettleCalls {
  const complete = database.statement(
    'complete',
    `select * from {{schema}}.complete_many($1::bigint, $2::bigint[], $3::integer[], $4::text::jsonb,
      {{schema}}.has_exponent($4::text))`,
    'array',
  );
  const completeLed = database.statement(
    'complete-led',
    'select {{schema}}.complete_led($1::bigint, $2::bigint, $3, $4::text::jsonb)',
    'array',
  );
  const settle = database.statement(
    'settle',
    `select id, outcome, extract(epoch from run_at) * 1000
    from {{schema}}.settle($1::bigint, $2::text::jsonb)`,
    'array',
  );
  const leave = database.statement(
    'leave_settles',
    'select {{schema}}.leave_settles($1::bigint, $2::text::jsonb)',
    'array',
  );
  const held = database.statement(
    'held_jobs',
    'select * from {{schema}}.held_jobs($1::bigint[])',
    'array',
  );
  return {
    async complete(executor, leaseId, ids, claims, results) {
      const values = [leaseId, `{${ids.join()}}`, `{${claims.join()}}`, results];
      const rows = await executor.query<[string]>(complete, values);
      return rows.map(([id]) => id);
    },
    async completeLed(executor, leaseId, id, claims, result) {
      const rows = await executor.query<[boolean]>(completeLed, [leaseId, id, claims, result]);
      return rows[0]?.[0] === true;
    },
    async leave(executor, leaseId, asks) {
      const rows = await executor.query<[number]>(leave, [leaseId, asks]);
      return rows[0]?.[0] ?? 0;
    },
    async held(executor, ids) {
      const rows = await executor.query<[string]>(held, [`{${ids.join()}}`]);
      return rows.map(([id]) => id);
    },
    settle: (executor, leaseId, asks) =>
      executor.query<SettledRow & object>(settle, [leaseId, asks]),
    completeInText: database.sql(
      `select {{schema}}.settle_or_raise((a.ask ->> 'lease')::bigint, j.ask) as outcome,
        pg_current_xact_id()::text as xact,
        (extract(epoch from {{schema}}.clock()) * 1000000)::bigint::text as xact_at
      from (select $1::text::jsonb as ask) a, jsonb_array_elements(a.ask -> 'jobs') j (ask)`,
    ),
  };
}
