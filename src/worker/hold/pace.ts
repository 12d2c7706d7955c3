/** Jobs are claimed ahead for about this long. */
const AHEAD_MS = 25;
/** Most jobs claimed ahead, unless the binding says otherwise. */
const AHEAD_MAX = 1_000;
/** Most members of one group claimed at once. */
const TURN_MAX = 32;
/** Weight of the newest duration. */
const WEIGHT = 0.25;

/**
 * How many jobs to claim ahead of a free slot: as many as the handler is likely to finish in 25 ms.
 * Fast handlers get large claims; a job never waits long for a slow one while other workers idle.
 */
export class Pace {
  readonly #concurrency: number;
  readonly #fixed: number | undefined;
  #averageMs: number | undefined;

  constructor(concurrency: number, fixed: number | undefined) {
    this.#concurrency = concurrency;
    this.#fixed = fixed;
  }

  /** Whether the bound was set by the user. */
  get isFixed(): boolean {
    return this.#fixed !== undefined;
  }

  /** Jobs to hold beside those that run. Nothing is held ahead before anything is known. */
  get ahead(): number {
    if (this.#fixed !== undefined) return this.#fixed;
    if (this.#averageMs === undefined) return 0;
    const rate = this.#concurrency / Math.max(this.#averageMs, 0.001);
    return Math.min(AHEAD_MAX, Math.floor(rate * AHEAD_MS));
  }

  /** Members of one group to claim at once: as many as take 25 ms one after another, at most 32. */
  get turn(): number {
    if (this.#fixed !== undefined) return Math.min(TURN_MAX, this.#fixed + 1);
    if (this.#averageMs === undefined) return 1;
    return Math.max(1, Math.min(TURN_MAX, Math.floor(AHEAD_MS / Math.max(this.#averageMs, 0.001))));
  }

  /** Notes that a handler took so long for `jobs` jobs. */
  ran(durationMs: number, jobs: number): void {
    const each = durationMs / jobs;
    this.#averageMs =
      this.#averageMs === undefined ? each : this.#averageMs + (each - this.#averageMs) * WEIGHT;
  }

  /** Jobs claimed ahead have waited for so long: whatever the average says, hold none. */
  stalled(waitedMs: number): void {
    this.#averageMs = Math.max(this.#averageMs ?? 0, waitedMs * this.#concurrency);
  }
}
