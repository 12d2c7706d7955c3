import { type Duration, parseDuration } from './duration.js';
import { type ErrorSnapshot, snapshotError } from './error-snapshot.js';
import { WAIT_MS_MAX } from './queue-policy.js';

// Found by a registered symbol, not by instanceof: a handler file may have loaded a second copy of
// this module.
const OUTCOME = Symbol.for('howdah.outcome');
const PERMANENT = Symbol.for('howdah.permanent');

/** The verb that ends an attempt, as the SQL function `settle` names it. */
export type SettleVerb =
  | 'complete'
  | 'fail'
  | 'snooze'
  | 'release'
  | 'rate_limited'
  | 'dead_letter'
  | 'cancel'
  | 'expire';

/** How an attempt ends. */
export interface Settlement {
  readonly verb: SettleVerb;
  /** Only of `complete`: the encoded result; undefined is none. */
  readonly result?: string;
  /** Only of `fail` and `dead_letter`. */
  readonly error?: ErrorSnapshot;
  /** Of `snooze` and `rate_limited`; of `fail` instead of the queue's backoff. */
  readonly delayMs?: number;
  readonly reason?: string;
  /** The reason is made of a thrown error, not given as one. */
  readonly isThrown?: true;
}

/**
 * What a handler may return instead of a result. Made by {@link snooze}, {@link release},
 * {@link retry}, {@link rateLimited}, {@link cancelJob} and {@link deadLetter}.
 */
export interface Outcome {
  /** Exists to tell an outcome from a result. */
  readonly [OUTCOME]: Settlement;
}

/**
 * Run the job again later; the attempt does not count.
 * @throws HowdahError HOWDAH_OPTION_INVALID unless the delay is 0 to 10 years
 */
export function snooze(delay: Duration): Outcome {
  return outcomeOf({ verb: 'snooze', delayMs: parseWait(delay, 'snooze delay') });
}

/** Give the job back at once, at the head of its lane; the attempt does not count. */
export function release(): Outcome {
  return outcomeOf({ verb: 'release' });
}

/**
 * A service said "come again later" (HTTP 429): nothing more of this queue is claimed by the whole fleet
 * until then. The job goes back to the head of its lane; the attempt does not count. May be returned
 * or thrown.
 * @param options `retryAfter`: 0 to 10 years, or a Date; `reason` is shown by `queueStats`
 * @throws HowdahError HOWDAH_OPTION_INVALID
 */
export function rateLimited(options: {
  readonly retryAfter: Duration | Date;
  readonly reason?: string;
}): Outcome {
  const { retryAfter, reason = 'rate limited' } = options;
  const wait =
    retryAfter instanceof Date ? Math.max(0, retryAfter.getTime() - Date.now()) : retryAfter;
  return outcomeOf({ verb: 'rate_limited', delayMs: parseWait(wait, 'retryAfter'), reason });
}

/**
 * The attempt failed: run again after `delay` in place of the queue's backoff, or dead-letter the job
 * if it is out of attempts.
 * @throws HowdahError HOWDAH_OPTION_INVALID unless the delay is 0 to 10 years
 */
export function retry(delay: Duration, reason = 'retry asked for by the handler'): Outcome {
  const error = snapshotError(new Error(reason), { stack: false });
  return outcomeOf({ verb: 'fail', delayMs: parseWait(delay, 'retry delay'), error });
}

/** The job is not wanted any more: it ends as cancelled. */
export function cancelJob(reason?: string): Outcome {
  return outcomeOf(reason === undefined ? { verb: 'cancel' } : { verb: 'cancel', reason });
}

/** The job can never succeed: it goes to its dead-letter queue, whatever attempts are left. */
export function deadLetter(reason = 'dead-lettered by its handler'): Outcome {
  const error = snapshotError(new Error(reason), { stack: false });
  return outcomeOf({ verb: 'dead_letter', reason, error });
}

/** Thrown by a handler: no retry can help. The job goes to its dead-letter queue. */
export class PermanentError extends Error {
  override readonly name: string = 'PermanentError';
  readonly [PERMANENT] = true;
}

/** What a returned {@link Outcome} asks for; undefined for any other value. */
export function settlementOf(value: unknown): Settlement | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return (value as Partial<Outcome>)[OUTCOME];
}

/** How an attempt ends that threw `thrown`, whatever that is. */
export function settlementOfThrown(thrown: unknown): Settlement {
  const asked = thrownOutcome(thrown);
  if (asked?.verb === 'rate_limited') return asked;
  const error = snapshotError(thrown);
  if (!isPermanent(thrown)) return { verb: 'fail', error };
  return { verb: 'dead_letter', error, reason: error.message.slice(0, 200), isThrown: true };
}

function thrownOutcome(thrown: unknown): Settlement | undefined {
  try {
    return settlementOf(thrown);
  } catch {
    return undefined; // a proxy that throws
  }
}

/** Whether something thrown says that no retry can help. Never throws. */
export function isPermanent(thrown: unknown): boolean {
  try {
    return (thrown as Partial<PermanentError> | null | undefined)?.[PERMANENT] === true;
  } catch {
    return false; // a proxy that throws
  }
}

/** What a handler returns that asks for this. */
export function outcomeOf(settlement: Settlement): Outcome {
  return Object.freeze({ [OUTCOME]: Object.freeze(settlement) });
}

function parseWait(delay: Duration, option: string): number {
  return parseDuration(delay, option, { min: 0, max: WAIT_MS_MAX });
}
