import { describeValue } from './describe-value.js';
import { HowdahError } from './errors.js';

/**
 * What is given as an object of options, as a filter or as a policy. Types do not hold for callers in JavaScript.
 * @throws HowdahError HOWDAH_OPTION_INVALID
 */
export function givenObject<T>(option: string, value: T): T {
  if (typeof value === 'object' && value !== null) return value;
  throw new HowdahError(
    'HOWDAH_OPTION_INVALID',
    `Argument ${option}: ${describeValue(value)} is not an object.`,
    { details: { option }, remedy: 'Give an object with the keys that are documented.' },
  );
}
