import type { Clock } from '../../core/clock.js';
import type { LeaseCalls } from '../../db/calls/leases.js';
import type { Executor } from '../../db/executor.js';
import type { LeaseKeeper } from '../lease/keeper.js';

/** What a search for strays is made of. */
interface StraysParts {
  readonly leases: LeaseCalls;
  readonly line: Executor;
  readonly keeper: LeaseKeeper;
  readonly clock: Clock;
  /** Every job that this worker knows to hold, until its outcome is confirmed. */
  readonly knownIds: () => string[];
  readonly onFailed: (error: unknown) => void;
}

/**
 * When it is looked after a claim of which nobody knows how it went: a request can be on its way long after
 * whoever sent it has given up, and the network delivers it all the same.
 */
const LOOKS_MS = [0, 2_000, 15_000, 60_000, 180_000] as const;
const RETRY_MS = 1_000;

/**
 * Jobs that were claimed for this worker but never reached it, because the reply was lost: its lease, which is
 * renewed, would keep them for ever. They are given back, uncounted. Called between two claims only, so that
 * none is on its way that was not claimed in doubt.
 */
export class Strays {
  readonly #parts: StraysParts;
  #leaseId: string | undefined;
  #dues: number[] = [];

  constructor(parts: StraysParts) {
    this.#parts = parts;
  }

  /** When to look next; infinite: there is no doubt. */
  get dueAt(): number {
    return this.#dues[0] ?? Number.POSITIVE_INFINITY;
  }

  get isDue(): boolean {
    return this.dueAt <= this.#parts.clock.monotonic();
  }

  /** A claim under this lease has failed: it may have been carried out all the same. */
  suspect(leaseId: string): void {
    const now = this.#parts.clock.monotonic();
    this.#leaseId = leaseId;
    this.#dues = LOOKS_MS.map((ms) => now + ms);
  }

  /** Looks if it is time to. A look that fails is repeated. */
  async look(): Promise<void> {
    const { leases, line, keeper, clock, knownIds, onFailed } = this.#parts;
    const leaseId = this.#leaseId;
    const now = clock.monotonic();
    if (leaseId === undefined || !this.isDue) return;
    const later = this.#dues.filter((due) => due > now);
    // what a lost lease holds comes back with its end
    if (keeper.id !== leaseId) return this.#forget();
    try {
      const isAlive = await leases.returnStrays(line, leaseId, knownIds());
      if (isAlive) this.#dues = later;
      else this.#forget();
    } catch (error) {
      this.#dues = [clock.monotonic() + RETRY_MS, ...later];
      onFailed(error);
    }
  }

  #forget(): void {
    this.#leaseId = undefined;
    this.#dues = [];
  }
}
