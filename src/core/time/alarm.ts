import type { Clock } from '../clock.js';

/**
 * A sleep of one sleeper that others can cut short. A ring while nobody sleeps cuts the next sleep
 * short, so that none is lost.
 */
export class Alarm {
  readonly #clock: Clock;
  #isRung = false;
  #sleep: AbortController | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves after `ms`, or at once when it is rung. */
  async wait(ms: number): Promise<void> {
    if (!this.#isRung && ms > 0) {
      this.#sleep = new AbortController();
      await this.#clock.sleep(ms, this.#sleep.signal);
      this.#sleep = undefined;
    }
    this.#isRung = false;
  }

  ring(): void {
    this.#isRung = true;
    this.#sleep?.abort();
  }
}
