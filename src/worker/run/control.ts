import type { Clock } from '../../core/clock.js';
import type { Fence } from '../../core/fence.js';
import type { LeaseCalls } from '../../db/calls/leases.js';
import type { Executor } from '../../db/executor.js';
import type { LeaseKeeper } from '../lease/keeper.js';
import type { Runner } from './runner.js';

/** What control is made of. */
interface ControlParts {
  readonly calls: LeaseCalls;
  readonly pool: Executor;
  readonly keeper: LeaseKeeper;
  readonly runners: readonly Runner[];
  readonly clock: Clock;
  readonly fence: Fence;
}

/** After a look that failed. */
const RETRY_MS = 1_000;

/** Looks for cancel requests when told to, one look at a time, and passes them to the runners. */
export class Control {
  readonly #parts: ControlParts;
  readonly #closing = new AbortController();
  #isLooking = false;
  #toldAt = Number.NEGATIVE_INFINITY;
  #isWanted = false;

  constructor(parts: ControlParts) {
    this.#parts = parts;
  }

  close(): void {
    this.#closing.abort();
  }

  /** A claim sent at this time has come back: a request may have come while its jobs were on their way. */
  claimed(sentAt: number): void {
    if (this.#toldAt >= sentAt) this.#lookAgain();
  }

  /** Look now, or once more after the look under way. A look that fails is repeated. */
  look(): void {
    this.#toldAt = this.#parts.clock.monotonic();
    this.#lookAgain();
  }

  #lookAgain(): void {
    this.#isWanted = true;
    if (!this.#isLooking) void this.#lookWhileWanted();
  }

  async #lookWhileWanted(): Promise<void> {
    this.#isLooking = true;
    await this.#parts.fence.loop(
      'control',
      async () => {
        this.#isWanted = false;
        await this.#lookOnce().catch(() => this.#lookLater());
        return this.#isWanted;
      },
      this.#closing.signal,
    );
    this.#isLooking = false;
  }

  async #lookLater(): Promise<void> {
    await this.#parts.clock.sleep(RETRY_MS, this.#closing.signal);
    this.#isWanted = !this.#closing.signal.aborted;
  }

  async #lookOnce(): Promise<void> {
    const { calls, pool, keeper, runners } = this.#parts;
    const ids = runners.flatMap((runner) => runner.jobIds);
    if (keeper.id === undefined || ids.length === 0) return;
    const asked = new Set(await calls.cancelRequests(pool, keeper.id, ids));
    if (asked.size === 0) return;
    for (const runner of runners) this.#parts.fence.call('control', () => runner.cancel(asked));
  }
}
