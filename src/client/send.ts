import type { Clock } from '../core/clock.js';
import { HowdahError } from '../core/errors.js';

/** Another try begins at most this long after the first began. */
const RETRY_WITHIN_MS = 2_000;
const RETRY_PAUSES_MS = [0, 50, 250, 500];

/**
 * Runs an enqueue statement that commits by itself. It runs again, for about two seconds at most,
 * only when it certainly had no effect: no connection was made, or the server undid it because of a
 * deadlock, a lock time-out, or because the statement or its connection was ended there before it was complete.
 * @throws HowdahError HOWDAH_COMMIT_UNKNOWN when the connection was lost after the statement had
 *   left: it may have taken effect
 */
export async function send<T>(run: () => Promise<T>, clock: Clock): Promise<T> {
  const start = clock.monotonic();
  for (const pause of RETRY_PAUSES_MS) {
    try {
      return await run();
    } catch (error) {
      if (isUnknown(error)) throw commitUnknown(error);
      if (!isWorthRetrying(error) || clock.monotonic() - start > RETRY_WITHIN_MS) throw error;
    }
    if (pause > 0) await clock.sleep(pause);
  }
  return run();
}

/**
 * Whether one bad job may have failed a statement of many. Then the statement had no effect, and its
 * parts may be sent again.
 */
export function isFaultOfData(error: unknown): boolean {
  if (!(error instanceof HowdahError)) return false;
  const { sqlstate } = error.details;
  // data exceptions, program limits exceeded, and what our own functions raise about a job
  return typeof sqlstate === 'string' && /^(22|54|HW01)/.test(sqlstate);
}

/** The statement had left, and no answer says that it was undone. */
function isUnknown(error: unknown): error is HowdahError {
  if (!(error instanceof HowdahError)) return false;
  const { sqlstate, isSent, isUndone } = error.details;
  if (isSent !== true || isUndone === true) return false;
  // A server that is shut down while it commits may say so after the commit; any other error of the
  // server's means that the statement was undone.
  return typeof sqlstate !== 'string' || /^(08|57P)/.test(sqlstate);
}

function isWorthRetrying(error: unknown): boolean {
  if (!(error instanceof HowdahError)) return false;
  switch (error.code) {
    case 'HOWDAH_TRANSACTION_CONFLICT':
    case 'HOWDAH_DATABASE_READ_ONLY':
      return true;
    case 'HOWDAH_TIMEOUT':
      // cancelled by an operator or a time-out of the server's: one of ours has no SQLSTATE
      return error.details.sqlstate !== undefined;
    case 'HOWDAH_DATABASE_UNAVAILABLE':
      return error.details.isSent !== true || error.details.isUndone === true;
    default:
      return false;
  }
}

function commitUnknown(error: HowdahError): HowdahError {
  return new HowdahError(
    'HOWDAH_COMMIT_UNKNOWN',
    'The connection was lost before the answer came: the job may have been enqueued or not.',
    {
      cause: error,
      remedy: 'Look for it before you enqueue it again, or let its handler bear it.',
    },
  );
}
