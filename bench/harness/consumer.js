import { epochMs, monotonicMs, sleep } from './clock.js';
import { StartLog } from './start-log.js';

/** The worker side: counts each job by its number, and how late it started. */
export class Consumer {
  #contender;
  #counts;
  #latencies;
  #handled = 0;
  #firstAt = 0;
  #cpuAtFirst;
  #held = null;
  #misplaced = 0;

  constructor(contender) {
    this.#contender = contender;
  }

  /**
   * `capacity`: jobs are numbered below it. `measure`: 'monotonic' or 'epoch', the clock of the
   * payload's `at`. `hold`: handlers do not return before `release`. `runMs`: how long each works.
   * `log`: a file that keeps each start whatever kills this process. `isStrict`: one after another, in
   * the order of their numbers; what comes out of it is counted.
   * What else there is goes to the contender.
   */
  async start({
    capacity,
    concurrency,
    measure,
    hold = false,
    runMs = 0,
    log,
    isStrict = false,
    ...options
  }) {
    this.#counts = new Uint8Array(capacity);
    this.#latencies = measure ? new Float64Array(capacity) : null;
    this.#held = hold ? Promise.withResolvers() : null;
    const clock = measure === 'epoch' ? epochMs : monotonicMs;
    const starts = log ? new StartLog(log) : null;
    const handler = (payload) => {
      const now = this.#latencies ? clock() : 0;
      if (this.#latencies) this.#latencies[payload.n] = now - payload.at;
      this.#counts[payload.n]++;
      if (this.#handled++ === 0) this.#begin();
      starts?.add(payload.n);
      return runMs > 0 ? sleep(runMs) : this.#held?.promise;
    };
    const strict = (payload) => {
      if (payload.n !== this.#handled) this.#misplaced++;
      return handler(payload);
    };
    const chosen = isStrict ? strict : handler;
    await this.#contender.startWorker(chosen, concurrency, { isStrict, ...options });
  }

  #begin() {
    this.#firstAt = monotonicMs();
    this.#cpuAtFirst = process.cpuUsage();
  }

  progress() {
    return { handled: this.#handled, firstAt: this.#firstAt, at: monotonicMs() };
  }

  release() {
    this.#held?.resolve();
  }

  report() {
    const { user, system } = process.cpuUsage(this.#cpuAtFirst);
    const cpuSeconds = (user + system) / 1e6;
    const counted = {
      counts: this.#counts,
      latencies: this.#latencies,
      misplaced: this.#misplaced,
    };
    return { ...this.progress(), ...counted, cpuSeconds };
  }
}
