import { monotonicMs } from './clock.js';

/** Long polls without end in this process: each waits for one job, completes it and waits again. */
export class Waiters {
  #contender;
  #stopping = new AbortController();
  #loops = [];
  #counts;
  #latencies;
  #handled = 0;
  #firstAt = 0;

  constructor(contender) {
    this.#contender = contender;
  }

  /** Jobs are numbered below `capacity`; their `at` is monotonic. */
  start({ capacity, waiters, waitMs }) {
    this.#counts = new Uint8Array(capacity);
    this.#latencies = new Float64Array(capacity);
    this.#loops = Array.from({ length: waiters }, () => this.#loop(waitMs));
  }

  async #loop(wait) {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      for (const job of await this.#contender.receive({ max: 1, wait, signal })) {
        const now = monotonicMs();
        const { n, at } = job.payload;
        if (this.#handled++ === 0) this.#firstAt = now;
        this.#counts[n]++;
        this.#latencies[n] = now - at;
        await job.complete();
      }
    }
  }

  progress() {
    return { handled: this.#handled, firstAt: this.#firstAt };
  }

  async report() {
    this.#stopping.abort();
    await Promise.all(this.#loops);
    return { ...this.progress(), counts: this.#counts, latencies: this.#latencies };
  }
}
