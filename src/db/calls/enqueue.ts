import { ERROR_CODES, HowdahError, type HowdahErrorCode } from '../../core/errors.js';
import type { Settled } from '../../core/time/batcher.js';
import type { Database } from '../database.js';
import { admissionDetails } from '../errors/admission-details.js';
import type { Executor } from '../executor.js';
import { patient } from '../patience.js';

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

/** The only row of an enqueue statement. */
interface EnqueueRow {
  readonly answer?: unknown;
}

/** {@link EnqueueRow.answer} where a job was refused or is a duplicate. */
interface EnqueueAnswer {
  readonly ids: string;
  readonly refused: readonly RefusedEntry[] | null;
  readonly duplicates: readonly [ordinal: number, same: boolean][] | null;
}

/**
 * Jobs as text, or that text as bytes, a Buffer: of 230 KB `pg` needs 0.38 ms to send the text, 0.03 to send the
 * bytes. Users without Node's types read this declaration, too.
 */
export type JobsText = string | Uint8Array;

/** Ways to enqueue; all take a JSON array of jobs as text, or many payloads of one queue as `enqueue_many()` does. */
export interface EnqueueCalls {
  /** Good jobs are enqueued, bad ones come back with their error. */
  report(executor: Executor, jobs: JobsText): Promise<EnqueueReport>;
  /** All or none: the error of the first bad job is thrown. @returns the ids, in the order given */
  all(executor: Executor, jobs: JobsText): Promise<EnqueueReport>;
  /** As `report`, for jobs that may have to wait for somebody: it gives up a lock after so many milliseconds (55P03). */
  reportPatiently(executor: Executor, jobs: JobsText, lockMs: number): Promise<EnqueueReport>;
  /** As `all`, likewise. */
  allPatiently(executor: Executor, jobs: JobsText, lockMs: number): Promise<EnqueueReport>;
  /** SQL of `report`, with one text parameter, so that it runs in any transaction. It also says which process ran it. */
  readonly reportText: string;
  /** SQL of `all`, likewise. */
  readonly allText: string;
}

/** Tells whether a pooler stands between. */
const PID = 'pg_catalog.pg_backend_pid() as pid';
const NONE: ReadonlyMap<number, never> = new Map<number, never>();

/** Prepares the statements of {@link EnqueueCalls}. Column names survive any case conversion. */
export function enqueueCalls(database: Database): EnqueueCalls {
  const reportSql = "{{schema}}.enqueue_many($1::text, 'report') as answer";
  const allSql = '{{schema}}.enqueue_many($1::text) as answer';
  const report = database.statement('enqueue_report', database.sql(`select ${reportSql}`));
  const all = database.statement('enqueue_all', database.sql(`select ${allSql}`));
  const patiently = patient('$1::text', 2);
  const reportHeld = database.statement(
    'enqueue_report_held',
    `select {{schema}}.enqueue_many(${patiently}, 'report') as answer`,
  );
  const allHeld = database.statement(
    'enqueue_all_held',
    `select {{schema}}.enqueue_many(${patiently}) as answer`,
  );
  const run = async (
    executor: Executor,
    statement: typeof all,
    jobs: JobsText,
    ...more: readonly number[]
  ) => readReport(await executor.query<EnqueueRow>(statement, [jobs, ...more]));
  return {
    report: (executor, jobs) => run(executor, report, jobs),
    all: (executor, jobs) => run(executor, all, jobs),
    reportPatiently: (executor, jobs, lockMs) => run(executor, reportHeld, jobs, lockMs),
    allPatiently: (executor, jobs, lockMs) => run(executor, allHeld, jobs, lockMs),
    reportText: database.sql(`select ${reportSql}, ${PID}`),
    allText: database.sql(`select ${allSql}, ${PID}`),
  };
}

/** Reads the rows of either statement. */
export function readReport(rows: readonly EnqueueRow[]): EnqueueReport {
  const answer = readAnswer(rows[0]?.answer);
  if (typeof answer === 'string') {
    return { ids: answer.split(','), refused: NONE, duplicates: NONE };
  }
  const { ids, refused, duplicates } = answer ?? {};
  return {
    ids: ids?.split(',') ?? [],
    refused: refused ? readRefused(refused) : NONE,
    duplicates: new Map(duplicates?.map(([ordinal, same]) => [ordinal - 1, same])),
  };
}

/** @returns the ids, or an object; undefined where no job was given */
function readAnswer(answer: unknown): string | EnqueueAnswer | undefined {
  if (typeof answer === 'string') {
    return answer.startsWith('{') ? (JSON.parse(answer) as EnqueueAnswer) : answer;
  }
  // a plugin of the caller's driver may have decoded it already
  return answer == null ? undefined : (answer as EnqueueAnswer);
}

/** What became of the job at this position. */
export function outcomeOf(
  { ids, refused, duplicates }: EnqueueReport,
  at: number,
): Settled<Enqueued> {
  const error = refused.get(at);
  if (error) return { error };
  const id = ids[at] as string;
  const same = duplicates.get(at);
  return { value: same === undefined ? { id, created: true } : { id, created: false, same } };
}

type RefusedEntry = readonly [
  ordinal: number,
  code: string,
  message: string,
  hint: string,
  details: unknown,
];

function readRefused(entries: readonly RefusedEntry[]): ReadonlyMap<number, HowdahError> {
  return new Map(
    entries.map(([ordinal, code, message, hint, details]) => [
      ordinal - 1,
      refusalOf(code, message, hint, details),
    ]),
  );
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
