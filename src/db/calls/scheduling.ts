import type { MissedPolicy } from '../../core/schedule/nominal-times.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';
import { ASYNC_COMMIT } from './maintenance.js';

/** A schedule of which the times are to be worked out. */
export interface DueSchedule {
  readonly id: string;
  readonly revision: number;
  readonly cron: string;
  readonly zone: string;
  /** Everything up to here is decided; milliseconds since 1970. */
  readonly afterMs: number;
  readonly missed: MissedPolicy;
  readonly missedMax: number;
  /** Size of its job. */
  readonly bytes: number;
  /** The first time after `afterMs`, where it is known. */
  readonly nextMs: number | null;
}

/** What is due. */
interface DueSchedules {
  /** The longest due first. */
  readonly due: readonly DueSchedule[];
  /** The clock of the database, milliseconds since 1970. */
  readonly nowMs: number;
  /** Milliseconds until the next one is due; null where something is, or none will be. */
  readonly nextMs: number | null;
}

/** What to do about one schedule. Times are milliseconds since 1970. */
export interface SchedulePlan {
  readonly id: string;
  readonly revision: number;
  /** Nominal times to enqueue a job for. */
  readonly runs: readonly number[];
  /** The last one that is not made up for. */
  readonly skipped: number | null;
  /** Everything up to here is decided now. */
  readonly after: number;
  readonly next: number | null;
  /** Why it can never fire. */
  readonly error: string | null;
}

/** What came of plans. */
interface Firing {
  readonly planned: number;
  readonly enqueued: number;
  readonly refused: number;
  readonly skipped: number;
}

/** The scheduler's side of schedules. Safe at two places at once: each plan is carried out once. */
export interface SchedulingCalls {
  due(executor: Executor, limit: number): Promise<DueSchedules>;
  fire(executor: Executor, plans: readonly SchedulePlan[]): Promise<Firing>;
}

interface DueRow {
  readonly due: readonly DueEntry[] | null;
  readonly nowMs: number;
  readonly nextMs: number | null;
}

type DueEntry = readonly [
  id: string,
  revision: number,
  cron: string,
  zone: string,
  afterMs: number,
  missed: MissedPolicy,
  missedMax: number,
  bytes: number,
  nextMs: number | null,
];

/** Prepares the statements of {@link SchedulingCalls}. */
export function schedulingCalls(database: Database): SchedulingCalls {
  const due = database.statement(
    'due_schedules',
    `select due, now_ms::numeric as "nowMs", next_ms::numeric as "nextMs", commit_mode
    from {{schema}}.due_schedules($1), ${ASYNC_COMMIT}`,
  );
  const fire = database.statement(
    'fire_schedules',
    `select planned, enqueued, refused, skipped from {{schema}}.fire_schedules($1::text::jsonb)`,
  );
  return {
    async due(executor, limit) {
      const [row] = await executor.query<DueRow>(due, [limit]);
      const { due: entries, nowMs, nextMs } = row as DueRow;
      return { due: (entries ?? []).map(readDue), nowMs: Math.floor(nowMs), nextMs };
    },
    async fire(executor, plans) {
      const [row] = await executor.query<Firing>(fire, [JSON.stringify(plans)]);
      return row as Firing;
    },
  };
}

function readDue(entry: DueEntry): DueSchedule {
  const [id, revision, cron, zone, afterMs, missed, missedMax, bytes, nextMs] = entry;
  return { id, revision, cron, zone, afterMs, missed, missedMax, bytes, nextMs };
}
