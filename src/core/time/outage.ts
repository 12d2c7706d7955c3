import type { Clock } from '../clock.js';
import { whenAborted } from './abort.js';
import { Alarm } from './alarm.js';
import { type BackoffBounds, backoffMs } from './backoff.js';

/** Between two attempts of a process, whoever in it makes them. */
const SPACING: BackoffBounds = { min: 50, max: 3_000 };

/**
 * A database that is away, or cannot write, is not besieged: everything in a process that has to try again
 * takes turns, further and further apart, and when one gets through, the others follow at once. Where one
 * kind of statement gets through and another does not, as on a full disk, the pauses do not begin anew each time.
 */
export class Outage {
  readonly #clock: Clock;
  readonly #waiting = new Set<Alarm>();
  #attempts = 0;
  /** Those of the outage before, for a while after its end. */
  #lastAttempts = 0;
  #overAt = Number.NEGATIVE_INFINITY;
  #nextAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Call it after a failure. Resolves when it is the caller's turn, somebody got through, or `signal` aborts. */
  async turn(signal?: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    if (this.#attempts === 0 && now - this.#overAt < SPACING.max)
      this.#attempts = this.#lastAttempts;
    this.#attempts += 1;
    const pauseMs = backoffMs(this.#attempts, SPACING, this.#clock.random());
    this.#nextAt = Math.max(this.#nextAt, now) + pauseMs;
    const alarm = new Alarm(this.#clock);
    const forget = whenAborted(signal, () => alarm.ring());
    if (signal?.aborted) alarm.ring();
    this.#waiting.add(alarm);
    await alarm.wait(this.#nextAt - now);
    this.#waiting.delete(alarm);
    forget();
  }

  /** Somebody who had failed got through. */
  over(): void {
    if (this.#attempts === 0) return;
    this.#lastAttempts = this.#attempts;
    this.#attempts = 0;
    this.#overAt = this.#clock.monotonic();
    this.#nextAt = Number.NEGATIVE_INFINITY;
    for (const alarm of this.#waiting) alarm.ring();
  }
}
