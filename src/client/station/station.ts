import type { Clock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import { EventHub } from '../../core/events.js';
import type { Fence } from '../../core/fence.js';
import { Alarm } from '../../core/time/alarm.js';
import { type ClaimCalls, claimCalls } from '../../db/calls/claim.js';
import { type LeaseCalls, leaseCalls } from '../../db/calls/leases.js';
import type { PullCalls } from '../../db/calls/pull.js';
import { Line } from '../../db/connect/line.js';
import { Listener } from '../../db/connect/listener.js';
import type { Database } from '../../db/database.js';

const LEASE_MS = 60_000;
const HEARTBEAT_MS = 20_000;
/** How often a queue is looked at without a ring, while rings arrive and while they do not. */
export const POLL_MS = 5_000;
export const DEAF_POLL_MS = 1_000;

/** Queues that ask within this time share a statement, */
const ASK_MS = 1_000;
/** as far as it takes so many. */
const ASK_MAX = 1_000;

/** A ring of jobs that are awaited, which it names unless there are many. */
const REPORTS = /^r([\d,]*)$/;

/** What a station is made of. */
interface PullStationParts {
  readonly database: Database;
  readonly calls: PullCalls;
  readonly consumer: string;
  readonly clock: Clock;
  readonly fence: Fence;
  /** Some queue has work, or some job that is awaited has said something or ended: or may have. */
  readonly onRing: (about: RingSubject, whose?: readonly string[]) => void;
}

/** What a ring is about. */
export type RingSubject = 'work' | 'reports';

/**
 * Where this process is woken for everybody in it who waits for jobs, or for their ends: one lease, which
 * holds no jobs, and one connection that listens on its channel. Queues are registered under the lease;
 * a ring says which queue it is for.
 *
 *   new → open (lease, line, listener) → closed
 */
export class PullStation {
  readonly #parts: PullStationParts;
  readonly #leases: LeaseCalls;
  readonly #line: Line;
  readonly #listener: Listener;
  readonly #claims: ClaimCalls;
  readonly #queues = new Set<string>();
  readonly #asked: Question[] = [];
  readonly #closing = new AbortController();
  #asking: Promise<void> | undefined;
  readonly #beat: Alarm;
  #leaseId: string | undefined;
  #opening: Promise<string> | undefined;
  #running: Promise<unknown> | undefined;
  #isHearing = false;
  #isClosed = false;

  constructor(parts: PullStationParts) {
    const { database, clock, fence, onRing } = parts;
    const hub = new EventHub();
    this.#parts = parts;
    this.#leases = leaseCalls(database);
    this.#claims = claimCalls(database);
    this.#beat = new Alarm(clock);
    this.#line = new Line({
      database,
      purpose: 'listen',
      options: { asyncCommit: true },
      hub,
      clock,
      onRestored: () => this.#listener.reconnected(),
    });
    this.#listener = new Listener({
      calls: this.#leases,
      line: this.#line,
      other: database,
      clock,
      hub,
      fence,
      pollMs: DEAF_POLL_MS,
      onRing: (payload) => {
        const ids = REPORTS.exec(payload)?.[1];
        if (ids === undefined)
          onRing('work', payload.startsWith('q') ? [payload.slice(1)] : undefined);
        else onRing('reports', ids === '' ? undefined : ids.split(','));
      },
      onHearing: (isHearing) => {
        this.#isHearing = isHearing;
        onRing('work');
        onRing('reports');
      },
    });
  }

  /** Whether a ring for this queue would be heard here. */
  isHearing(queue: string): boolean {
    return this.#isHearing && this.#leaseId !== undefined && this.#queues.has(queue);
  }

  isRegistered(queue: string): boolean {
    return this.#leaseId !== undefined && this.#queues.has(queue);
  }

  /** Whether rings arrive at all. */
  get hears(): boolean {
    return this.#isHearing && this.#leaseId !== undefined;
  }

  /** The lease whose channel is listened to. @throws HowdahError */
  async lease(): Promise<string> {
    return this.#leaseId ?? this.#open();
  }

  /** Somebody has heard that this lease is gone. */
  lost(leaseId: string): void {
    this.#lose(leaseId);
  }

  /** From now on producers of this queue ring here. @throws HowdahError */
  async register(queue: string): Promise<void> {
    const leaseId = this.#leaseId ?? (await this.#open());
    this.#queues.add(queue);
    try {
      await this.#leases.sleep(this.#parts.database, leaseId, [queue]);
    } catch (error) {
      this.#queues.delete(queue);
      if (error instanceof HowdahError && error.code === 'HOWDAH_LEASE_LOST') this.#lose(leaseId);
      throw error;
    }
  }

  /**
   * Whether a look at a queue may find something: one statement for all queues that ask within a second, so that a
   * process which waits for thousands of them costs no more than for one. What cannot be told may be.
   */
  mayFind(queue: string): Promise<boolean> {
    if (this.#queues.size < 2) return Promise.resolve(true);
    return new Promise((answer) => {
      this.#asked.push({ queue, answer });
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined;
      });
    });
  }

  async #ask(): Promise<void> {
    const { clock, database } = this.#parts;
    await clock.sleep(ASK_MS, this.#closing.signal);
    while (this.#asked.length > 0) {
      const asked = this.#asked.splice(0, ASK_MAX);
      const may = await this.#lookAt(
        database,
        asked.map(({ queue }) => queue),
      ).catch(() => undefined);
      for (const [place, { answer }] of asked.entries()) answer(may?.has(place) ?? true);
    }
  }

  /** @returns the places of those that may have jobs; undefined: that cannot be told */
  async #lookAt(
    database: Database,
    queues: readonly string[],
  ): Promise<ReadonlySet<number> | undefined> {
    const leaseId = this.#leaseId;
    if (leaseId === undefined) return undefined; // none is opened for this, least of all by a station that has closed
    const starts = queues.map(() => ({ lanes: [], after: [], isDeep: false }));
    const states = await this.#claims.look(database, leaseId, queues, starts);
    const may = states.filter(({ state }) => state === 'ready' || state === 'missing');
    return new Set(may.map(({ place }) => place));
  }

  /** Nobody waits for this queue any more. */
  async unregister(queue: string): Promise<void> {
    if (!this.#queues.delete(queue) || this.#leaseId === undefined) return;
    const { calls, database } = this.#parts;
    await calls.stopRinging(database, this.#leaseId, [queue]);
  }

  /** Another sleeper may have room for what came. A hint: whether it gets through does not matter. */
  passOn(queue: string): void {
    const { database } = this.#parts;
    void this.#leases.ring(database, queue, this.#leaseId ?? '0').catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#closing.abort();
    this.#beat.ring();
    this.#listener.close();
    await this.#opening?.catch(() => undefined);
    await this.#line.close();
    await this.#running;
    const leaseId = this.#leaseId;
    this.#leaseId = undefined;
    // the reaper finds it otherwise
    if (leaseId) await this.#leases.close(this.#parts.database, leaseId).catch(() => undefined);
  }

  #open(): Promise<string> {
    this.#opening ??= this.#openLease().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #openLease(): Promise<string> {
    const { database, consumer } = this.#parts;
    const info = { pid: process.pid, pull: true };
    const leaseId = await this.#leases.open(database, consumer, LEASE_MS, info);
    this.#leaseId = leaseId;
    this.#listener.follow(leaseId);
    this.#running ??= Promise.all([this.#listener.run(), this.#keep()]);
    return leaseId;
  }

  /** Renews the lease. */
  async #keep(): Promise<void> {
    await this.#parts.fence.loop('station', async () => {
      await this.#beat.wait(HEARTBEAT_MS);
      const leaseId = this.#leaseId;
      if (this.#isClosed || leaseId === undefined) return !this.#isClosed;
      const answer = await this.#leases
        .heartbeat(this.#parts.database, leaseId)
        .catch(() => undefined);
      if (answer?.isAlive === false) this.#lose(leaseId);
      return true;
    });
  }

  /** The lease is gone and with it every registration: those who wait register anew. */
  #lose(leaseId: string): void {
    if (this.#leaseId !== leaseId) return;
    this.#leaseId = undefined;
    this.#queues.clear();
    this.#parts.onRing('work');
    this.#parts.onRing('reports');
  }
}

/** A queue that wants to know whether a look at it is worth it. */
interface Question {
  readonly queue: string;
  readonly answer: (may: boolean) => void;
}
