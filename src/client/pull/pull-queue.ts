import type { Clock } from '../../core/clock.js';
import type { HowdahError } from '../../core/errors.js';
import type { Fence } from '../../core/fence.js';
import { backoffMs, lateLookAfterMs, pollAfterMs, RECONNECT } from '../../core/time/backoff.js';
import { Cursors } from '../../core/time/cursors.js';
import type { PullCalls, ReceivedRow } from '../../db/calls/pull.js';
import { toHowdahError } from '../../db/errors/pg-error.js';
import { DEAF_POLL_MS, POLL_MS, type PullStation } from '../station/station.js';
import { RECEIVE_MAX } from './receive-options.js';

/** Rings of this queue are still wanted for so long after its last waiter has gone. */
const LINGER_MS = 1_000;
/** A wake-up is passed on at most this often. */
const PASS_ON_MS = 100;
/** At least this long between two looks from the beginning, and so many times what one costs. */
const FULL_MS = 5_000;
const FULL_COST_FACTOR = 50;

/** Somebody who waits for jobs. */
export interface Waiter {
  readonly max: number;
  /** Null: as the queue says. */
  readonly visibilityMs: number | null;
  /** Does not wait: one look decides. */
  readonly isImpatient: boolean;
  /** Ends the wait with these jobs, or none. */
  readonly end: (rows: readonly ReceivedRow[]) => void;
  readonly fail: (error: HowdahError) => void;
}

/** What the waiters of a queue share. */
interface PullQueueParts {
  readonly queue: string;
  readonly calls: PullCalls;
  readonly consumer: string;
  readonly clock: Clock;
  readonly fence: Fence;
  /** Opened only where somebody really waits. */
  readonly station: () => PullStation;
  /** Gives back jobs whose waiter has gone. */
  readonly giveBack: (rows: readonly ReceivedRow[]) => Promise<void>;
}

/**
 * The waiters of one queue in this process, served first come, first served. One look (a claim) at a time
 * asks for as many jobs as the first waiters of one visibility want together:
 *
 *   looking   until a look comes back short; waiters that do not wait end with that
 *   waiting   registered at the station; a ring, a poll, a late look or somebody impatient → looking
 *
 * So thousands of waiters cost one poll. A waiter that goes away while a look is under way leaves its jobs
 * to the next, or they are given back. Times are monotonic milliseconds.
 */
export class PullQueue {
  readonly #parts: PullQueueParts;
  /** First come first: a set keeps that order and forgets in no time. */
  readonly #waiters = new Set<Waiter>();
  readonly #cursors = new Cursors();
  #looking: Promise<void> | undefined;
  #isWanted = false;
  /** Registered, and looked at since without finding enough: a ring tells of anything new. */
  #isKnownEmpty = false;
  #registeredAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #fullAt = Number.NEGATIVE_INFINITY;
  #fullTookMs = 0;
  #passedOnAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  /** When to look once more, though nobody rang. */
  #dueAt = Number.NEGATIVE_INFINITY;
  /** Most jobs in a look: less while their payloads do not fit into one answer. */
  #max = RECEIVE_MAX;
  readonly #closing = new AbortController();

  constructor(parts: PullQueueParts) {
    this.#parts = parts;
  }

  /** How many wait. */
  get size(): number {
    return this.#waiters.size;
  }

  add(waiter: Waiter): void {
    this.#waiters.add(waiter);
    const { queue, station, clock } = this.#parts;
    const isSure = this.#isKnownEmpty && clock.monotonic() < this.#dueAt;
    if (waiter.isImpatient || !isSure || !station().isHearing(queue)) this.#look();
    else if (!this.#timer || this.#waiters.size === 1) this.#pollLater();
  }

  /** The waiter wants nothing more. */
  remove(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    if (this.#waiters.size === 0 && !this.#looking) this.#linger();
  }

  /** Somebody rang, for this queue or for any. */
  rung(): void {
    this.#isKnownEmpty = false;
    if (this.#waiters.size > 0) this.#look();
    else if (this.#parts.station().isRegistered(this.#parts.queue)) this.#passOn();
  }

  /** Ends every wait. Resolves when the look under way has come back. */
  async close(error: HowdahError): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    for (const waiter of this.#waiters) waiter.fail(error);
    this.#waiters.clear();
    await this.#looking;
  }

  #look(): void {
    this.#isWanted = true;
    if (this.#looking || this.#closing.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#looking = this.#lookWhileWanted().finally(() => {
      this.#looking = undefined;
      this.#parts.fence.call('receive', () => this.#goOn());
    });
  }

  #goOn(): void {
    if (this.#closing.signal.aborted) return;
    if (this.#isWanted && this.#waiters.size > 0) this.#look();
    else if (this.#waiters.size > 0) this.#pollLater();
    else this.#linger();
  }

  async #lookWhileWanted(): Promise<void> {
    // waiters of the same moment share the look
    await new Promise((resolve) => setImmediate(resolve));
    await this.#parts.fence.loop('receive', () => this.#turn(), this.#closing.signal);
  }

  /** @returns whether somebody wants another */
  async #turn(): Promise<boolean> {
    if (!this.#isWanted || this.#waiters.size === 0) return false;
    this.#isWanted = false;
    try {
      const isShort = await this.#lookOnce();
      this.#failures = 0;
      if (!isShort) this.#isWanted = true;
      else if (this.#waiters.size > 0) await this.#register();
    } catch (thrown) {
      await this.#failed(toHowdahError(thrown));
    }
    return true;
  }

  /** @returns whether it found fewer than were wanted: nothing is left */
  async #lookOnce(): Promise<boolean> {
    const { calls, queue, consumer, clock, giveBack } = this.#parts;
    const asking = [...this.#waiters].filter(({ isImpatient }) => isImpatient);
    const { visibilityMs, max } = this.#wanted();
    const now = clock.monotonic();
    const isFull = now - this.#fullAt > Math.max(FULL_MS, this.#fullTookMs * FULL_COST_FACTOR);
    if (isFull) this.#cursors.reset();
    const start = this.#cursors.start(now);
    const rows = await calls.receive(queue, max, visibilityMs, start, consumer);
    const tookMs = clock.monotonic() - now;
    this.#dueAt = now + this.#nextLookAfterMs(now);
    this.#max = Math.min(this.#max * 2, RECEIVE_MAX);
    if (isFull) {
      this.#fullAt = now;
      this.#fullTookMs = tookMs;
    }
    for (const { lane, seq } of rows) this.#cursors.advance(lane, Number(seq));
    const isShort = rows.length < max;
    this.#cursors.finish(start, isShort, tookMs);
    const left = this.#handOut(rows, visibilityMs);
    if (left.length > 0) await giveBack(left);
    this.#isKnownEmpty = isShort && this.#parts.station().isRegistered(queue) && !this.#isWanted;
    if (isShort) {
      for (const waiter of asking) if (this.#waiters.has(waiter)) this.#end(waiter, []);
    } else if (this.#waiters.size === 0) this.#passOn();
    return isShort;
  }

  /** What the first waiters of the first one's visibility want together. */
  #wanted(): { readonly visibilityMs: number | null; readonly max: number } {
    let visibilityMs: number | null = null;
    let max = 0;
    for (const waiter of this.#waiters) {
      if (max === 0) visibilityMs = waiter.visibilityMs;
      if (waiter.visibilityMs !== visibilityMs) continue;
      max += waiter.max;
      if (max >= this.#max) break;
    }
    return { visibilityMs, max: Math.min(max, this.#max) };
  }

  /** @returns the jobs that nobody waits for any more */
  #handOut(rows: readonly ReceivedRow[], visibilityMs: number | null): readonly ReceivedRow[] {
    let taken = 0;
    for (const waiter of this.#waiters) {
      if (taken >= rows.length) break;
      if (waiter.visibilityMs !== visibilityMs) continue;
      this.#end(waiter, rows.slice(taken, taken + waiter.max));
      taken += waiter.max;
    }
    return rows.slice(taken);
  }

  #end(waiter: Waiter, rows: readonly ReceivedRow[]): void {
    this.#waiters.delete(waiter);
    waiter.end(rows);
  }

  /** Those who are left wait for a ring; what came before it is registered is found by later looks. */
  async #register(): Promise<void> {
    const { queue, station } = this.#parts;
    if (station().isRegistered(queue)) return;
    await station().register(queue);
    this.#registeredAt = this.#parts.clock.monotonic();
    this.#isWanted = true;
  }

  async #failed(error: HowdahError): Promise<void> {
    const { clock } = this.#parts;
    this.#isKnownEmpty = false;
    if (error.details.sqlstate === '54000' && this.#max > 1) {
      this.#max = Math.max(1, Math.floor(this.#max / 8));
      this.#isWanted = true;
      return;
    }
    const isPassing = error.isRetryable || error.code === 'HOWDAH_LEASE_LOST';
    for (const waiter of this.#waiters) {
      if (isPassing && !waiter.isImpatient) continue;
      this.#waiters.delete(waiter);
      waiter.fail(error);
    }
    if (this.#waiters.size === 0) return;
    this.#failures += 1;
    this.#isWanted = true;
    await clock.sleep(backoffMs(this.#failures, RECONNECT, clock.random()), this.#closing.signal);
  }

  #nextLookAfterMs(now: number): number {
    const { queue, station, clock } = this.#parts;
    const pollMs = station().isHearing(queue) ? POLL_MS : DEAF_POLL_MS;
    const sleptMs = now - this.#registeredAt;
    return Math.min(pollAfterMs(pollMs, clock.random()), lateLookAfterMs(sleptMs));
  }

  #pollLater(): void {
    clearTimeout(this.#timer);
    const { fence, clock } = this.#parts;
    const waitMs = fence.call('receive', () => this.#dueAt - clock.monotonic()) ?? DEAF_POLL_MS;
    this.#timer = setTimeout(
      () => void fence.follow('receive', () => this.#poll()),
      Math.max(0, waitMs),
    );
  }

  /** Looks once more, but for a sleep of some age only if all queues' common look says that it may be of use. */
  async #poll(): Promise<void> {
    const { queue, station, clock } = this.#parts;
    const isOld = clock.monotonic() - this.#registeredAt > POLL_MS;
    if (!isOld || !this.#isKnownEmpty || !station().isHearing(queue)) return this.#look();
    const may = await station().mayFind(queue);
    if (this.#looking || this.#waiters.size === 0 || this.#closing.signal.aborted) return;
    if (may) return this.#look();
    const now = clock.monotonic();
    this.#dueAt = now + this.#nextLookAfterMs(now);
    this.#pollLater();
  }

  #linger(): void {
    const { queue, station } = this.#parts;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#isKnownEmpty = false;
      if (this.#waiters.size > 0) return;
      void station()
        .unregister(queue)
        .catch(() => undefined);
    }, LINGER_MS);
    this.#timer.unref();
  }

  #passOn(): void {
    const { clock, station, queue } = this.#parts;
    const now = clock.monotonic();
    if (now - this.#passedOnAt < PASS_ON_MS) return;
    this.#passedOnAt = now;
    station().passOn(queue);
  }
}
