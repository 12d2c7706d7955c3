import { ERROR_CODES, HowdahError, type HowdahErrorCode } from '../../core/errors.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** What became of the jobs of one statement, in the order given. */
export interface EnqueueReport {
  /** Ids; empty text for a job that was refused. */
  readonly ids: readonly string[];
  /** Position (from 0) and error of each refused job. */
  readonly refused: ReadonlyMap<number, HowdahError>;
}

/** The only row of an enqueue statement: short, whatever the number of jobs. */
interface EnqueueRow {
  readonly ids?: unknown;
  readonly refused?: unknown;
}

/** Ways to enqueue; all take a JSON array of jobs as text. */
export interface EnqueueCalls {
  /** Good jobs are enqueued, bad ones come back with their error. */
  report(executor: Executor, jobs: string): Promise<EnqueueReport>;
  /** All or none: the error of the first bad job is thrown. @returns the ids, in the order given */
  all(executor: Executor, jobs: string): Promise<EnqueueReport>;
  /** SQL that enqueues one job, with one text parameter, so that it runs in any transaction. */
  readonly oneText: string;
  /** SQL of `report`, likewise. */
  readonly reportText: string;
  /** SQL of `all`, likewise. */
  readonly allText: string;
}

const NONE: ReadonlyMap<number, HowdahError> = new Map();

/** Prepares the statements of {@link EnqueueCalls}. Column names survive any case conversion. */
export function enqueueCalls(database: Database): EnqueueCalls {
  const oneText = database.sql(
    `select id::text as id, error_code as code, error_message as message,
      pg_catalog.pg_backend_pid() as pid
    from {{schema}}.enqueue($1::text::jsonb, 'report')`,
  );
  const reportText = database.sql(
    `select string_agg(coalesce(id::text, ''), ',' order by ordinal) as ids,
      (jsonb_agg(jsonb_build_array(ordinal, error_code, error_message))
        filter (where error_code is not null))::text as refused
    from {{schema}}.enqueue($1::text::jsonb, 'report')`,
  );
  const allText = database.sql(
    `select string_agg(id::text, ',' order by ordinal) as ids
    from {{schema}}.enqueue($1::text::jsonb)`,
  );
  const report = database.statement('enqueue_report', reportText);
  const all = database.statement('enqueue_all', allText);
  const run = async (executor: Executor, statement: typeof all, jobs: string) =>
    readReport(await executor.query<EnqueueRow>(statement, [jobs]));
  return {
    report: (executor, jobs) => run(executor, report, jobs),
    all: (executor, jobs) => run(executor, all, jobs),
    oneText,
    reportText,
    allText,
  };
}

/** Reads the rows of either statement. */
export function readReport(rows: readonly EnqueueRow[]): EnqueueReport {
  const { ids, refused } = rows[0] ?? {};
  return {
    ids: typeof ids === 'string' ? ids.split(',') : [],
    refused: refused == null ? NONE : readRefused(refused),
  };
}

/** Reads the row of `oneText`. @returns the id. @throws HowdahError why the job was refused */
export function readOne(rows: readonly OneRow[]): string {
  const { id, code, message } = rows[0] ?? {};
  if (typeof id === 'string') return id;
  throw refusalOf(String(code), String(message ?? 'the job was refused'));
}

interface OneRow {
  readonly id?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
}

type RefusedEntry = readonly [ordinal: number, code: string, message: string];

/** @param refused JSON text, unless a plugin of the caller's driver has decoded it already */
function readRefused(refused: unknown): ReadonlyMap<number, HowdahError> {
  const entries = (typeof refused === 'string' ? JSON.parse(refused) : refused) as RefusedEntry[];
  return new Map(
    entries.map(([ordinal, code, message]) => [ordinal - 1, refusalOf(code, message)]),
  );
}

function refusalOf(code: string, message: string): HowdahError {
  const known = Object.hasOwn(ERROR_CODES, code);
  return new HowdahError(
    known ? (code as HowdahErrorCode) : 'HOWDAH_JOB_INVALID',
    `${message.charAt(0).toUpperCase()}${message.slice(1)}.`,
  );
}
