import { clientClosed } from '../../core/client-closed.js';
import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import type { Fence } from '../../core/fence.js';
import { Alarm } from '../../core/time/alarm.js';
import { Allowance } from '../../core/time/allowance.js';
import { backoffMs, lateLookAfterMs, pollAfterMs, RECONNECT } from '../../core/time/backoff.js';
import { type ReportCalls, reportCalls, type WatchedRow } from '../../db/calls/reports.js';
import type { Database } from '../../db/database.js';
import { toHowdahError } from '../../db/errors/pg-error.js';
import { openWatched } from '../operate/stored-reports.js';
import type { SharedStation } from '../station/shared-station.js';
import { DEAF_POLL_MS, POLL_MS } from '../station/station.js';

/** Looks a second, however many jobs end, and looks at once after a quiet time. */
const LOOKS_PER_SECOND = 12;
const LOOKS_BURST = 6;
/** Most jobs in one look. */
const LOOK_MAX = 10_000;
/** Most waits of one client. */
const WAITS_MAX = 100_000;
/** A settle that was under way when a job was registered may not have seen it: looks more, the first so much later. */
const LATE_LOOK_MS = 100;
/** What is over is forgotten with the next look, or after this time. */
const LINGER_MS = 500;

/** Somebody who waits for a job. */
interface JobWait {
  readonly id: string;
  /** Told of progress, too; else only of the end. */
  readonly wantsProgress: boolean;
  readonly onRow: (row: WatchedRow) => void;
  readonly onError: (error: HowdahError) => void;
}

/** Jobs that were registered together, and when to look at them once more. */
interface LateLook {
  readonly ids: readonly string[];
  readonly registeredAt: number;
  readonly at: number;
}

/**
 * One waiter for everybody in this client who waits for the end of a job or for its progress. All are looked
 * at together: when a ring comes, some moments after they were registered, and now and then. One look at a
 * time; a look registers what is new and forgets what is over, too, so that thousands of waits cost a
 * few statements a second at most.
 */
export class JobWatcher {
  readonly #database: Database;
  readonly #calls: ReportCalls;
  readonly #clock: Clock;
  readonly #station: SharedStation;
  readonly #codecs: Codecs | undefined;
  readonly #fence: Fence;
  /** A listener has thrown. */
  readonly onThrow: (error: unknown) => void;
  readonly #waits = new Map<string, Set<JobWait>>();
  #count = 0;
  /** Of #waits: not registered yet. */
  readonly #fresh = new Set<string>();
  /** Registered, and nobody waits any more. */
  readonly #gone = new Set<string>();
  #late: LateLook[] = [];
  readonly #again = new Set<string>();
  readonly #allowance = new Allowance(LOOKS_PER_SECOND, LOOKS_BURST);
  readonly #next: Alarm;
  #isAllWanted = false;
  #pollAt = 0;
  #lingerAt = 0;
  #leaseId: string | undefined;
  #running: Promise<void> | undefined;
  #release: (() => void) | undefined;
  #failures = 0;
  #isClosed = false;

  constructor(
    database: Database,
    clock: Clock,
    station: SharedStation,
    codecs: Codecs | undefined,
    fence: Fence,
    onThrow: (error: unknown) => void,
  ) {
    this.#codecs = codecs;
    this.#fence = fence;
    this.onThrow = onThrow;
    this.#database = database;
    this.#calls = reportCalls(database);
    this.#clock = clock;
    this.#station = station;
    this.#next = new Alarm(clock);
    station.use({
      about: 'reports',
      onRing: (ids) => {
        if (!ids) this.#isAllWanted = true;
        for (const id of ids ?? []) if (this.#waits.has(id)) this.#again.add(id);
        this.#next.ring();
      },
      onClosed: () => {
        this.#leaseId = undefined;
      },
    });
  }

  /** @returns a function that ends the wait @throws HowdahError HOWDAH_BUFFER_FULL */
  add(wait: JobWait): () => void {
    if (this.#isClosed) throw clientClosed();
    if (this.#count >= WAITS_MAX) throw tooMany(this.#count);
    this.#count += 1;
    const known = this.#waits.get(wait.id);
    const isNew = !known || (wait.wantsProgress && ![...known].some((each) => each.wantsProgress));
    if (known) known.add(wait);
    else this.#waits.set(wait.id, new Set([wait]));
    if (isNew) {
      this.#fresh.add(wait.id);
      this.#gone.delete(wait.id);
    } else this.#again.add(wait.id);
    this.#start();
    this.#next.ring();
    return () => this.#remove(wait);
  }

  /** Ends every wait. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#failAll(clientClosed());
    this.#next.ring();
    await this.#running;
  }

  #remove(wait: JobWait): void {
    const waits = this.#waits.get(wait.id);
    if (!waits?.delete(wait)) return;
    this.#count -= 1;
    if (waits.size > 0) return;
    this.#waits.delete(wait.id);
    this.#again.delete(wait.id);
    if (!this.#fresh.delete(wait.id)) this.#gone.add(wait.id);
    this.#lingerAt = this.#clock.monotonic() + LINGER_MS;
  }

  #start(): void {
    if (this.#running) return;
    this.#release = this.#station.hold();
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      this.#release?.();
      if (this.#waits.size > 0 && !this.#isClosed) this.#start();
    });
  }

  /** Looks as long as anybody waits, and until what is over is forgotten. */
  async #run(): Promise<void> {
    // calls of the same moment share a look
    await new Promise((resolve) => setImmediate(resolve));
    await this.#fence.loop('watch', () => this.#turn());
  }

  /** @returns whether anybody waits, or something is to be forgotten */
  async #turn(): Promise<boolean> {
    if (this.#isClosed || (this.#waits.size === 0 && this.#gone.size === 0)) return false;
    const now = this.#clock.monotonic();
    const dueMs = this.#dueAt(now) - now;
    const waitMs = dueMs > 0 ? dueMs : this.#allowance.take(now);
    if (waitMs <= 0) await this.#look(now);
    else await (dueMs > 0 ? this.#next.wait(waitMs) : this.#clock.sleep(waitMs));
    return true;
  }

  #dueAt(now: number): number {
    const isWanted = this.#isAllWanted || this.#fresh.size > 0 || this.#again.size > 0;
    if (this.#waits.size === 0) return this.#lingerAt;
    if (isWanted) return now;
    return Math.min(this.#pollAt, ...this.#late.map(({ at }) => at));
  }

  async #look(now: number): Promise<void> {
    const add = take(this.#fresh);
    const drop = take(this.#gone);
    const look = this.#idsToLookAt(now, new Set(add));
    try {
      const leaseId = await this.#station.get().lease();
      if (this.#leaseId !== undefined && this.#leaseId !== leaseId) this.#forgetLease();
      this.#leaseId = leaseId;
      await this.#ask(leaseId, add, drop, look);
      this.#failures = 0;
    } catch (thrown) {
      for (const id of add) if (this.#waits.has(id)) this.#fresh.add(id);
      for (const id of drop) if (!this.#waits.has(id)) this.#gone.add(id);
      this.#isAllWanted = true;
      await this.#failed(toHowdahError(thrown));
    }
  }

  #idsToLookAt(now: number, added: ReadonlySet<string>): string[] {
    const isAll = this.#isAllWanted || this.#pollAt <= now;
    const ids = new Set(isAll ? this.#waits.keys() : this.#again);
    this.#again.clear();
    if (isAll) {
      const pollMs = this.#station.get().hears ? POLL_MS : DEAF_POLL_MS;
      this.#pollAt = now + pollAfterMs(pollMs, this.#clock.random());
      this.#isAllWanted = false;
    }
    for (const id of this.#takeLate(now)) ids.add(id);
    return [...ids].filter((id) => !added.has(id) && this.#waits.has(id));
  }

  /** Those whose late look is due; while they wait and no poll has come, there is another. */
  #takeLate(now: number): readonly string[] {
    const due = this.#late.filter(({ at }) => at <= now);
    this.#late = this.#late.filter(({ at }) => at > now);
    return due.flatMap(({ ids, registeredAt }) => {
      const waiting = ids.filter((id) => this.#waits.has(id));
      this.#lookLater(waiting, registeredAt, now);
      return waiting;
    });
  }

  #lookLater(ids: readonly string[], registeredAt: number, now: number): void {
    const afterMs = lateLookAfterMs(now - registeredAt, LATE_LOOK_MS);
    if (ids.length === 0 || afterMs >= POLL_MS) return;
    this.#late.push({ ids, registeredAt, at: now + afterMs });
  }

  async #ask(leaseId: string, add: string[], drop: string[], look: string[]): Promise<void> {
    const { length } = add;
    const ids = add.concat(look);
    for (let at = 0; at < Math.max(ids.length, drop.length, 1); at += LOOK_MAX) {
      const part = ids.slice(at, at + LOOK_MAX);
      const rows = await this.#calls.watch(this.#database, leaseId, {
        add: part.slice(0, Math.max(0, length - at)),
        look: part.slice(Math.max(0, length - at)),
        drop: drop.slice(at, at + LOOK_MAX),
        progress: part.filter((id) => this.#wantsProgress(id)),
      });
      for (const row of rows) this.#tell(row);
    }
    const now = this.#clock.monotonic();
    this.#lookLater(add, now, now);
  }

  #wantsProgress(id: string): boolean {
    for (const { wantsProgress } of this.#waits.get(id) ?? []) if (wantsProgress) return true;
    return false;
  }

  #tell(row: WatchedRow): void {
    if (row.state === null) {
      if (this.#waits.has(row.id)) this.#again.add(row.id);
      return;
    }
    const waits = [...(this.#waits.get(row.id) ?? [])];
    if (waits.length === 0) return;
    try {
      const opened = openWatched(row, this.#codecs);
      for (const wait of waits) wait.onRow(opened);
    } catch (error) {
      for (const wait of waits) wait.onError(error as HowdahError);
    }
  }

  /** The lease has gone, and every registration with it. */
  #forgetLease(): void {
    for (const id of this.#waits.keys()) this.#fresh.add(id);
    this.#gone.clear();
  }

  async #failed(error: HowdahError): Promise<void> {
    const { code, isRetryable } = error;
    if (code === 'HOWDAH_LEASE_LOST') {
      this.#forgetLease();
      if (this.#leaseId !== undefined) this.#station.get().lost(this.#leaseId);
      this.#leaseId = undefined;
    } else if (!isRetryable) this.#failAll(error);
    if (this.#waits.size === 0) return this.#gone.clear();
    this.#failures += 1;
    await this.#next.wait(backoffMs(this.#failures, RECONNECT, this.#clock.random()));
  }

  #failAll(error: HowdahError): void {
    for (const waits of [...this.#waits.values()])
      for (const wait of [...waits]) wait.onError(error);
  }
}

function take(ids: Set<string>): string[] {
  const taken = [...ids];
  ids.clear();
  return taken;
}

function tooMany(waits: number): HowdahError {
  return new HowdahError('HOWDAH_BUFFER_FULL', `${waits} calls wait for jobs in this client.`, {
    details: { waits },
    remedy: 'Await fewer at a time.',
  });
}
