import { describeValue } from '../describe-value.js';
import { HowdahError } from '../errors.js';

/**
 * The id of a batch from what stands for it: itself, or an object with such an `id`.
 * @throws HowdahError HOWDAH_BATCH_UNKNOWN
 */
export function batchIdOf(value: unknown): string {
  const id = typeof value === 'object' && value !== null ? (value as { id?: unknown }).id : value;
  if (typeof id === 'string' && /^\d{1,18}$/.test(id)) return id;
  throw new HowdahError('HOWDAH_BATCH_UNKNOWN', `${describeValue(value)} is not a batch.`, {
    details: { option: 'batch' },
    remedy: 'Give what client.batches.open() returned, or its id: text of digits.',
  });
}
