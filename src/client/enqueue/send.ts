import type { Clock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import { hadNoEffect, retryBriefly } from '../../db/errors/retry.js';
import { isHeld } from '../../db/patience.js';

/**
 * Runs an enqueue statement that commits by itself. It runs again, for about two seconds at most,
 * only when it certainly had no effect: no connection was made, or the server undid it because of a
 * deadlock, a lock time-out, or because the statement or its connection was ended there before it was complete.
 * @throws HowdahError HOWDAH_COMMIT_UNKNOWN when the connection was lost after the statement had
 *   left: it may have taken effect
 */
export async function send<T>(
  run: () => Promise<T>,
  clock: Clock,
  mayRetry: (error: HowdahError) => boolean = hadNoEffect,
): Promise<T> {
  try {
    return await retryBriefly(run, clock, mayRetry);
  } catch (error) {
    throw error instanceof HowdahError && !hadNoEffect(error) ? commitUnknown(error) : error;
  }
}

/** As {@link send}, but a lock that is not to be had in time is left to the caller. */
export function sendPatiently<T>(run: () => Promise<T>, clock: Clock): Promise<T> {
  return send(run, clock, (error) => hadNoEffect(error) && !isHeld(error));
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
