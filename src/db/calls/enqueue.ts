import { ERROR_CODES, HowdahError, type HowdahErrorCode } from '../../core/errors.js';
import { admissionDetails } from '../admission-details.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';

/** What became of one job. */
export interface Enqueued {
  /** Opaque; unique within the installation. That of the first job where `created` is false. */
  readonly id: string;
  /** False where a job of the same dedupe key was there already. */
  readonly created: boolean;
  /**
   * Only where `created` is false: whether the payload is the one that the first job has. False: the
   * key was used for something else, or the job has taken this newer payload (see the modes).
   */
  readonly same?: boolean;
}

/** What became of the jobs of one statement, in the order given. */
export interface EnqueueReport {
  /** Ids; empty text for a job that was refused. */
  readonly ids: readonly string[];
  /** Position (from 0) and error of each refused job. */
  readonly refused: ReadonlyMap<number, HowdahError>;
  /**
   * Position (from 0) of each job whose dedupe key was taken: its id is that of the first job. The
   * value says whether the payloads are the same.
   */
  readonly duplicates: ReadonlyMap<number, boolean>;
}

/** The only row of an enqueue statement: short, whatever the number of jobs. */
interface EnqueueRow {
  readonly ids?: unknown;
  readonly refused?: unknown;
  readonly duplicates?: unknown;
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

const NONE: ReadonlyMap<number, never> = new Map<number, never>();

/** What {@link EnqueueReport.duplicates} is read from. */
const DUPLICATES = `(jsonb_agg(jsonb_build_array(ordinal, same)) filter (where same is not null))::text
      as duplicates`;

/** Prepares the statements of {@link EnqueueCalls}. Column names survive any case conversion. */
export function enqueueCalls(database: Database): EnqueueCalls {
  const oneText = database.sql(
    `select id::text as id, error_code as code, error_message as message,
      error_hint as hint, created, same, details::text as details, pg_catalog.pg_backend_pid() as pid
    from {{schema}}.enqueue($1::text::jsonb, 'report')`,
  );
  const reportText = database.sql(
    `select string_agg(coalesce(id::text, ''), ',' order by ordinal) as ids,
      (jsonb_agg(jsonb_build_array(ordinal, error_code, error_message, error_hint, details))
        filter (where error_code is not null))::text as refused, ${DUPLICATES}
    from {{schema}}.enqueue($1::text::jsonb, 'report')`,
  );
  const allText = database.sql(
    `select string_agg(id::text, ',' order by ordinal) as ids, ${DUPLICATES}
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
  const { ids, refused, duplicates } = rows[0] ?? {};
  return {
    ids: typeof ids === 'string' ? ids.split(',') : [],
    refused: refused == null ? NONE : readRefused(refused),
    duplicates: duplicates == null ? NONE : readDuplicates(duplicates),
  };
}

/** Reads the row of `oneText`. @throws HowdahError why the job was refused */
export function readOne(rows: readonly OneRow[]): Enqueued {
  const { id, code, message, hint, same, details } = rows[0] ?? {};
  if (typeof id === 'string') return enqueued(id, typeof same === 'boolean' ? same : undefined);
  throw refusalOf(String(code), String(message ?? 'the job was refused'), hint, details);
}

/** @param same for a duplicate: whether it has the payload of the first */
export function enqueued(id: string, same: boolean | undefined): Enqueued {
  return same === undefined ? { id, created: true } : { id, created: false, same };
}

interface OneRow {
  readonly id?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
  readonly hint?: unknown;
  readonly same?: unknown;
  readonly details?: unknown;
}

type RefusedEntry = readonly [
  ordinal: number,
  code: string,
  message: string,
  hint: string,
  details: unknown,
];

/** @param refused JSON text, unless a plugin of the caller's driver has decoded it already */
function readRefused(refused: unknown): ReadonlyMap<number, HowdahError> {
  const entries = (typeof refused === 'string' ? JSON.parse(refused) : refused) as RefusedEntry[];
  return new Map(
    entries.map(([ordinal, code, message, hint, details]) => [
      ordinal - 1,
      refusalOf(code, message, hint, details),
    ]),
  );
}

function readDuplicates(duplicates: unknown): ReadonlyMap<number, boolean> {
  const entries = typeof duplicates === 'string' ? JSON.parse(duplicates) : duplicates;
  return new Map((entries as [number, boolean][]).map(([ordinal, same]) => [ordinal - 1, same]));
}

function refusalOf(code: string, message: string, hint: unknown, given: unknown): HowdahError {
  const known = Object.hasOwn(ERROR_CODES, code);
  const details = admissionDetails(given);
  return new HowdahError(
    known ? (code as HowdahErrorCode) : 'HOWDAH_JOB_INVALID',
    sentence(message),
    typeof hint === 'string' ? { details, remedy: sentence(hint) } : { details },
  );
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
