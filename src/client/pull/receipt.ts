import { describeValue } from '../../core/describe-value.js';
import { HowdahError } from '../../core/errors.js';
import { assertQueueName } from '../../core/queue/queue-name.js';

/** Which hold of which job: the fence. */
export interface Hold {
  readonly leaseId: string;
  readonly id: string;
  /** Claims so far. */
  readonly claims: number;
  /** Where it was received; named in the text only where there is a codec, which asks for it. */
  readonly queue?: string | undefined;
}

/** The fence as one opaque text, to be handed to another process. */
export function formatReceipt({ leaseId, id, claims, queue }: Hold): string {
  const fence = `${leaseId}.${id}.${claims}`;
  return queue === undefined ? fence : `${fence}.${queue}`;
}

/** @throws HowdahError HOWDAH_OPTION_INVALID, HOWDAH_QUEUE_NAME_INVALID */
export function parseReceipt(receipt: string): Hold {
  const match =
    typeof receipt !== 'string'
      ? null
      : /^(\d{1,19})\.(\d{1,18})\.(\d{1,9})(?:\.(.{1,128}))?$/.exec(receipt);
  const [, leaseId, id, claims, queue] = match ?? [];
  if (leaseId === undefined || id === undefined || BigInt(leaseId) > 9223372036854775807n) {
    throw new HowdahError(
      'HOWDAH_OPTION_INVALID',
      `Receipt ${describeValue(receipt)} is not valid.`,
      { details: { option: 'receipt' }, remedy: 'Use the receipt of a job as receive gave it.' },
    );
  }
  if (queue !== undefined) assertQueueName(queue);
  return { leaseId, id, claims: Number(claims), queue };
}
