import { looksEncoded } from '../codec/codec.js';
import { describeValue } from '../describe-value.js';
import { HowdahError, type HowdahErrorCode } from '../errors.js';
import { encodeJson, type Json } from '../json.js';
import { exclusiveOptions, unknownOption } from '../option.js';
import { assertPriority } from '../queue/queue.js';
import { WAIT_MS_MAX } from '../queue/queue-policy.js';
import { type Duration, parseDuration } from '../time/duration.js';
import { writtenLength } from '../written-length.js';
import { batchIdOf } from './batch-id.js';
import { type DedupeOptions, encodeDedupe } from './dedupe.js';

/** The largest `headers` in bytes of JSON: 16 KiB. */
const HEADERS_BYTES_MAX = 16_384;
/** The longest `group` in characters. */
const GROUP_CHARS_MAX = 255;
const YEAR_2000_MS = Date.UTC(2000, 0, 1);

/** What an enqueue takes; `tx` and those with onFull are taken out, or read, by the client. */
const KNOWN: readonly string[] = [
  'delay',
  'runAt',
  'priority',
  'headers',
  'attempts',
  'ttl',
  'group',
  'weight',
  'batch',
  'dedupe',
  'onFull',
  'waitMax',
  'signal',
  'tx',
];

/** What can be said of one job as it is enqueued. Anything left out follows the queue. */
export interface JobOptions {
  /** Do not run before this much time has passed on the database's clock, 0 to 10 years. */
  readonly delay?: Duration | undefined;
  /**
   * Do not run before this time: a Date or ISO 8601 text with a zone. A time that is past means
   * now; before the year 2000 or more than 10 years ahead is refused. Not together with `delay`.
   */
  readonly runAt?: Date | string | undefined;
  /** -100 to 100; higher runs first. Default: the priority of the queue's declaration, or 0. */
  readonly priority?: number | undefined;
  /** Facts beside the payload, such as a trace context: a JSON object of at most 16 KiB. */
  readonly headers?: Readonly<Record<string, Json | undefined>> | undefined;
  /** Attempts before the job is dead, 1 to 1000. */
  readonly attempts?: number | undefined;
  /**
   * What it counts for against `concurrencyMax` and `rate` of its queue, 1 to 1000. Default 1. Above
   * a limit of the queue it is refused.
   */
  readonly weight?: number | undefined;
  /** Longest wait for a worker after it is due, 1 ms to 10 years; then the job expires. */
  readonly ttl?: Duration | undefined;
  /**
   * Key of its group, 1 to 255 characters: the jobs of a group run in the order in which they were
   * enqueued, `groupConcurrency` of the queue at once (1).
   */
  readonly group?: string | undefined;
  /**
   * An open batch, or its id: the job is one of it, and what follows the batch waits for this job too.
   * A job that is not created, because its dedupe key was taken, is not added.
   */
  readonly batch?: string | { readonly id: string } | undefined;
  /** Makes it one job per key and window, whatever the number of calls. */
  readonly dedupe?: DedupeOptions | undefined;
}

/** What a codec makes of options before they are stored. */
export interface OptionsCodec {
  /** @param text JSON */
  readonly headers: (text: string) => string;
  readonly dedupeKey: (key: string) => string;
}

/**
 * Checks the options of one job and encodes them as JSON members for the SQL function: `,"a":1,"b":2`.
 * @param defaultPriority written where the options name no priority, unless it is 0
 * @param now milliseconds since 1970, only to refuse a `runAt` too far ahead
 * @throws HowdahError HOWDAH_DELAY_INVALID, HOWDAH_RUN_AT_INVALID, HOWDAH_PRIORITY_INVALID,
 *   HOWDAH_HEADERS_INVALID, HOWDAH_ATTEMPTS_INVALID, HOWDAH_TTL_INVALID, HOWDAH_GROUP_INVALID,
 *   HOWDAH_WEIGHT_INVALID, HOWDAH_DEDUPE_INVALID, HOWDAH_CODEC_FAILED, HOWDAH_BATCH_UNKNOWN,
 *   HOWDAH_OPTION_INVALID
 */
export function encodeJobOptions(
  options: JobOptions | undefined,
  defaultPriority: number,
  now: number,
  codec?: OptionsCodec,
): string {
  let members = '';
  let priority = defaultPriority;
  for (const key in options) {
    const value = (options as Record<string, unknown>)[key];
    if (value === undefined || key === 'tx') continue; // tx is for the client to read
    switch (key as keyof JobOptions | 'onFull' | 'waitMax' | 'signal') {
      case 'priority':
        assertPriority(value);
        priority = value;
        break;
      case 'delay':
        if (options.runAt !== undefined) throw exclusiveOptions('delay', 'runAt');
        members += `,"delay_ms":${wait(value, 'delay', 0, 'HOWDAH_DELAY_INVALID')}`;
        break;
      case 'runAt':
        members += `,"run_at":"${runAt(value, now)}"`;
        break;
      case 'ttl':
        members += `,"ttl_ms":${wait(value, 'ttl', 1, 'HOWDAH_TTL_INVALID')}`;
        break;
      case 'attempts':
        members += `,"max_attempts":${attempts(value)}`;
        break;
      case 'group':
        members += `,"group":${encodeGroup(value)}`;
        break;
      case 'batch':
        members += `,"batch":"${batchIdOf(value)}"`;
        break;
      case 'weight':
        members += `,"weight":${weight(value)}`;
        break;
      case 'headers':
        members += `,"headers":${encodeHeaders(value, codec?.headers)}`;
        break;
      case 'dedupe':
        members += `,"dedupe":${encodeDedupe(value, codec?.dedupeKey)}`;
        break;
      case 'onFull':
        if (value === 'drop-oldest') members += ',"on_full":"drop_oldest"';
        break;
      case 'waitMax': // with onFull for the client to read
      case 'signal':
        break;
      default:
        throw unknownOption(key, KNOWN);
    }
  }
  return priority === 0 ? members : `${members},"priority":${priority}`;
}

function wait(value: unknown, option: string, min: number, code: HowdahErrorCode): number {
  try {
    return parseDuration(value as Duration, option, { min, max: WAIT_MS_MAX });
  } catch (error) {
    if (!(error instanceof HowdahError)) throw error;
    throw new HowdahError(code, error.message, { details: error.details });
  }
}

/** Text without a zone would mean another moment on each machine. */
const ISO_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;

function runAt(value: unknown, now: number): string {
  const time =
    value instanceof Date
      ? value
      : new Date(typeof value === 'string' && ISO_TIME.test(value) ? value : Number.NaN);
  const ms = time.getTime();
  if (ms >= YEAR_2000_MS && ms <= now + WAIT_MS_MAX) return time.toISOString();
  throw new HowdahError(
    'HOWDAH_RUN_AT_INVALID',
    `Option runAt: ${describeValue(value)} is not a usable time.`,
    {
      details: { option: 'runAt', value },
      remedy:
        "Use a Date, or text such as '2027-01-31T09:00:00Z', from the year 2000 to 10 years ahead.",
    },
  );
}

function attempts(value: unknown): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 1000) {
    return value as number;
  }
  throw new HowdahError(
    'HOWDAH_ATTEMPTS_INVALID',
    `Option attempts: ${describeValue(value)} is not valid.`,
    { details: { option: 'attempts', value }, remedy: 'Use a whole number from 1 to 1000.' },
  );
}

/** Counted in code points, as PostgreSQL counts. */
function encodeGroup(value: unknown): string {
  if (typeof value === 'string' && value !== '' && value.length <= 2 * GROUP_CHARS_MAX) {
    const text = encodeJson(value, 'group', 'HOWDAH_GROUP_INVALID');
    if ([...value].length <= GROUP_CHARS_MAX) return text;
  }
  throw new HowdahError(
    'HOWDAH_GROUP_INVALID',
    `Option group: ${describeValue(value)} is not valid.`,
    {
      details: { option: 'group' },
      remedy: `Use text of 1 to ${GROUP_CHARS_MAX} characters.`,
    },
  );
}

function weight(value: unknown): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 1000) {
    return value as number;
  }
  throw new HowdahError(
    'HOWDAH_WEIGHT_INVALID',
    `Option weight: ${describeValue(value)} is not valid.`,
    { details: { option: 'weight', value }, remedy: 'Use a whole number from 1 to 1000.' },
  );
}

function encodeHeaders(value: unknown, encode?: (text: string) => string): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || looksEncoded(value)) {
    throw new HowdahError(
      'HOWDAH_HEADERS_INVALID',
      `Option headers: ${describeValue(value)} is not an object, or has the reserved key $howdah.`,
      { details: { option: 'headers' } },
    );
  }
  const text = encodeJson(value, 'headers', 'HOWDAH_HEADERS_INVALID');
  const stored = encode && text.startsWith('{') ? encode(text) : text;
  const bytes = writtenLength(stored, HEADERS_BYTES_MAX);
  if (stored.startsWith('{') && bytes <= HEADERS_BYTES_MAX) return stored;
  throw new HowdahError(
    'HOWDAH_HEADERS_INVALID',
    `Option headers has ${bytes} bytes of JSON; allowed is an object of ${HEADERS_BYTES_MAX}.`,
    { details: { option: 'headers', bytes }, remedy: 'Put large data into the payload.' },
  );
}
