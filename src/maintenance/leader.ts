import type { Clock } from '../core/clock.js';
import { HowdahError } from '../core/errors.js';
import type { Election, MaintenanceCalls, RestingDuties } from '../db/calls/maintenance.js';
import type { Executor } from '../db/executor.js';

/** What an election is made of. */
interface LeaderParts {
  readonly executor: Executor;
  readonly calls: MaintenanceCalls;
  readonly clock: Clock;
  readonly leaseId: () => string | undefined;
  /** How long a term lasts unless it is renewed. */
  readonly termMs: number;
}

/**
 * Whether this process leads. The database decides by its own clock; this side only stops believing
 * it, by a monotonic clock begun before the question was sent, when the term may have ended.
 */
export class Leader {
  readonly #parts: LeaderParts;
  #term: string | undefined;
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(parts: LeaderParts) {
    this.#parts = parts;
  }

  /** The number of the term, undefined when another leads or may lead by now. */
  get term(): string | undefined {
    return this.#parts.clock.monotonic() < this.#untilMs ? this.#term : undefined;
  }

  /**
   * Runs for election, or renews the term.
   * @param resting duties of which the answer is to tell what they have to do
   * @returns undefined when another leads. An answer that came so late that the term may have ended since
   *   is returned all the same: the next election says whose it is
   * @throws HowdahError when the database cannot be asked
   */
  async campaign(resting?: RestingDuties): Promise<Election | undefined> {
    const { executor, calls, clock, leaseId, termMs } = this.#parts;
    const id = leaseId();
    if (id === undefined) throw new HowdahError('HOWDAH_LEASE_LOST', 'There is no lease now.');
    const sentAt = clock.monotonic();
    const election = await calls.lead(executor, id, termMs, resting);
    this.#term = election?.term;
    this.#untilMs = election ? sentAt + termMs : Number.NEGATIVE_INFINITY;
    return election;
  }
}
