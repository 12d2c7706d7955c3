/** Most jobs in one claim. */
export const CLAIM_MAX = 500;
/**
 * About the most characters of payloads in one claim. The server puts them together in one text and copies
 * that a few times; what does not fit into the memory that a backend keeps is fetched anew each time. A claim
 * of jobs of 16 KiB took 360 us a job with 1 MiB, 135 us with this.
 */
const CHARS_MAX = 524_288;

/**
 * How many jobs of a queue one claim may bring: 500, or fewer when their payloads are large, so that
 * neither the server nor this process must hold much at once.
 */
export class ClaimSize {
  #max = CLAIM_MAX;

  get max(): number {
    return this.#max;
  }

  /** Notes what a claim brought. */
  claimed(jobs: number, payloadChars: number): void {
    if (jobs === 0) return;
    const fitting = Math.floor((CHARS_MAX * jobs) / Math.max(payloadChars, 1));
    this.#max = Math.max(1, Math.min(fitting, this.#max * 2, CLAIM_MAX));
  }

  /** The database could not put so many together. @returns whether fewer can be tried */
  refused(tried: number): boolean {
    this.#max = Math.max(1, tried >> 1);
    return tried > 1;
  }
}
