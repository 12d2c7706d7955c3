/** Without work for this long, an awake queue goes to sleep. */
const LINGER_MS = 10;
/** Distance of looks while it lingers. */
const LINGER_STEP_MS = 1;
/** After working without a pause for this long, a queue tells producers not to ring any more. */
const BUSY_MS = 100;

/**
 * When one queue is looked at next, and whether its producers should ring. A ring (NOTIFY) costs
 * every producer a lock at commit, so a busy queue asks for none and looks by itself:
 *
 *   awake   looks at once after a full claim, else every 1-2 ms;
 *           10 ms without work → asleep (after telling the database, and one more look)
 *   asleep  looks when it is rung, and every poll interval all the same;
 *           100 ms of work without a pause → awake
 *   deaf    (notifications do not arrive) awake, but looks only every poll interval when idle
 *
 * So the flag in the database changes a few times a second at most. Times are monotonic milliseconds.
 */
export class Doorbell {
  /** When to look next. */
  dueAt = 0;
  isAsleep = false;
  isDeaf = true;
  #workingSince = Number.NEGATIVE_INFINITY;
  #workedAt = Number.NEGATIVE_INFINITY;
  readonly #pollMs: number;

  constructor(pollMs: number) {
    this.#pollMs = pollMs;
  }

  /** Notes what a look found. @param random from 0 to 1: spreads polls of a fleet */
  looked(now: number, found: number, isFull: boolean, random: number): void {
    if (found > 0) {
      if (now - this.#workedAt > LINGER_MS) this.#workingSince = now;
      this.#workedAt = now;
    }
    if (isFull) this.dueAt = now;
    else if (this.isAsleep || (this.isDeaf && !this.#isLingering(now))) {
      this.dueAt = now + this.#pollMs * (0.8 + 0.4 * random);
    } else this.dueAt = now + LINGER_STEP_MS;
  }

  /** Somebody rang, or work may have appeared for another reason. */
  rung(now: number): void {
    this.dueAt = Math.min(this.dueAt, now);
  }

  /** Not to be looked at for a while: it is missing, or looking failed. */
  postpone(now: number, ms: number): void {
    this.dueAt = now + ms;
  }

  wantsSleep(now: number): boolean {
    return !this.isAsleep && !this.isDeaf && !this.#isLingering(now);
  }

  wantsWake(now: number): boolean {
    if (!this.isAsleep) return false;
    return this.isDeaf || (this.#isLingering(now) && now - this.#workingSince > BUSY_MS);
  }

  /** The database rings from now on; what came before is found by one more look. */
  fellAsleep(now: number): void {
    this.isAsleep = true;
    this.dueAt = now;
  }

  /** The database does not ring any more. */
  wokeUp(now: number): void {
    this.isAsleep = false;
    this.dueAt = now;
  }

  #isLingering(now: number): boolean {
    return now - this.#workedAt <= LINGER_MS;
  }
}
