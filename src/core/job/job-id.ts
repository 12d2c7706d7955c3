import { describeValue } from '../describe-value.js';
import { HowdahError } from '../errors.js';

const PATTERN = /^\d{1,19}$/;
const BIGINT_MAX = 9_223_372_036_854_775_807n;

/** Whether a value is the id of a job: decimal text of at most 63 bits. Ids are opaque otherwise. */
export function isJobId(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    PATTERN.test(value) &&
    (value.length < 19 || BigInt(value) <= BIGINT_MAX)
  );
}

/** @throws HowdahError HOWDAH_OPTION_INVALID unless every value is the id of a job */
export function assertJobIds(values: readonly unknown[]): asserts values is readonly string[] {
  if (!Array.isArray(values)) {
    throw new HowdahError(
      'HOWDAH_OPTION_INVALID',
      `Argument ids: ${describeValue(values)} is not an array.`,
      {
        details: { option: 'ids' },
        remedy: 'Give one id, as text, or an array of ids.',
      },
    );
  }
  for (const value of values) {
    if (isJobId(value)) continue;
    throw new HowdahError('HOWDAH_OPTION_INVALID', `Job id ${describeValue(value)} is not valid.`, {
      details: { option: 'id', value },
      remedy: 'Use an id as enqueue returned it: text of digits.',
    });
  }
}
