import type { Clock } from '../../core/clock.js';
import type { Fence } from '../../core/fence.js';

/** setTimeout takes no more. */
const TIMER_MS_MAX = 2_147_483_647;

/** Something that has deadlines. */
interface Timed {
  /** Does what is due. */
  expire(now: number): void;
  /** When something is due next; Infinity: never. */
  nextDeadline(): number;
}

/**
 * One timer for the deadlines of all runs. Attempts of a queue mostly have the same time-out, so a new one
 * is hardly ever the next to pass, and starting it costs a comparison instead of a timer.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #timed: readonly Timed[];
  readonly #fence: Fence;
  #armedFor = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(clock: Clock, timed: readonly Timed[], fence: Fence) {
    this.#clock = clock;
    this.#timed = timed;
    this.#fence = fence;
  }

  /** Something is due at this time. */
  note(deadline: number): void {
    if (deadline < this.#armedFor) this.#arm(deadline);
  }

  /** Does now what is due. */
  check(): void {
    const now = this.#clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const timed of this.#timed) {
      this.#fence.call('deadlines', () => timed.expire(now));
      next = Math.min(next, timed.nextDeadline());
    }
    this.#arm(next);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #arm(deadline: number): void {
    clearTimeout(this.#timer);
    this.#armedFor = deadline;
    if (deadline === Number.POSITIVE_INFINITY || this.#isClosed) return;
    const waitMs = Math.ceil(Math.max(0, deadline - this.#clock.monotonic()));
    this.#timer = setTimeout(
      () => this.#fence.call('deadlines', () => this.check()),
      Math.min(waitMs, TIMER_MS_MAX),
    );
  }
}
