import type { Clock } from '../core/clock.js';
import { Turns as Line } from '../core/time/turns.js';
import type { Duty, DutyResult } from './duty.js';

/** One duty at a time, so that what may wait takes one connection of the pool, not many. */
export class Turns {
  readonly #clock: Clock;
  readonly #line = new Line(1);

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
    return { ...duty, runOnce: () => this.#line.run(run) };
  }
}
