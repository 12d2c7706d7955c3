import { type ErrorSnapshot, snapshotError } from '../codec/error-snapshot.js';
import { describeValue } from '../describe-value.js';
import { HowdahError } from '../errors.js';
import { WAIT_MS_MAX } from '../queue/queue-policy.js';
import { textOf } from '../shown-text.js';
import { type Duration, parseDuration } from '../time/duration.js';

// Found by a registered symbol, not by instanceof: a handler file may have loaded a second copy of
// this module.
const OUTCOME = Symbol.for('howdah.outcome');
const PERMANENT = Symbol.for('howdah.permanent');

const MESSAGE_CHARS_MAX = 3_000;
/** What this module has made itself: there is nothing to check. */
const made = new WeakSet<Settlement>();

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

const VERBS: readonly SettleVerb[] = [
  'complete',
  'fail',
  'snooze',
  'release',
  'rate_limited',
  'dead_letter',
  'cancel',
  'expire',
];

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
 * @param options `retryAfter`: 0 to 10 years, or a Date; `reason` is shown by `queues.stats`: text, or any value
 *   of which text is made, such as a caught error
 * @throws HowdahError HOWDAH_OPTION_INVALID
 */
export function rateLimited(options: {
  readonly retryAfter: Duration | Date;
  readonly reason?: unknown;
}): Outcome {
  const given: unknown = options;
  if (typeof given !== 'object' || given === null) {
    throw new HowdahError(
      'HOWDAH_OPTION_INVALID',
      `rateLimited(): ${describeValue(given)} is not an object of options.`,
      {
        details: { option: 'options' },
        remedy: "Give rateLimited({ retryAfter: '30s' }); reason may stand beside it.",
      },
    );
  }
  const { retryAfter, reason = 'rate limited' } = options;
  const wait =
    retryAfter instanceof Date ? Math.max(0, retryAfter.getTime() - Date.now()) : retryAfter;
  return outcomeOf({
    verb: 'rate_limited',
    delayMs: parseWait(wait, 'retryAfter'),
    reason: textOf(reason),
  });
}

/**
 * The attempt failed: run again after `delay` in place of the queue's backoff, or dead-letter the job
 * if it is out of attempts.
 * @param reason an error, which is kept with its stack, or text, or any value of which text is made
 * @throws HowdahError HOWDAH_OPTION_INVALID unless the delay is 0 to 10 years
 */
export function retry(
  delay: Duration,
  reason: unknown = 'retry asked for by the handler',
): Outcome {
  const error = errorOf(reason);
  return outcomeOf({ verb: 'fail', delayMs: parseWait(delay, 'retry delay'), error });
}

/**
 * The job is not wanted any more: it ends as cancelled.
 * @param reason text, or any value of which text is made
 */
export function cancelJob(reason?: unknown): Outcome {
  const isGiven = reason !== undefined;
  return outcomeOf(isGiven ? { verb: 'cancel', reason: textOf(reason) } : { verb: 'cancel' });
}

/**
 * The job can never succeed: it goes to its dead-letter queue, whatever attempts are left.
 * @param reason an error, which is kept with its stack, or text, or any value of which text is made
 */
export function deadLetter(reason: unknown = 'dead-lettered by its handler'): Outcome {
  const isThrown = isError(reason);
  const settlement = {
    verb: 'dead_letter',
    reason: textOf(reason),
    error: errorOf(reason),
  } as const;
  return outcomeOf(isThrown ? { ...settlement, isThrown } : settlement);
}

/** The same error, of which a {@link PermanentError} is not the class: another attempt would meet it again. */
export function permanently<E extends Error>(error: E): E {
  Object.defineProperty(error, PERMANENT, { value: true });
  return error;
}

/** Thrown by a handler: no retry can help. The job goes to its dead-letter queue. */
export class PermanentError extends Error {
  override readonly name: string = 'PermanentError';
  readonly [PERMANENT] = true;
}

/**
 * What a returned {@link Outcome} asks for; undefined for any other value. It may come from another version of
 * this module, or from nobody's: whatever is in it is made fit to be stored.
 * @throws HowdahError HOWDAH_HANDLER_INVALID; whatever a proxy throws
 */
export function settlementOf(value: unknown): Settlement | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const asked = (value as Partial<Outcome>)[OUTCOME];
  if (asked === undefined || made.has(asked)) return asked;
  return foreign(asked);
}

function foreign(asked: Settlement): Settlement {
  const { verb, result, error, delayMs, reason, isThrown } = Object(asked) as Partial<Settlement>;
  if (!VERBS.includes(verb as SettleVerb)) {
    throw new HowdahError('HOWDAH_HANDLER_INVALID', 'The handler returned an unknown outcome.', {
      remedy: 'Make outcomes with the functions of howdah, in the version of the worker.',
    });
  }
  return {
    verb: verb as SettleVerb,
    ...(typeof result === 'string' && { result }),
    ...(error !== undefined && { error: snapshotError(error) }),
    ...(delayMs !== undefined && { delayMs: parseWait(delayMs, 'delay of the outcome') }),
    ...(reason !== undefined && { reason: textOf(reason) }),
    ...(isThrown === true && { isThrown }),
  };
}

/** How an attempt ends that threw `thrown`, whatever that is. */
export function settlementOfThrown(thrown: unknown): Settlement {
  const asked = thrownOutcome(thrown);
  if (asked?.verb === 'rate_limited') return asked;
  const error = snapshotError(asked ? thrownInstead(asked) : thrown);
  if (!isPermanent(thrown)) return { verb: 'fail', error };
  return { verb: 'dead_letter', error, reason: error.message.slice(0, 200), isThrown: true };
}

/** What a handler is told that threw what it should have returned: it ends as a failure, for it may have been caught. */
function thrownInstead({ verb }: Settlement): HowdahError {
  const name = MAKERS[verb] ?? verb;
  return new HowdahError('HOWDAH_HANDLER_INVALID', `The handler threw the outcome ${name}().`, {
    details: { outcome: verb },
    remedy: `Return ${name}() instead; of outcomes only rateLimited() may be thrown.`,
  });
}

/** The functions that make them. */
const MAKERS: Partial<Record<SettleVerb, string>> = {
  fail: 'retry',
  snooze: 'snooze',
  release: 'release',
  cancel: 'cancelJob',
  dead_letter: 'deadLetter',
};

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
  made.add(settlement);
  return Object.freeze({ [OUTCOME]: Object.freeze(settlement) });
}

/** Never throws, as `instanceof` does for a proxy. */
function isError(value: unknown): value is Error {
  try {
    return value instanceof Error;
  } catch {
    return false;
  }
}

/** An error as it is; of anything else an error with its text. */
function errorOf(reason: unknown): ErrorSnapshot {
  if (isError(reason)) return snapshotError(reason);
  return snapshotError(new Error(textOf(reason, MESSAGE_CHARS_MAX)), { stack: false });
}

function parseWait(delay: Duration, option: string): number {
  return parseDuration(delay, option, { min: 0, max: WAIT_MS_MAX });
}
