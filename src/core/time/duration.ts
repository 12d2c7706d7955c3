import { describeValue } from '../describe-value.js';
import { HowdahError } from '../errors.js';

const UNIT_MS = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
} as const;

type DurationUnit = keyof typeof UNIT_MS;

/** A length of time: milliseconds as a number, or text such as `'250ms'`, `'30s'`, `'1.5 h'`. */
export type Duration = number | `${number}${DurationUnit}` | `${number} ${DurationUnit}`;

/** Bounds of a duration in milliseconds, both included. */
interface DurationBounds {
  /** Default 0. */
  readonly min?: number;
  /** Default 100 years. */
  readonly max?: number;
}

const HUNDRED_YEARS_MS = 100 * 365 * UNIT_MS.d;
const PATTERN = /^(\d+(?:\.\d+)?|\.\d+) ?(ms|s|m|h|d|w)$/;

/**
 * Turns a duration into whole milliseconds (rounded half up).
 * @param option name of the option, for the message
 * @throws HowdahError HOWDAH_OPTION_INVALID when it is malformed or out of bounds
 */
export function parseDuration(
  value: Duration,
  option: string,
  bounds: DurationBounds = {},
): number {
  const { min = 0, max = HUNDRED_YEARS_MS } = bounds;
  const ms = toMs(value);
  if (ms === undefined) {
    throw invalid(option, value, 'is not a duration.', "Give milliseconds or text like '30s'.");
  }
  const rounded = Math.round(ms);
  if (rounded < min || rounded > max) {
    throw invalid(option, value, 'is out of bounds.', `Allowed are ${min} to ${max} ms.`);
  }
  return rounded;
}

function toMs(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value !== 'string') return undefined;
  const match = PATTERN.exec(value);
  if (!match) return undefined;
  return Number(match[1]) * UNIT_MS[match[2] as DurationUnit];
}

function invalid(option: string, value: unknown, problem: string, remedy: string): HowdahError {
  const message = `Option ${option}: ${describeValue(value)} ${problem}`;
  return new HowdahError('HOWDAH_OPTION_INVALID', message, { details: { option, value }, remedy });
}
