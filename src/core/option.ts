import { describeValue } from './describe-value.js';
import { HowdahError, type HowdahErrorCode } from './errors.js';

/** The error of an option whose value cannot be used. The remedy says what can. Objects are not shown. */
export function invalidOption(
  option: string,
  value: unknown,
  remedy: string,
  code: HowdahErrorCode = 'HOWDAH_OPTION_INVALID',
): HowdahError {
  const isShown = typeof value !== 'object' && typeof value !== 'function';
  return new HowdahError(code, `Option ${option}: ${describeValue(value)} is not valid.`, {
    details: isShown ? { option, value } : { option },
    remedy,
  });
}

/** The error of an option that does not exist. */
export function unknownOption(option: string, known: readonly string[]): HowdahError {
  return new HowdahError('HOWDAH_OPTION_INVALID', `Option ${option} does not exist.`, {
    details: { option },
    remedy: `Known are ${known.join(', ')}.`,
  });
}

/** The error of two options that cannot be given together. */
export function exclusiveOptions(one: string, other: string): HowdahError {
  const message = `Options ${one} and ${other} exclude each other.`;
  return new HowdahError('HOWDAH_OPTION_INVALID', message, {
    details: { option: one },
    remedy: 'Leave one out.',
  });
}

/** A whole number within bounds. @throws HowdahError HOWDAH_OPTION_INVALID */
export function wholeNumber(option: string, value: unknown, min: number, max: number): number {
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) {
    return value as number;
  }
  throw invalidOption(option, value, `Use a whole number from ${min} to ${max}.`);
}

/** True or false. @throws HowdahError HOWDAH_OPTION_INVALID */
export function truth(option: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw invalidOption(option, value, 'Use true or false.');
}

/** A whole number from 1, or its default. @throws HowdahError HOWDAH_OPTION_INVALID */
export function countOption(
  option: string,
  value: number | undefined,
  byDefault: number,
  max: number,
): number {
  return value === undefined ? byDefault : wholeNumber(option, value, 1, max);
}

/**
 * What is given as an object: types do not hold for callers in JavaScript. Text is not shown: it may be a URL with
 * its password.
 * @throws HowdahError HOWDAH_OPTION_INVALID
 */
export function givenObject<T>(argument: string, value: T): T {
  if (typeof value === 'object' && value !== null) return value;
  const shown = typeof value === 'string' ? 'text' : describeValue(value);
  throw new HowdahError(
    'HOWDAH_OPTION_INVALID',
    `Argument ${argument}: ${shown} is not an object.`,
    { details: { option: argument }, remedy: 'Give an object with the keys that are documented.' },
  );
}

/** Every key of an object of options. */
export type KnownKeys<Options> = { readonly [Key in keyof Required<Options>]: true };

/**
 * What is given as an object of options, or as a filter. A key that does not exist is refused: left out of a
 * filter it would mean all, and left out of a connection another database.
 * @throws HowdahError HOWDAH_OPTION_INVALID
 */
export function givenOptions<Options extends object>(
  argument: string,
  value: Options,
  known: KnownKeys<Options>,
): Options {
  for (const key of Object.keys(givenObject(argument, value))) {
    if (!Object.hasOwn(known, key)) throw unknownOption(key, Object.keys(known));
  }
  return value;
}
