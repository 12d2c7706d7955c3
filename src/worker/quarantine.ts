import type { EventHub } from '../core/events.js';
import type { ClaimedRow } from '../db/calls/claim.js';
import type { LeaseCalls } from '../db/calls/leases.js';
import type { Executor } from '../db/executor.js';
import type { LeaseKeeper } from './lease-keeper.js';
import { isQuiet, type QuietParts, whenQuiet } from './quiet.js';
import type { Runner } from './runner.js';

/** What a quarantine is made of. */
export interface QuarantineParts extends QuietParts {
  readonly leases: LeaseCalls;
  readonly line: Executor;
  readonly keeper: LeaseKeeper;
  readonly hub: EventHub;
}

/**
 * Runs suspects: jobs whose worker died when it held them last. Nothing else of this process runs beside
 * them, so that the next death harms nobody:
 *
 *   waiting   for what runs to end and be settled; the database knows that the suspects have not begun
 *   running   they alone
 *
 * Nothing is claimed in either.
 */
export class Quarantine {
  readonly #parts: QuarantineParts;
  #isBusy = false;

  constructor(parts: QuarantineParts) {
    this.#parts = parts;
  }

  /** Suspects wait or run: nothing may be claimed. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /**
   * Resolves when these jobs have ended.
   * @param stop gives them back if they have not begun, and waits no longer if they have
   */
  async run(runner: Runner, rows: ClaimedRow[], leaseId: string, stop: AbortSignal): Promise<void> {
    this.#isBusy = true;
    try {
      const ids = rows.map(([id]) => id);
      const isFree = isQuiet(this.#parts) || (await this.#clear(leaseId, ids, stop));
      if (!isFree || stop.aborted) return runner.release(rows, leaseId);
      const { hub, keeper } = this.#parts;
      hub.emit('job.suspected', { queue: runner.name, ids });
      runner.accept(rows, leaseId, keeper.id !== leaseId);
      await whenQuiet(this.#parts, stop);
    } finally {
      this.#isBusy = false;
    }
  }

  /** @returns whether they may begin: the database has heard that they do, so that a crash counts */
  async #clear(leaseId: string, ids: readonly string[], stop: AbortSignal): Promise<boolean> {
    const { leases, line } = this.#parts;
    await leases.setAside(line, leaseId, ids).catch(() => false);
    await whenQuiet(this.#parts, stop);
    return leases.setAside(line, leaseId, null).catch(() => false);
  }
}
