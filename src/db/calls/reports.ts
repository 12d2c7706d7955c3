import type { JobError, JobState } from '../../core/job/job.js';
import type { Json } from '../../core/json.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';
import { withPlainTimes } from '../times.js';

/** How a job stands that somebody waits for. */
export interface WatchedRow {
  readonly id: string;
  readonly queue: string | null;
  /** Null: look again, the answer would have grown too long. */
  readonly state: JobState | 'unknown' | null;
  /** Whether completed jobs of its queue stay in the history; null where the job is unknown. */
  readonly kept: boolean | null;
  readonly attempt: number | null;
  readonly reason: string | null;
  readonly errors: readonly JobError[] | null;
  readonly result: Json;
  readonly progress: Json;
  readonly progress_at: Date | null;
}

/** What a client asks about jobs it waits for. */
interface WatchAsk {
  /** Ring for these from now on. */
  readonly add: readonly string[];
  /** Of the others, those whose progress is of interest. */
  readonly progress: readonly string[];
  /** Ring for these no more. */
  readonly drop: readonly string[];
  /** Look at these, too. */
  readonly look: readonly string[];
}

/** Progress, log lines, and waiting for jobs. */
export interface ReportCalls {
  /**
   * @returns jobs that have ended or are not there; all whose progress is of interest
   * @throws HowdahError HOWDAH_LEASE_LOST
   */
  watch(executor: Executor, leaseId: string, ask: WatchAsk): Promise<WatchedRow[]>;
  /**
   * @param reports a JSON array; see `report` in the migrations
   * @returns ids of jobs that are no longer held: their reports were dropped
   */
  report(executor: Executor, leaseId: string, reports: string): Promise<string[]>;
}

/** Prepares the statements of {@link ReportCalls}. */
export function reportCalls(database: Database): ReportCalls {
  const watch = database.statement(
    'watch',
    withPlainTimes(`select id, queue, state, kept, attempt, reason, errors, result, progress, progress_at
    from {{schema}}.watch($1::bigint, $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])`),
  );
  const report = database.statement(
    'report',
    'select id from {{schema}}.report($1::bigint, $2::text::jsonb) as id',
  );
  return {
    watch: (executor, leaseId, { add, progress, drop, look }) =>
      executor.query(watch, [leaseId, add, progress, drop, look]),
    async report(executor, leaseId, reports) {
      const rows = await executor.query<{ id: string }>(report, [leaseId, reports]);
      return rows.map(({ id }) => id);
    },
  };
}
