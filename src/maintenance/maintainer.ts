import type { Clock } from '../core/clock.js';
import type { EventHub } from '../core/events.js';
import { type Fence, fenceOf } from '../core/fence.js';
import { Service } from '../core/service.js';
import { Alarm } from '../core/time/alarm.js';
import { backoffMs } from '../core/time/backoff.js';
import type { Outage } from '../core/time/outage.js';
import { type Election, maintenanceCalls, type RestingDuties } from '../db/calls/maintenance.js';
import type { Database } from '../db/database.js';
import { isConnectionUnusable, isShortOfResources, toHowdahError } from '../db/errors/pg-error.js';
import { dutiesOf } from './duties.js';
import { type Duty, isAtRest, shareMs, waitAfter } from './duty.js';
import { Leader } from './leader.js';

const RETRY = { min: 100, max: 10_000 };
/** A stop does not wait longer than this for duties under way; they may be cut off at any point. */
const STOP_MS = 1_000;

/**
 * How often the leader renews its term, and looks what its duties have to do: jobs wait for that. With all else
 * an idle worker sends less than two statements a second.
 */
const LOOK_MS = 1_300;
/** Timers may come so much early. */
const EARLY_MS = 1;

/** A duty in a term. */
interface Task {
  readonly duty: Duty;
  readonly alarm: Alarm;
  /** When it runs next, unless it is rung. */
  dueAt: number;
  isRung: boolean;
  /** It had nothing to do: from when on a look may make it run. */
  restsFrom: number;
}

/** A term that was won. Ended once and for all: an election that wins again begins another. */
interface Term {
  readonly number: string;
  readonly tasks: Task[];
  /** When an election ended a time in which nobody led. */
  gapEndedAt: number;
  isOver: boolean;
}

/** What a maintainer is made of. */
interface MaintainerParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly outage: Outage;
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
  readonly #fence: Fence;
  /** The elections, and the duties of every term. */
  readonly #loops = new Set<Promise<void>>();
  /** What the last election gave; it may have lapsed since, and be renewed. */
  #term: Term | undefined;
  /** The database was not reached: duties leave it to the next election to try again. */
  #isAway = false;
  readonly #closing = new AbortController();

  constructor(parts: MaintainerParts) {
    super();
    this.#parts = parts;
    this.#termMs = Math.min(5_000, Math.max(500, Math.floor(parts.leaseMs / 4)));
    const { database, clock, leaseId } = parts;
    this.#elections = new Alarm(clock);
    this.#fence = fenceOf(clock, parts.hub);
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
    for (const task of this.#term?.tasks ?? []) {
      if (task.duty.noticedBy !== kind) continue;
      task.isRung = true;
      task.alarm.ring();
    }
  }

  protected override onStart(): Promise<void> {
    const { signal } = this.#closing;
    this.#follow(this.#fence.loop('lead', () => this.#campaign(), signal));
    return Promise.resolve();
  }

  protected override async onStop(): Promise<void> {
    this.#closing.abort();
    this.#elections.ring();
    this.#endTerm();
    await Promise.race([Promise.all(this.#loops), this.#parts.clock.sleep(STOP_MS)]);
  }

  get #isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  #follow(loop: Promise<void>): void {
    this.#loops.add(loop);
    void loop.finally(() => this.#loops.delete(loop));
  }

  /** Stands for election until it is stopped, and serves each term that is won. @returns false */
  async #campaign(): Promise<boolean> {
    const { outage } = this.#parts;
    for (let failures = 0; !this.#isClosing; ) {
      try {
        const election = await this.#elect();
        if (failures > 0) outage.over();
        failures = 0;
        this.#isAway = false;
        if (election?.term !== this.#term?.number && !this.#isClosing) {
          this.#endTerm();
          if (election) this.#follow(this.#fence.follow('lead', () => this.#serve(election)));
        } else if (election?.hadGap && this.#term) {
          this.#term.gapEndedAt = this.#parts.clock.monotonic();
        }
        this.#heed(election?.due ?? []);
      } catch (error) {
        failures += 1;
        this.#report('lead', error);
        if (isAway(error)) {
          await outage.turn(this.#closing.signal);
          continue;
        }
      }
      await this.#elections.wait(this.#campaignMs(failures));
    }
    return false;
  }

  /**
   * One statement renews the term and tells which duties that rest have something to do. What keeps it from
   * looking (a lock on a table) does not keep it from leading: then each of them looks by itself.
   */
  async #elect(): Promise<Election | undefined> {
    const resting = this.#resting();
    if (!resting) return this.#leader.campaign();
    try {
      return await this.#leader.campaign(resting);
    } catch (error) {
      const problem = toHowdahError(error);
      if (isAway(error) || problem.code === 'HOWDAH_LEASE_LOST') throw error;
      const election = await this.#leader.campaign();
      this.#report('look', problem);
      return election && { ...election, due: resting.names.map((name) => [name, 0]) };
    }
  }

  #resting(): RestingDuties | undefined {
    const now = this.#parts.clock.monotonic();
    const tasks = this.#term?.tasks.filter(({ restsFrom }) => restsFrom <= now) ?? [];
    if (tasks.length === 0) return undefined;
    const marks = tasks.flatMap(({ duty: { rests } }) =>
      typeof rests === 'function' ? [rests()] : [],
    );
    return { names: tasks.map(({ duty }) => duty.name), rolled: marks[0] ?? '0' };
  }

  /** Duties that rest run when they have something to do. */
  #heed(due: NonNullable<Election['due']>): void {
    const now = this.#parts.clock.monotonic();
    for (const [name, inMs] of due) {
      const task = this.#term?.tasks.find(({ duty }) => duty.name === name);
      if (!task || task.restsFrom > now || now + inMs >= task.dueAt) continue;
      task.dueAt = now + inMs;
      task.alarm.ring();
    }
  }

  #campaignMs(failures: number): number {
    const { random } = this.#parts.clock;
    if (failures > 0) return backoffMs(failures, { min: 100, max: this.#termMs }, random());
    // the leader renews at least thrice a term; the others ask with jitter, about as often
    const askMs = (this.#termMs / 3) * (0.8 + 0.4 * random());
    return this.#term ? Math.min(LOOK_MS, askMs) : askMs;
  }

  /**
   * Duties of the term before that still wait for an answer are not waited for: each may run at two
   * places at once, and one that hangs must not keep the others from running.
   */
  async #serve({ term: number, hadGap }: Election): Promise<void> {
    const { database, clock, leaseMs, hub } = this.#parts;
    const gapEndedAt = hadGap ? clock.monotonic() : Number.NEGATIVE_INFINITY;
    const term: Term = { number, tasks: [], gapEndedAt, isOver: false };
    this.#term = term;
    hub.emit('maintenance.leading', { term: number });
    const duties = dutiesOf(database, clock, leaseMs);
    const { signal } = this.#closing;
    await Promise.all(
      duties.map((duty) => this.#fence.loop(duty.name, () => this.#perform(duty, term), signal)),
    );
  }

  #endTerm(): void {
    const term = this.#term;
    if (!term) return;
    this.#term = undefined;
    term.isOver = true;
    for (const { alarm } of term.tasks) alarm.ring();
    this.#parts.hub.emit('maintenance.resigned', { term: term.number });
  }

  /**
   * Runs one duty for as long as the term lasts. A term that lapses, because the event loop was blocked,
   * or a database that is away interrupts it until an election says whose it is. @returns false
   */
  async #perform(duty: Duty, term: Term): Promise<boolean> {
    const { clock, hub } = this.#parts;
    const { firstMs = 0, graceMs = 0 } = duty;
    const task: Task = {
      duty,
      alarm: new Alarm(clock),
      dueAt: clock.monotonic() + firstMs,
      isRung: false,
      restsFrom: Number.POSITIVE_INFINITY,
    };
    term.tasks.push(task);
    let failures = 0;
    for (;;) {
      await task.alarm.wait(task.dueAt - clock.monotonic());
      if (term.isOver) return false;
      const begunAt = clock.monotonic();
      if (!task.isRung && task.dueAt - begunAt > EARLY_MS) continue;
      task.isRung = false;
      const hasLapsed = this.#isAway || this.#leader.term !== term.number;
      const waitMs = hasLapsed ? this.#termMs / 3 : term.gapEndedAt + graceMs - begunAt;
      task.dueAt = begunAt + waitMs;
      if (waitMs > 0) continue;
      task.restsFrom = Number.POSITIVE_INFINITY;
      try {
        const result = await duty.runOnce();
        const now = clock.monotonic();
        const { tookMs = now - begunAt } = result;
        failures = 0;
        task.dueAt = now + waitAfter(duty, result, tookMs, clock.random());
        if (isAtRest(duty, result)) task.restsFrom = now + shareMs(duty, tookMs);
        if (result.problem) this.#report(duty.name, result.problem);
        if (Object.values(result.counts).some((count) => count > 0)) {
          hub.emit('maintenance.done', { duty: duty.name, counts: result.counts, tookMs });
        }
      } catch (error) {
        failures += 1;
        // an outage may just be over: others first get a moment to say that they live
        const pauseMs = Math.max(backoffMs(failures, RETRY, clock.random()), graceMs);
        task.dueAt = clock.monotonic() + pauseMs;
        this.#report(duty.name, error);
        if (isAway(error) && !this.#isAway) {
          this.#isAway = true;
          this.#elections.ring();
        }
      }
    }
  }

  #report(duty: string, error: unknown): void {
    const problem = toHowdahError(error);
    // who keeps the lease has reported its loss
    if (this.#isClosing || problem.code === 'HOWDAH_LEASE_LOST') return;
    this.#parts.hub.emit('maintenance.failed', { duty, error: problem });
  }
}

/** Whether it would be no use to ask for something else: no connection, no server that writes, no room on its disk. */
function isAway(error: unknown): boolean {
  return isConnectionUnusable(error) || isShortOfResources(error);
}
