import type { Clock } from '../core/clock.js';
import type { Duty, DutyResult } from './duty.js';

/** One duty at a time, so that what may wait takes one connection of the pool, not many. */
export class Turns {
  readonly #clock: Clock;
  #last: Promise<unknown> = Promise.resolve();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The same duty, which waits for its turn. For how long it waited is not counted as its own time. */
  of(duty: Duty): Duty {
    const run = async (): Promise<DutyResult> => {
      const begunAt = this.#clock.monotonic();
      const result = await duty.runOnce();
      return { ...result, tookMs: this.#clock.monotonic() - begunAt };
    };
    return { ...duty, runOnce: () => this.#take(run) };
  }

  #take(run: () => Promise<DutyResult>): Promise<DutyResult> {
    const turn = this.#last.then(run);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
