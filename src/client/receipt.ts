import { HowdahError } from '../core/errors.js';

/** Which hold of which job: the fence. */
export interface Hold {
  readonly leaseId: string;
  readonly id: string;
  /** Claims so far. */
  readonly claims: number;
}

/** The fence as one opaque text, to be handed to another process. */
export function formatReceipt({ leaseId, id, claims }: Hold): string {
  return `${leaseId}.${id}.${claims}`;
}

/** @throws HowdahError HOWDAH_OPTION_INVALID */
export function parseReceipt(receipt: string): Hold {
  const match = /^(\d{1,19})\.(\d{1,18})\.(\d{1,9})$/.exec(receipt);
  const [, leaseId, id, claims] = match ?? [];
  if (leaseId === undefined || id === undefined || BigInt(leaseId) > 9223372036854775807n) {
    throw new HowdahError(
      'HOWDAH_OPTION_INVALID',
      `Receipt ${JSON.stringify(String(receipt).slice(0, 80))} is not valid.`,
      { details: { option: 'receipt' }, remedy: 'Use the receipt of a job as receive gave it.' },
    );
  }
  return { leaseId, id, claims: Number(claims) };
}
