import type { CodecPlace, Codecs } from '../../core/codec/codec.js';
import { encodeError } from '../../core/codec/error-codec.js';
import { type EncodedResult, replacedResult } from '../../core/result.js';
import { textOf } from '../../core/shown-text.js';
import type { SettleAsk } from '../../db/calls/settle.js';
import type { Attempt } from './attempt.js';

/** The codec could not encode a result: nothing of it may be stored. */
const NOT_ENCODED = replacedResult('the codec could not encode it');

/** Told of a result that is replaced by a placeholder. */
type OnReplaced = (attempt: Attempt, problem: string) => void;

/** Results of completed attempts, as a JSON object by job id; null when none has one. */
export function encodeResults(
  attempts: readonly Attempt[],
  codecs: Codecs | undefined,
  onReplaced: OnReplaced,
): string | null {
  const results: string[] = [];
  for (const attempt of attempts) {
    const stored = encodeStoredResult(attempt, codecs, onReplaced);
    if (stored !== null) results.push(`"${attempt.id}":${stored}`);
  }
  return results.length > 0 ? `{${results.join()}}` : null;
}

/** Any ends, as the JSON array that `leave_settles` takes. */
export function encodeAll(
  attempts: readonly Attempt[],
  codecs: Codecs | undefined,
  onReplaced: OnReplaced,
): string {
  const asks = attempts.map((attempt) => {
    const ask = encodeAsk(attempt, codecs);
    const result =
      attempt.settlement?.verb === 'complete'
        ? encodeStoredResult(attempt, codecs, onReplaced)
        : null;
    return result === null ? ask : `${ask.slice(0, -1)},"result":${result}}`;
  });
  return `[${asks.join()}]`;
}

/** Any other ends, as the JSON array that `settle` takes. Never throws: what cannot be encoded fails. */
export function encodeAsks(attempts: readonly Attempt[], codecs: Codecs | undefined): string {
  return `[${attempts.map((attempt) => encodeAsk(attempt, codecs)).join()}]`;
}

function encodeAsk(attempt: Attempt, codecs: Codecs | undefined): string {
  try {
    return JSON.stringify(toAsk(attempt, codecs));
  } catch (thrown) {
    const { id, claims, xact } = attempt;
    const message = `The outcome could not be encoded: ${textOf(thrown)}`;
    const error = { name: 'HowdahError', message, code: 'HOWDAH_HANDLER_INVALID' };
    const ask: SettleAsk = { id, attempt: claims, outcome: 'fail', error };
    return JSON.stringify(xact ? { ...ask, xact: xact.id, xact_at: xact.at } : ask);
  }
}

function toAsk(attempt: Attempt, codecs: Codecs | undefined): SettleAsk {
  const { id, claims, settlement, xact } = attempt;
  const { verb = 'release', error, delayMs, reason, isThrown } = settlement ?? {};
  // what is made of a message is as secret as the message
  const shown = codecs && isThrown ? error?.name : reason;
  return {
    id,
    attempt: claims,
    outcome: verb,
    ...(error && { error: encodeError(codecs, error, placeOf(attempt)) }),
    ...(delayMs !== undefined && { delay_ms: delayMs }),
    ...(shown !== undefined && { reason: textOf(shown) }),
    ...(xact && { xact: xact.id, xact_at: xact.at }),
  };
}

/** The result of one, as JSON; null when it has none. */
export function encodeStoredResult(
  attempt: Attempt,
  codecs: Codecs | undefined,
  onReplaced: OnReplaced,
): string | null {
  const result = attempt.settlement?.result;
  if (result === undefined) return null;
  const { text, problem } = storedResult(attempt, result, codecs);
  if (problem !== undefined) onReplaced(attempt, problem);
  return text;
}

/** A result, JSON already, as it is stored: a placeholder where the codec cannot encode it. Never throws. */
export function storedResult(
  attempt: Attempt,
  result: string,
  codecs: Codecs | undefined,
): EncodedResult {
  if (!codecs) return { text: result };
  try {
    return { text: codecs.encode('result', result, placeOf(attempt)) };
  } catch (error) {
    return { text: NOT_ENCODED, problem: (error as Error).message };
  }
}

/** Where what belongs to an attempt is stored, for a codec. */
export function placeOf({ id, queue, headers }: Attempt): CodecPlace {
  return { queue, jobId: id, headers };
}
