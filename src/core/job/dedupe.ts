import { HowdahError } from '../errors.js';
import { encodeJson } from '../json.js';
import { invalidOption } from '../option.js';
import { WAIT_MS_MAX } from '../queue/queue-policy.js';
import { type Duration, parseDuration } from '../time/duration.js';

/** The longest dedupe key in bytes of UTF-8. */
const DEDUPE_KEY_BYTES_MAX = 1024;

/**
 * What becomes of a second job with the key of a first one, within the window. In every mode but
 * `skip` the newest payload is never lost: once the first job has begun, a new one is made.
 */
export type DedupeMode =
  /** Nothing: the first job stays as it is. */
  | 'skip'
  /** Debounce: the waiting job takes the newest payload and its time is pushed back. */
  | 'replace'
  /** The waiting job takes the newest payload and keeps its time. */
  | 'throttle'
  /**
   * At most one runs and one waits, which takes the newest payload and begins when the one before it
   * is over, its retries included.
   */
  | 'latest';

/** One job per key and window. A key belongs to its queue. */
export interface DedupeOptions {
  /** 1 to 1024 bytes of UTF-8. */
  readonly key: string;
  /**
   * How long the key is remembered, however soon the job ends: 1 ms to 10 years. Default 5 min.
   * Counted from the enqueue in mode `skip`, in the others from the time the job is due.
   */
  readonly window?: Duration | undefined;
  /** Default `skip`. */
  readonly mode?: DedupeMode | undefined;
}

const MODES: ReadonlySet<unknown> = new Set(['skip', 'replace', 'throttle', 'latest']);

/**
 * Checks the options and encodes them for the SQL function.
 * @param keyOf what a codec stores in place of the key
 * @throws HowdahError HOWDAH_DEDUPE_INVALID, HOWDAH_CODEC_FAILED
 */
export function encodeDedupe(value: unknown, keyOf?: (key: string) => string): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('dedupe', value, "Use an object such as { key: 'order-7' }.");
  }
  const { key, window, mode, ...rest } = value as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    throw invalid(`dedupe.${unknown}`, rest[unknown], 'Known are key, window and mode.');
  }
  assertKey(key);
  const stored = keyOf ? keyOf(key) : key;
  if (keyOf) assertKey(stored);
  if (mode !== undefined && !MODES.has(mode)) {
    throw invalid('dedupe.mode', mode, "Use 'skip', 'replace', 'throttle' or 'latest'.");
  }
  const members = [
    `"key":${encodeJson(stored, 'dedupe.key', 'HOWDAH_DEDUPE_INVALID')}`,
    ...(window === undefined ? [] : [`"window_ms":${windowMs(window)}`]),
    ...(mode === undefined ? [] : [`"mode":"${mode}"`]),
  ];
  return `{${members.join(',')}}`;
}

function assertKey(key: unknown): asserts key is string {
  if (
    typeof key === 'string' &&
    key !== '' &&
    // a character has 1 to 3 bytes per UTF-16 unit: most keys need no counting
    (key.length * 3 <= DEDUPE_KEY_BYTES_MAX || Buffer.byteLength(key) <= DEDUPE_KEY_BYTES_MAX)
  ) {
    return;
  }
  throw invalid('dedupe.key', key, `Use text of 1 to ${DEDUPE_KEY_BYTES_MAX} bytes.`);
}

function windowMs(value: unknown): number {
  try {
    return parseDuration(value as Duration, 'dedupe.window', { min: 1, max: WAIT_MS_MAX });
  } catch (error) {
    if (!(error instanceof HowdahError)) throw error;
    throw new HowdahError('HOWDAH_DEDUPE_INVALID', error.message, { details: error.details });
  }
}

function invalid(option: string, value: unknown, remedy: string): HowdahError {
  return invalidOption(option, value, remedy, 'HOWDAH_DEDUPE_INVALID');
}
