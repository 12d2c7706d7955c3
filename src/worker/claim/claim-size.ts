import type { PayloadTransfer } from '../../db/calls/claim.js';

/** Most jobs in one claim. */
export const CLAIM_MAX = 500;
/**
 * About the most characters of payloads in one claim. The server copies them a few times, together or apart;
 * what does not fit into the memory that a backend keeps is fetched anew each time. A claim of jobs of 16 KiB
 * took 360 us a job with 1 MiB together, 245 with 2 MiB apart, 135 either way with this.
 */
const CHARS_MAX = 524_288;
/**
 * Payloads of more characters than this, on average, travel apart. Those of 200 drain 10 % faster together, of
 * 400 10 %, of 500 35 and of 2,048 60 % faster apart.
 */
const TOGETHER_MAX = 256;

/**
 * How many jobs of a queue one claim may bring: 500, or fewer when their payloads are large, so that
 * neither the server nor this process must hold much at once; and how their payloads travel.
 */
export class ClaimSize {
  #max = CLAIM_MAX;
  #transfer: PayloadTransfer = 'together';

  get max(): number {
    return this.#max;
  }

  get transfer(): PayloadTransfer {
    return this.#transfer;
  }

  /** Notes what a claim brought. */
  claimed(jobs: number, payloadChars: number): void {
    if (jobs === 0) return;
    this.#transfer = payloadChars > TOGETHER_MAX * jobs ? 'apart' : 'together';
    const fitting = Math.floor((CHARS_MAX * jobs) / Math.max(payloadChars, 1));
    this.#max = Math.max(1, Math.min(fitting, this.#max * 2, CLAIM_MAX));
  }

  /** The database could not put so many together. @returns whether fewer can be tried */
  refused(tried: number): boolean {
    this.#max = Math.max(1, tried >> 1);
    return tried > 1;
  }
}
