import { errorCodeOf, HowdahError, type HowdahErrorCode } from '../../core/errors.js';
import { admissionDetails } from './admission-details.js';

/** The parts of a PostgreSQL error that are read here. */
interface ServerError extends Error {
  readonly code: string;
  readonly severity?: string;
  /** Function of the server that raised it. */
  readonly routine?: string;
  readonly hint?: string;
  readonly detail?: string;
}

const CODE_BY_SQLSTATE: Readonly<Record<string, HowdahErrorCode>> = {
  '22021': 'HOWDAH_PAYLOAD_INVALID', // a zero byte in a text parameter
  '22P05': 'HOWDAH_PAYLOAD_INVALID', // \u0000 in jsonb
  '54001': 'HOWDAH_PAYLOAD_INVALID', // nested deeper than the server can read
  '25006': 'HOWDAH_DATABASE_READ_ONLY',
  '25P02': 'HOWDAH_TRANSACTION_INVALID',
  '25P03': 'HOWDAH_DATABASE_UNAVAILABLE', // idle in transaction: the server hung up
  '25P04': 'HOWDAH_DATABASE_UNAVAILABLE', // transaction time-out: the server hung up
  '28000': 'HOWDAH_PERMISSION_DENIED',
  '28P01': 'HOWDAH_PERMISSION_DENIED',
  '40001': 'HOWDAH_TRANSACTION_CONFLICT',
  '40P01': 'HOWDAH_TRANSACTION_CONFLICT',
  '42501': 'HOWDAH_PERMISSION_DENIED',
  '55P03': 'HOWDAH_TIMEOUT',
  '57014': 'HOWDAH_TIMEOUT',
};

/** Whole classes that mean "not now": connection trouble, out of resources, operator intervention. */
const UNAVAILABLE_CLASS = /^(08|53|57P)/;

/** A missing schema, table or function. */
const MISSING = new Set(['3F000', '42P01', '42883']);

const UNAVAILABLE_ERRNO = new Set([
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);

/** The driver has no codes for these. */
const UNAVAILABLE_MESSAGE =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Client (was closed|has encountered a connection error))/;

/**
 * Turns whatever the driver threw into a HowdahError. A HowdahError passes unchanged.
 * @param schema the schema whose absence means HOWDAH_SCHEMA_MISSING
 */
export function toHowdahError(error: unknown, schema = 'howdah'): HowdahError {
  if (error instanceof HowdahError) return error;
  if (isServerError(error)) return fromServer(error, schema);
  return fromDriver(error);
}

/** The five-character SQLSTATE, if the server reported the error. */
export function sqlstateOf(error: unknown): string | undefined {
  if (error instanceof HowdahError) return sqlstateOf(error.cause);
  return isServerError(error) ? error.code : undefined;
}

/** The function of the server that raised the error: it tells causes of one SQLSTATE apart in any language. */
export function routineOf(error: unknown): string | undefined {
  if (error instanceof HowdahError) return routineOf(error.cause);
  return isServerError(error) ? error.routine : undefined;
}

/**
 * What ends a session. The driver knows the severity in the language of the server only (FATAL, ВАЖНО), so the
 * SQLSTATE counts: connection trouble, operator intervention, time-outs of the session or its transaction.
 */
const ENDS_SESSION = /^(08...|57P..|25P03|25P04)$/;

/** Whether the connection must not be used again after this error. */
export function isConnectionUnusable(error: unknown): boolean {
  const cause = error instanceof HowdahError ? error.cause : error;
  if (cause === undefined) return false;
  if (!isServerError(cause)) return true;
  return endsSession(cause) || cause.code === '25006';
}

/**
 * Whether the server ended the connection at a point where it looks for interrupts, and said so itself: a
 * pooler that does so names no routine.
 */
export function isTermination(error: unknown): boolean {
  if (!isServerError(error)) return false;
  return endsSession(error) && error.routine === 'ProcessInterrupts';
}

function endsSession({ severity, code }: ServerError): boolean {
  return severity === 'FATAL' || severity === 'PANIC' || ENDS_SESSION.test(code);
}

/** Whether the server answers, but has no room to carry out anything: on its disk, in memory, in its tables of locks. */
export function isShortOfResources(error: unknown): boolean {
  const { code } = toHowdahError(error);
  return code === 'HOWDAH_DATABASE_UNAVAILABLE' && !isConnectionUnusable(error);
}

function isServerError(error: unknown): error is ServerError {
  if (!(error instanceof Error)) return false;
  const { code, severity } = error as Partial<ServerError>;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && severity !== undefined;
}

/** Where PostgreSQL gives no hint. */
const REMEDIES: Readonly<Record<string, string>> = {
  '28000': 'Check the user, and pg_hba.conf of the server.',
  '28P01': 'Check user and password.',
  '3D000': 'Create the database, or name another.',
  '42501': 'Grant the right to this role: see docs/sql.md, Grants.',
};

function fromServer(error: ServerError, schema: string): HowdahError {
  const code = codeOfServer(error, schema);
  const remedy =
    code === 'HOWDAH_SCHEMA_MISSING'
      ? 'Run `howdah migrate`.'
      : (sentence(error.hint) ?? REMEDIES[error.code]);
  const details = {
    sqlstate: error.code,
    ...(error.code.startsWith('HW04')
      ? admissionDetails(error.detail)
      : error.detail
        ? { detail: error.detail }
        : {}),
  };
  return new HowdahError(code, sentence(error.message) ?? 'PostgreSQL error.', {
    cause: error,
    details,
    ...(remedy ? { remedy } : {}),
  });
}

function codeOfServer(error: ServerError, schema: string): HowdahErrorCode {
  const own = errorCodeOf(error.code) ?? CODE_BY_SQLSTATE[error.code];
  if (own) return own;
  if (isNotifyQueueFull(error)) return 'HOWDAH_DATABASE_UNAVAILABLE';
  if (UNAVAILABLE_CLASS.test(error.code)) return 'HOWDAH_DATABASE_UNAVAILABLE';
  if (MISSING.has(error.code) && namesSchema(error.message, schema)) return 'HOWDAH_SCHEMA_MISSING';
  return 'HOWDAH_DATABASE_ERROR';
}

/** Somebody LISTENs and does not read; class 54 else says that data is too large. The message may be translated. */
function isNotifyQueueFull({ code, routine }: ServerError): boolean {
  return code === '54000' && routine === 'PreCommit_Notify';
}

/** Messages and their quotation marks may be translated (« howdah »), names in them never are. */
function namesSchema(message: string, schema: string): boolean {
  return new RegExp(`(^|[^\\w$.])${schema}([^\\w$]|$)`).test(message);
}

function fromDriver(error: unknown): HowdahError {
  const message = messageOf(error);
  if (message === 'Query read timeout') {
    return new HowdahError('HOWDAH_TIMEOUT', 'The server did not answer in time.', {
      cause: error,
      remedy: 'See the option statementTimeout.',
    });
  }
  if (message.startsWith('Cannot use a pool after calling end')) {
    return new HowdahError('HOWDAH_CLIENT_CLOSED', 'The pool has been closed.', { cause: error });
  }
  if (message === 'Invalid URL') {
    return new HowdahError('HOWDAH_OPTION_INVALID', 'Option url is not a URL.', {
      details: { option: 'url' },
      remedy:
        'Write special characters of user and password by their codes: # is %23, @ %40, / %2F.',
    });
  }
  const errno = (error as { code?: unknown } | undefined)?.code;
  const isUnavailable =
    (typeof errno === 'string' && UNAVAILABLE_ERRNO.has(errno)) ||
    UNAVAILABLE_MESSAGE.test(message);
  return isUnavailable
    ? new HowdahError('HOWDAH_DATABASE_UNAVAILABLE', `No connection to PostgreSQL: ${message}.`, {
        cause: error,
        remedy:
          'See that the server runs, and where: option url, HOWDAH_DATABASE_URL, DATABASE_URL, or PGHOST and so on.',
      })
    : new HowdahError('HOWDAH_DATABASE_ERROR', `PostgreSQL driver: ${message}`, { cause: error });
}

/** An AggregateError (several addresses tried) has no message of its own. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && !error.message) {
    return error.errors.map((each) => messageOf(each)).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}

function sentence(text: string | undefined): string | undefined {
  if (!text) return undefined;
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?`]$/.test(upper) ? upper : `${upper}.`;
}
