import type { Database } from '../database.js';
import type { Executor, Statement } from '../executor.js';
import { makePatient } from '../patience.js';
import type { ScheduleRunsView, SchedulesView } from '../tables.js';
import { withPlainTimes } from '../times.js';

/** What became of one schedule of a list that was reconciled. */
export interface ScheduleChange {
  readonly name: string;
  readonly change: 'created' | 'changed' | 'renamed' | 'unchanged' | 'removed';
}

/** Which schedules to list, by name. */
interface ScheduleListFilter {
  readonly name?: string | undefined;
  readonly queue?: string | undefined;
  /** Only names behind this one: the last of the page before. */
  readonly after?: string | undefined;
  readonly limit: number;
}

/** Schedules and their runs. All throw HOWDAH_SCHEDULE_UNKNOWN where the name is not there. */
interface ScheduleCalls {
  /**
   * @param schedule JSON text
   * @throws HowdahError HOWDAH_SCHEDULE_EXISTS (of another owner), HOWDAH_QUEUE_UNKNOWN, the code of
   *   what is wrong with it
   */
  put(executor: Executor, name: string, schedule: string): Promise<ScheduleChange['change']>;
  /** @param schedules JSON text of an array @throws HowdahError as `put` */
  sync(executor: Executor, owner: string, schedules: string): Promise<ScheduleChange[]>;
  /** The same; it gives up a lock after so many milliseconds (55P03). */
  syncPatiently(
    executor: Executor,
    owner: string,
    schedules: string,
    lockMs: number,
  ): Promise<ScheduleChange[]>;
  pause(executor: Executor, name: string, reason: string | null): Promise<void>;
  resume(executor: Executor, name: string): Promise<void>;
  delete(executor: Executor, name: string): Promise<void>;
  /** @returns id of the job @throws HowdahError as an enqueue */
  run(executor: Executor, name: string): Promise<string>;
  list(filter: ScheduleListFilter): Promise<SchedulesView[]>;
  /** What became of the nominal times of the last day, newest first. */
  runs(name: string, limit: number): Promise<ScheduleRunsView[]>;
  /** Milliseconds since 1970 on the clock of the database. */
  now(): Promise<number>;
}

/** The calls of {@link ScheduleCalls}; they are rare, so their statements are not prepared. */
export function scheduleCalls(database: Database): ScheduleCalls {
  const text = (sql: string): Statement => ({ text: database.sql(sql) });
  const put = text('select {{schema}}.put_schedule($1, $2::text::jsonb) as change');
  const sync = text('select name, change from {{schema}}.sync_schedules($1, $2::text::jsonb)');
  const syncHeld = makePatient(sync, 2);
  const pause = text('select {{schema}}.pause_schedule($1, $2)');
  const resume = text('select {{schema}}.resume_schedule($1)');
  const remove = text('select {{schema}}.delete_schedule($1)');
  const run = text('select {{schema}}.run_schedule($1) as id');
  const list = text(
    withPlainTimes(`select * from {{schema}}.schedules
    where ($1::text is null or name = $1) and ($2::text is null or queue = $2) and name > $3
    order by name limit $4`),
  );
  const runs = text(
    withPlainTimes(`select * from {{schema}}.schedule_runs where name = $1
    order by nominal_at desc limit $2`),
  );
  const now = text('select extract(epoch from {{schema}}.clock()) * 1000 as ms');
  return {
    async put(executor, name, schedule) {
      const [row] = await executor.query<Pick<ScheduleChange, 'change'>>(put, [name, schedule]);
      return row?.change ?? 'unchanged';
    },
    sync: (executor, owner, schedules) => executor.query(sync, [owner, schedules]),
    syncPatiently: (executor, owner, schedules, lockMs) =>
      executor.query(syncHeld, [owner, schedules, lockMs]),
    async pause(executor, name, reason) {
      await executor.query(pause, [name, reason]);
    },
    async resume(executor, name) {
      await executor.query(resume, [name]);
    },
    async delete(executor, name) {
      await executor.query(remove, [name]);
    },
    async run(executor, name) {
      const [row] = await executor.query<{ id: string }>(run, [name]);
      return row?.id ?? '';
    },
    list: ({ name = null, queue = null, after = '', limit }) =>
      database.query<SchedulesView>(list, [name, queue, after, limit]),
    runs: (name, limit) => database.query<ScheduleRunsView>(runs, [name, limit]),
    async now() {
      const [row] = await database.query<{ ms: number }>(now);
      return Math.floor(row?.ms ?? 0);
    },
  };
}
