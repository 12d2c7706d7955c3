import { HowdahError } from './errors.js';
import { encodeJson } from './json.js';
import { writtenLength } from './written-length.js';

/** Largest result of a job in bytes of JSON, its numbers written out: 1 MiB. */
const RESULT_BYTES_MAX = 1_048_576;

const NOT_STORED = 'result not stored';

/** A result as it is stored. */
export interface EncodedResult {
  readonly text: string;
  /** Why a placeholder is stored instead; undefined when the result itself is. */
  readonly problem?: string;
}

/**
 * A result as JSON, for callers who can be told that it is refused.
 * @throws HowdahError HOWDAH_PAYLOAD_INVALID (not JSON), HOWDAH_SETTLE_INVALID (too large)
 */
export function encodeResult(value: unknown): string {
  const text = encodeJson(value, 'result');
  // jobs that are settled together wait for each other: megabytes of one would delay them all
  const bytes = writtenLength(text, RESULT_BYTES_MAX);
  if (bytes <= RESULT_BYTES_MAX) return text;
  throw new HowdahError(
    'HOWDAH_SETTLE_INVALID',
    `The result has ${bytes} bytes, ${RESULT_BYTES_MAX} are allowed.`,
    {
      details: { option: 'result', bytes, max: RESULT_BYTES_MAX },
      remedy: 'Store it elsewhere and give a reference.',
    },
  );
}

/**
 * A handler's result as JSON. One that cannot be stored (a cycle, a BigInt, `\u0000`, too large) is
 * replaced by a placeholder: the work is done, and a job must not hang because of its own output. Never throws.
 */
export function encodeResultOrReplace(value: unknown): EncodedResult {
  try {
    return { text: encodeResult(value) };
  } catch (error) {
    const problem = error instanceof HowdahError ? error.message : 'The result cannot be read.';
    return { text: replacedResult(problem), problem };
  }
}

/** The placeholder of a result that could not be stored: `{"howdah": "result not stored", "problem": ...}`. */
export function replacedResult(problem: string): string {
  return JSON.stringify({ howdah: NOT_STORED, problem });
}

/** Why a stored result is a placeholder; undefined where it is what the handler returned. */
export function problemOfResult(stored: unknown): string | undefined {
  if (typeof stored !== 'object' || stored === null || !('howdah' in stored)) return undefined;
  if (stored.howdah !== NOT_STORED) return undefined;
  return 'problem' in stored ? String(stored.problem) : 'unknown';
}
