import { Alarm } from '../core/alarm.js';
import { backoffMs } from '../core/backoff.js';
import type { Clock } from '../core/clock.js';
import type { EventHub } from '../core/events.js';
import { Service } from '../core/service.js';
import { maintenanceCalls } from '../db/calls/maintenance.js';
import type { Database } from '../db/database.js';
import { isConnectionUnusable, toHowdahError } from '../db/pg-error.js';
import { dutiesOf } from './duties.js';
import { type Duty, waitAfter } from './duty.js';
import { Leader } from './leader.js';

const RETRY = { min: 100, max: 10_000 };
/** A stop does not wait longer than this for duties under way; they may be cut off at any point. */
const STOP_MS = 1_000;

/** What a maintainer is made of. */
export interface MaintainerParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly leaseMs: number;
  /** The lease of the process; undefined while there is none. */
  readonly leaseId: () => string | undefined;
}

/**
 * Upkeep of the installation: delayed jobs, dead workers, stragglers, expiry, statistics, retention.
 * Every worker has one; one of them leads and does the work, the others stand by. Nothing here is
 * fatal: what fails is reported and tried again.
 */
export class Maintainer extends Service {
  readonly #parts: MaintainerParts;
  readonly #leader: Leader;
  readonly #termMs: number;
  readonly #elections: Alarm;
  /** The alarms of the duties of this term. */
  readonly #alarms = new Map<Duty, Alarm>();
  #loops: Promise<unknown> = Promise.resolve();
  /** The term that the last election gave; it may have lapsed since, and be renewed. */
  #served: string | undefined;
  /** The database was not reached: duties leave it to the next election to try again. */
  #isAway = false;
  #isClosing = false;

  constructor(parts: MaintainerParts) {
    super();
    this.#parts = parts;
    this.#termMs = Math.min(5_000, Math.max(500, parts.leaseMs / 2));
    const { database, clock, leaseId } = parts;
    this.#elections = new Alarm(clock);
    const calls = maintenanceCalls(database);
    this.#leader = new Leader({
      executor: database,
      calls,
      clock,
      leaseId,
      termMs: this.#termMs,
    });
  }

  /** A delayed job may be due soon, or a schedule has changed. */
  notice(kind: 'p' | 's'): void {
    for (const [duty, alarm] of this.#alarms) if (duty.noticedBy === kind) alarm.ring();
  }

  protected override onStart(): Promise<void> {
    this.#loops = this.#campaign();
    return Promise.resolve();
  }

  protected override async onStop(): Promise<void> {
    this.#isClosing = true;
    this.#elections.ring();
    this.#ringDuties();
    await Promise.race([this.#loops, this.#parts.clock.sleep(STOP_MS)]);
  }

  #ringDuties(): void {
    for (const alarm of this.#alarms.values()) alarm.ring();
  }

  /** Stands for election until it is stopped, and serves each term that is won. */
  async #campaign(): Promise<void> {
    let serving: Promise<void> = Promise.resolve();
    for (let failures = 0; !this.#isClosing; ) {
      try {
        const term = await this.#leader.campaign();
        failures = 0;
        this.#isAway = false;
        if (term !== this.#served) {
          this.#served = term;
          this.#ringDuties(); // those of the term before end at once
          if (term !== undefined) serving = this.#serve(term, serving);
        }
      } catch (error) {
        failures += 1;
        this.#report('lead', error);
      }
      await this.#elections.wait(this.#campaignMs(failures));
    }
    await serving;
  }

  #campaignMs(failures: number): number {
    const { random } = this.#parts.clock;
    if (failures > 0) return backoffMs(failures, { min: 100, max: this.#termMs }, random());
    // the leader renews thrice a term; the others ask with jitter, about as often
    return (this.#termMs / 3) * (0.8 + 0.4 * random());
  }

  /** @param before the service of the term before, which is about to end */
  async #serve(term: string, before: Promise<void>): Promise<void> {
    await before;
    const { database, clock, leaseMs, hub } = this.#parts;
    hub.emit('maintenance.leading', { term });
    const duties = dutiesOf(database, clock, leaseMs);
    await Promise.all(duties.map((duty) => this.#perform(duty, term)));
    hub.emit('maintenance.resigned', { term });
  }

  /**
   * Runs one duty for as long as the term lasts. A term that lapses, because the event loop was blocked,
   * or a database that is away interrupts it until an election says whose it is.
   */
  async #perform(duty: Duty, term: string): Promise<void> {
    const { clock, hub } = this.#parts;
    const alarm = new Alarm(clock);
    this.#alarms.set(duty, alarm);
    let failures = 0;
    let hasLapsed = false;
    let waitMs = duty.firstMs ?? 0;
    for (;;) {
      await alarm.wait(waitMs);
      if (this.#isClosing || this.#served !== term) {
        this.#alarms.delete(duty);
        return;
      }
      const wasLapsed = hasLapsed;
      hasLapsed = this.#isAway || this.#leader.term !== term;
      if (hasLapsed || (wasLapsed && duty.firstMs)) {
        waitMs = hasLapsed ? this.#termMs / 3 : (duty.firstMs ?? 0);
        continue;
      }
      const begunAt = clock.monotonic();
      try {
        const result = await duty.runOnce();
        const tookMs = clock.monotonic() - begunAt;
        failures = 0;
        waitMs = waitAfter(duty, result, tookMs);
        if (Object.values(result.counts).some((count) => count > 0)) {
          hub.emit('maintenance.done', { duty: duty.name, counts: result.counts, tookMs });
        }
      } catch (error) {
        failures += 1;
        // after an outage, as after an election: others first get a moment to say that they live
        waitMs = Math.max(backoffMs(failures, RETRY, clock.random()), duty.firstMs ?? 0);
        this.#report(duty.name, error);
        if (isConnectionUnusable(error) && !this.#isAway) {
          this.#isAway = true;
          this.#elections.ring();
        }
      }
    }
  }

  #report(duty: string, error: unknown): void {
    if (this.#isClosing) return;
    this.#parts.hub.emit('maintenance.failed', { duty, error: toHowdahError(error) });
  }
}
