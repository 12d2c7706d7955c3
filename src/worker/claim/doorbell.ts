import { lateLookAfterMs, pollAfterMs } from '../../core/time/backoff.js';
import { DEAF_POLL_MAX_MS } from '../../db/connect/listener.js';

/** Without work for at least this long, an awake queue goes to sleep. */
const LINGER_MIN_MS = 10;
const LINGER_MAX_MS = 50;
/** Work that comes at longer distances than this is not worth staying awake for. */
const BUSY_GAP_MS = 15;
/** After working without a pause for this long, a queue tells producers not to ring any more. */
const BUSY_MS = 100;
/** Held for longer than this it sleeps. */
const HELD_AWAKE_MS = 50;
/** Bounds of the distance of looks while it lingers. */
const STEP_MIN_MS = 1;
const STEP_MAX_MS = 3;
/** Whoever looks anyway looks at those, too, that are due within this part of the poll interval. */
const TOGETHER = 0.5;
/** Weight of the newest distance between two finds. */
const WEIGHT = 0.2;

/**
 * When one queue is looked at next, and whether its producers should ring. A ring (NOTIFY) takes a
 * lock at commit that all producers share, so a busy queue asks for none and looks by itself:
 *
 *   awake   looks at once after a full claim, else every 1-3 ms while it lingers: for four times the
 *           usual distance of finds, 10 to 50 ms; then → asleep (it tells the database)
 *   asleep  looks when it is rung, and every poll interval all the same; at first also at once and after
 *           250 ms, 500 ms, 1 s, ..., for what was enqueued before and is committed only now;
 *           finds without a pause for 100 ms → awake
 *   held    the queue has no room: looks when it was told to, and when it is rung, but rings are heeded
 *           at a distance; asleep if that is far away
 *   deaf    (notifications do not arrive) awake, but when idle looks only every poll interval, or 2 s
 *
 * So the flag in the database changes a few times a second at most. Times are monotonic milliseconds.
 */
export class Doorbell {
  /** When to look next. */
  dueAt = 0;
  isAsleep = false;
  isDeaf = true;
  readonly #pollMs: number;
  #busySince = Number.NEGATIVE_INFINITY;
  #foundAt = Number.NEGATIVE_INFINITY;
  #asleepSince = Number.NEGATIVE_INFINITY;
  /** Usual distance between two finds. */
  #gapMs = 100;
  /** A ring before this time cannot help. */
  #heldUntil = Number.NEGATIVE_INFINITY;
  /** The queue gives no more for so long that it is better to sleep. */
  #isHeld = false;

  constructor(pollMs: number) {
    this.#pollMs = pollMs;
  }

  /** No work for a while: one look tells of many such queues whether they have any. */
  isQuiet(now: number): boolean {
    return this.isAsleep || !this.#isLingering(now);
  }

  /**
   * Whether a look that is made anyway should look here, too: so the polls of many queues become one. A queue
   * that is held is not due before its time.
   */
  isNear(now: number): boolean {
    return this.dueAt <= now + (this.#isHeld ? 0 : this.#pollMs * TOGETHER);
  }

  /** Notes what a look found. @param random from 0 to 1: spreads polls of a fleet */
  looked(now: number, found: number, isFull: boolean, random: number): void {
    this.#isHeld = false;
    if (found > 0) this.#found(now);
    if (isFull) this.dueAt = now;
    else if (this.isAsleep || (this.isDeaf && !this.#isLingering(now))) {
      const pollMs = this.isDeaf ? Math.min(this.#pollMs, DEAF_POLL_MAX_MS) : this.#pollMs;
      this.dueAt = now + pollAfterMs(pollMs, random);
      if (this.isAsleep) {
        this.dueAt = Math.min(this.dueAt, now + lateLookAfterMs(now - this.#asleepSince));
      }
    } else this.dueAt = now + Math.min(STEP_MAX_MS, Math.max(STEP_MIN_MS, this.#gapMs / 4));
  }

  /** Somebody rang, or work may have appeared for another reason. */
  rung(now: number): void {
    this.dueAt = Math.min(this.dueAt, Math.max(now, this.#heldUntil));
  }

  /**
   * After {@link looked}: there is no more room until then, unless something changes.
   * @param againMs when to look again; the poll interval holds all the same
   * @param quietMs how long rings are not heeded
   */
  held(now: number, againMs: number, quietMs: number): void {
    this.#isHeld = againMs > HELD_AWAKE_MS;
    this.#heldUntil = now + quietMs;
    this.dueAt = now + Math.min(againMs, this.#pollMs);
  }

  /** What held it is over, as far as this process knows. */
  freed(now: number): void {
    this.#heldUntil = now;
    this.dueAt = now;
  }

  /** Not to be looked at for a while: it is missing, or looking failed. */
  postpone(now: number, ms: number): void {
    this.dueAt = now + ms;
  }

  wantsSleep(now: number): boolean {
    return !this.isAsleep && !this.isDeaf && (this.#isHeld || !this.#isLingering(now));
  }

  wantsWake(now: number): boolean {
    if (!this.isAsleep) return false;
    if (this.isDeaf) return true;
    return !this.#isHeld && this.#isLingering(now) && now - this.#busySince > BUSY_MS;
  }

  /** The database rings from now on; what came before is found by late looks. */
  fellAsleep(now: number): void {
    this.isAsleep = true;
    this.dueAt = now;
    this.#asleepSince = now;
  }

  /** The database does not ring any more. */
  wokeUp(now: number): void {
    this.isAsleep = false;
    this.dueAt = now;
  }

  #found(now: number): void {
    if (!this.#isLingering(now)) this.#busySince = now;
    const gapMs = Math.min(100, now - this.#foundAt);
    this.#gapMs += (gapMs - this.#gapMs) * WEIGHT;
    this.#foundAt = now;
  }

  #isLingering(now: number): boolean {
    const lingerMs =
      this.#gapMs < BUSY_GAP_MS
        ? Math.min(LINGER_MAX_MS, Math.max(LINGER_MIN_MS, this.#gapMs * 4))
        : LINGER_MIN_MS;
    return now - this.#foundAt <= lingerMs;
  }
}
