import type { Clock } from '../../core/clock.js';
import { HowdahError, type HowdahErrorCode } from '../../core/errors.js';

/** Another try begins at most this long after the first began. */
const RETRY_WITHIN_MS = 2_000;
const RETRY_PAUSES_MS = [0, 50, 250, 500];

/**
 * Runs a statement again, for about two seconds at most, while it fails for a reason that may pass.
 * @param mayRetry whether it may run again after this error
 */
export async function retryBriefly<T>(
  run: () => Promise<T>,
  clock: Clock,
  mayRetry: (error: HowdahError) => boolean,
): Promise<T> {
  const start = clock.monotonic();
  for (const pause of RETRY_PAUSES_MS) {
    try {
      return await run();
    } catch (error) {
      const isPassing = error instanceof HowdahError && isTransient(error) && mayRetry(error);
      if (!isPassing || clock.monotonic() - start > RETRY_WITHIN_MS) throw error;
    }
    if (pause > 0) await clock.sleep(pause);
  }
  return run();
}

/** Whether the error says that the statement certainly had no effect: it never left, or was undone. */
export function hadNoEffect({ details }: HowdahError): boolean {
  return details.isSent !== true || details.isUndone === true || isUndoneBy(details.sqlstate);
}

/**
 * A server that is shut down while it commits may say so after the commit; any other error of the
 * server's means that the statement was undone.
 */
function isUndoneBy(sqlstate: unknown): boolean {
  return typeof sqlstate === 'string' && !/^(08|57P)/.test(sqlstate);
}

/**
 * What the error of a settle says:
 *   held     a lock was not to be had in time: somebody's open transaction has one of the rows
 *   passing  of the connection, the server, its schema, its privileges: the same statement may succeed later
 *   refused  of what was to be stored: the same statement fails for ever, another may not
 *   unknown  of anything else, a trigger of somebody's for instance: tried again, but apart from the others
 */
export type SettleFault = 'held' | 'passing' | 'refused' | 'unknown';

/** Bad data; too large; what `settle` cannot read. */
const REFUSED_CLASS = /^(22|54)/;
/** Connections, authorization, transactions, conflicts, resources, objects not as they should be, the system. */
const PASSING_CLASS = /^(08|0A|25|26|28|3D|3F|40|42|53|55|57|58)/;
const PASSING_CODES: ReadonlySet<HowdahErrorCode> = new Set([
  'HOWDAH_DATABASE_UNAVAILABLE',
  'HOWDAH_DATABASE_READ_ONLY',
  'HOWDAH_TRANSACTION_CONFLICT',
  'HOWDAH_TIMEOUT',
  'HOWDAH_PERMISSION_DENIED',
  'HOWDAH_SCHEMA_MISSING',
  'HOWDAH_CLIENT_CLOSED',
]);
const REFUSED_CODES: ReadonlySet<HowdahErrorCode> = new Set([
  'HOWDAH_PAYLOAD_INVALID',
  'HOWDAH_SETTLE_INVALID',
]);

export function settleFaultOf({ code, details }: HowdahError): SettleFault {
  if (details.sqlstate === '55P03') return 'held';
  if (PASSING_CODES.has(code)) return 'passing';
  if (REFUSED_CODES.has(code)) return 'refused';
  const sqlstate = typeof details.sqlstate === 'string' ? details.sqlstate : '';
  if (PASSING_CLASS.test(sqlstate)) return 'passing';
  return REFUSED_CLASS.test(sqlstate) ? 'refused' : 'unknown';
}

function isTransient({ code, details }: HowdahError): boolean {
  switch (code) {
    case 'HOWDAH_TRANSACTION_CONFLICT':
    case 'HOWDAH_DATABASE_READ_ONLY':
      return true;
    case 'HOWDAH_TIMEOUT':
      // cancelled by an operator or a time-out of the server's: one of ours has no SQLSTATE
      return details.sqlstate !== undefined;
    case 'HOWDAH_DATABASE_UNAVAILABLE':
      // a server that answers a statement so is short of something: it is not besieged
      return details.isSent !== true || !isUndoneBy(details.sqlstate);
    default:
      return false;
  }
}
