import { HowdahError } from '../../core/errors.js';
import { encodeJson } from '../../core/json.js';
import { writtenLength } from '../../core/written-length.js';

/** Largest result in bytes of JSON. */
export const RESULT_BYTES_MAX = 1_048_576;

/** A result as it is stored. */
export interface EncodedResult {
  readonly text: string;
  /** Why a placeholder is stored instead; undefined when the result itself is. */
  readonly problem?: string;
}

/**
 * Encodes a handler's result. One that cannot be stored (a cycle, a BigInt, `\u0000`, too large) is
 * replaced by `{"howdah": "result not stored", "problem": ...}`: the work is done, and a job must not
 * hang because of its own output. Never throws.
 */
export function encodeResult(value: unknown): EncodedResult {
  try {
    const text = encodeJson(value, 'result');
    // what is settled together waits for each: one that is written out to megabytes would delay them all
    const bytes = writtenLength(text, RESULT_BYTES_MAX);
    if (bytes <= RESULT_BYTES_MAX) return { text };
    return replaced(`result has ${bytes} bytes, ${RESULT_BYTES_MAX} are allowed`);
  } catch (error) {
    return replaced(error instanceof HowdahError ? error.message : 'result cannot be read');
  }
}

function replaced(problem: string): EncodedResult {
  return { text: JSON.stringify({ howdah: 'result not stored', problem }), problem };
}
