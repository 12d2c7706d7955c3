import { describeValue } from '../describe-value.js';
import { HowdahError } from '../errors.js';

/** The same rule as in `migrations/0002_queues.sql`. */
const PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/;
const RULE = 'Use 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit.';

/**
 * Refuses a queue name that is not 1 to 128 letters, digits and `. _ : / -`, beginning with a
 * letter or digit.
 * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID
 */
export function assertQueueName(name: unknown): asserts name is string {
  // `$` matches before a final newline in no mode of JavaScript: the pattern holds for the whole text
  if (typeof name === 'string' && PATTERN.test(name)) return;
  throw invalid(name, RULE);
}

/**
 * Refuses what is neither a queue name nor one in which a `*` stands for any text.
 * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID
 */
export function assertQueueNames(names: unknown): asserts names is string {
  // as a name would be with some letter in its place
  if (typeof names === 'string' && PATTERN.test(names.replaceAll('*', 'x'))) return;
  throw invalid(names, `${RULE} A * stands for any text.`);
}

function invalid(name: unknown, remedy: string): HowdahError {
  return new HowdahError(
    'HOWDAH_QUEUE_NAME_INVALID',
    `Queue name ${describeValue(name)} is not valid.`,
    { details: { name }, remedy },
  );
}
