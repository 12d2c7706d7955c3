import { describeValue } from './describe-value.js';
import { HowdahError } from './errors.js';

/** The same rule as in `migrations/0001_queues.sql`. */
const PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/;

/**
 * Refuses a queue name that is not 1 to 128 letters, digits and `. _ : / -`, beginning with a
 * letter or digit.
 * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID
 */
export function assertQueueName(name: unknown): asserts name is string {
  // `$` matches before a final newline in no mode of JavaScript: the pattern holds for the whole text
  if (typeof name === 'string' && PATTERN.test(name)) return;
  throw new HowdahError(
    'HOWDAH_QUEUE_NAME_INVALID',
    `Queue name ${describeValue(name)} is not valid.`,
    {
      details: { name },
      remedy: 'Use 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit.',
    },
  );
}
