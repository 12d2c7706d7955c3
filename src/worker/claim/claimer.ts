import type { Clock } from '../../core/clock.js';
import type { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import { type Fence, fenceOf } from '../../core/fence.js';
import { backoffMs, RECONNECT } from '../../core/time/backoff.js';
import { type ClaimStart, Cursors } from '../../core/time/cursors.js';
import type { Outage } from '../../core/time/outage.js';
import {
  type ClaimCalls,
  type ClaimedRow,
  type Hold,
  type HoldReason,
  type QueueState,
  seqOf,
} from '../../db/calls/claim.js';
import type { LeaseCalls } from '../../db/calls/leases.js';
import { STOP_HEADER, type StopAnswer } from '../../db/calls/stop.js';
import { isShortOfResources, toHowdahError } from '../../db/errors/pg-error.js';
import type { Executor } from '../../db/executor.js';
import type { LeaseKeeper } from '../lease/keeper.js';
import type { Runner } from '../run/runner.js';
import type { Attempt } from '../settle/attempt.js';
import { CLAIM_MAX, ClaimSize } from './claim-size.js';
import { Doorbell } from './doorbell.js';
import type { Quarantine } from './quarantine.js';
import { Strays } from './strays.js';

/** A wake-up is passed on at most this often per queue. */
const PASS_ON_MS = 100;

/** A stop for suspects that is shorter than this is not made up for. */
const SHARED_MS = 100;

/** A queue without room is looked at no more often than this, however often it is rung. */
const QUIET_MS = 20;

/** After the database could not be told when to ring. Until then the poll finds work. */
const BELLS_RETRY_MS = 1_000;
/** Bells are changed no more often than this while something is due: many queues in one statement. */
const BELLS_EVERY_MS = 50;
/** Until bells could be changed, a queue that wants to sleep is looked at no more often than this. */
const TIRED_MS = 250;
/** A claim met a lock that was not to be had in time. */
const LOCK_NOT_AVAILABLE = '55P03';
/** Then the queue is asked again after so long, and the others meanwhile. */
const HELD_RETRY_MS = 50;
/** Most queues in one look. */
const LOOK_MAX = 10_000;
const GONE = 'the database does not know it any more';

/** What a claimer is made of. */
interface ClaimerParts {
  readonly claims: ClaimCalls;
  readonly leases: LeaseCalls;
  /** The connection for claims; its commits do not wait for the disk. */
  readonly line: Executor;
  readonly keeper: LeaseKeeper;
  readonly runners: readonly Runner[];
  readonly pollMs: number;
  readonly clock: Clock;
  readonly hub: EventHub;
  /** Shared by what tries again in one process. */
  readonly outage: Outage;
  /** Too many outcomes wait to be settled: claim nothing. */
  readonly isHeldUp: () => boolean;
  /** Every job that this worker holds, until its outcome is confirmed. */
  readonly knownIds: () => string[];
  /** A claim that was sent at this time has brought jobs. */
  readonly onClaimed: (sentAt: number) => void;
  /** Asks the database of a job that says it is a poison pill. */
  readonly askStop: (leaseId: string, id: string, claims: number) => Promise<StopAnswer>;
  /** Runs suspects; claims wait for it. */
  readonly quarantine: Quarantine;
  /** A poison pill was for this worker; it claims no more already. */
  readonly onStop: (reason: string) => void;
}

/** How long after a limit was reached nothing is held ahead. */
const REACHED_MS = 2_000;

/** One queue as the claimer sees it. */
interface Lane {
  readonly runner: Runner;
  readonly cursors: Cursors;
  readonly doorbell: Doorbell;
  readonly size: ClaimSize;
  /** The last claim was full: more is there. */
  hasMore: boolean;
  /** It was rung, or a look at many queues has seen something: ask it, and do not look any more. */
  isCalled: boolean;
  /** Where that look began: the claim has to begin there, too, to find what it saw. */
  calledFrom: ClaimStart | undefined;
  isMissing: boolean;
  /** Why there was no more room at the last claim. */
  heldBy: HoldReason | null;
  /** When a limit was reached last. */
  reachedAt: number;
  failures: number;
  passedOnAt: number;
}

/**
 * Decides when to claim, from which queue and how many. One loop, one connection: a claim is sent as
 * soon as the one before has come back, while handlers run what that one brought.
 */
export class Claimer {
  readonly #parts: ClaimerParts;
  readonly #lanes: readonly Lane[];
  readonly #laneOf = new Map<Runner, Lane>();
  readonly #stopping = new AbortController();
  readonly #strays: Strays;
  readonly #fence: Fence;
  #wake: (() => void) | undefined;
  readonly #laneNamed = new Map<string, Lane>();
  #bellsAfter = Number.NEGATIVE_INFINITY;
  #bellsAt = Number.NEGATIVE_INFINITY;
  #looksFailed = 0;
  /** After a failure for want of resources, until a claim succeeds: resolves when it may be tried again. */
  #turn: Promise<void> | undefined;

  constructor(parts: ClaimerParts) {
    this.#parts = parts;
    this.#fence = fenceOf(parts.clock, parts.hub);
    this.#lanes = parts.runners.map((runner) => ({
      runner,
      cursors: new Cursors(),
      doorbell: new Doorbell(parts.pollMs),
      size: new ClaimSize(),
      hasMore: false,
      isCalled: false,
      calledFrom: undefined,
      isMissing: false,
      heldBy: null,
      reachedAt: Number.NEGATIVE_INFINITY,
      failures: 0,
      passedOnAt: 0,
    }));
    for (const lane of this.#lanes) {
      this.#laneOf.set(lane.runner, lane);
      this.#laneNamed.set(lane.runner.name, lane);
    }
    this.#strays = new Strays({ ...parts, onFailed: (error) => this.#takesTurn(error) });
  }

  /** Claims until it is stopped; resolves when the last claim has come back, and nobody rings any more. */
  async run(): Promise<void> {
    await this.#fence.loop('claim', () => this.#act(), this.#stopping.signal);
    await this.#fence.follow('claim', () => this.#leave());
  }

  /** Does what is due next, or waits for that. */
  async #act(): Promise<boolean> {
    if (this.#turn) await this.#turn;
    if (this.#isStopped) return false;
    if (this.#strays.isDue) {
      await this.#strays.look();
      return true;
    }
    const now = this.#parts.clock.monotonic();
    const lane = this.#next(now);
    const isBellTime = lane === undefined || now - this.#bellsAt >= BELLS_EVERY_MS;
    if (isBellTime && (await this.#changeBells())) return true;
    if (!lane) await this.#wait();
    else if (isQuiet(lane, now)) await this.#lookAt(this.#quietLanes(now));
    else await this.#claim(lane);
    return true;
  }

  /** One claim of each queue that has room, for a drain. @returns how many jobs were claimed */
  async pass(): Promise<number> {
    let found = 0;
    await this.#strays.look();
    for (const lane of this.#lanes) {
      if (this.#isStopped) break;
      if (this.#hasRoom(lane)) found += await this.#claim(lane);
    }
    return found;
  }

  stop(): void {
    this.#stopping.abort();
    this.#wake?.();
  }

  get #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Somebody rang: a sleeping queue has work. @param queue undefined: it is not known which */
  rung(queue: string | undefined): void {
    const now = this.#parts.clock.monotonic();
    const named = queue === undefined ? undefined : this.#laneNamed.get(queue);
    for (const lane of named ? [named] : this.#lanes) {
      if (!lane.doorbell.isAsleep) continue;
      lane.doorbell.rung(now);
      if (!named) continue;
      lane.isCalled = true;
      if (this.#isStopped || !this.#hasRoom(lane)) void this.#passOn(lane, now);
    }
    this.#wake?.();
  }

  /** Ask these queues, or look at every one: after a connect, for instance. */
  lookAround(queues?: Iterable<string>): void {
    const now = this.#parts.clock.monotonic();
    if (!queues) for (const { doorbell } of this.#lanes) doorbell.rung(now);
    for (const queue of queues ?? []) {
      const lane = this.#laneNamed.get(queue);
      lane?.doorbell.rung(now);
      if (lane) lane.isCalled = true;
    }
    this.#wake?.();
  }

  /** Whether notifications arrive. */
  setHearing(isHearing: boolean): void {
    for (const { doorbell } of this.#lanes) doorbell.isDeaf = !isHearing;
    this.lookAround();
  }

  /** No bell is set any more: all were taken away, or belonged to another lease. */
  bellsGone(): void {
    const now = this.#parts.clock.monotonic();
    for (const { doorbell } of this.#lanes) if (doorbell.isAsleep) doorbell.wokeUp(now);
    this.#wake?.();
  }

  /** Jobs are settled: queues that had no room for more may have some. */
  settled(attempts: readonly Attempt[]): void {
    for (const lane of this.#lanes) {
      if (lane.heldBy === null || !isFreedBySettles(lane.heldBy)) continue;
      if (!attempts.some(({ queue }) => queue === lane.runner.name)) continue;
      lane.doorbell.freed(this.#parts.clock.monotonic());
      lane.isCalled = true;
      this.#wake?.();
    }
  }

  /** Jobs may be ready for which a limit has no room yet. */
  get isWaiting(): boolean {
    return this.#lanes.some(({ heldBy }) => heldBy === 'rate' || heldBy === 'concurrency');
  }

  /** This worker has given up an attempt under a lease that lives on: what that holds in excess goes back. */
  abandoned(leaseId: string): void {
    this.#strays.suspect(leaseId);
    this.#wake?.();
  }

  /** A queue can take more jobs. Called often: when nobody waits it costs nothing. */
  onRoom(runner: Runner): void {
    if (!this.#wake) return;
    const lane = this.#laneOf.get(runner);
    if (!lane || !this.#hasRoom(lane)) return;
    if (lane.hasMore || lane.doorbell.dueAt <= this.#parts.clock.monotonic()) this.#wake();
  }

  /** Looks again whether a queue has room. */
  poke(): void {
    this.#wake?.();
  }

  /** The queue that is due and has room; of several the one that has been due longest. */
  #next(now: number): Lane | undefined {
    let next: Lane | undefined;
    for (const lane of this.#lanes) {
      if (lane.doorbell.dueAt > now || !this.#hasRoom(lane)) continue;
      if (!next || lane.doorbell.dueAt < next.doorbell.dueAt) next = lane;
    }
    return next;
  }

  /** Those that may have work, and those whose look is due before long. */
  #quietLanes(now: number): Lane[] {
    const near = this.#lanes.filter(
      (lane) => isQuiet(lane, now) && lane.doorbell.isNear(now) && this.#hasRoom(lane),
    );
    return near.slice(0, LOOK_MAX);
  }

  /**
   * Asks which of many queues have something, in one statement, so that idling costs as much for two thousand
   * of them as for one. A single one is claimed from at once.
   */
  async #lookAt(lanes: readonly Lane[]): Promise<void> {
    const [only] = lanes;
    if (!only) return;
    if (lanes.length === 1) {
      await this.#claim(only);
      return;
    }
    const { claims, line, keeper, clock } = this.#parts;
    const leaseId = keeper.id ?? (await this.#lease());
    if (leaseId === undefined) return;
    const sentAt = clock.monotonic();
    const starts = lanes.map(({ cursors }) => cursors.start(sentAt));
    const names = lanes.map(({ runner }) => runner.name);
    // rung while it is under way: looked at once more
    for (const lane of lanes) lane.doorbell.postpone(sentAt, Number.POSITIVE_INFINITY);
    try {
      const states = await claims.look(line, leaseId, names, starts);
      this.#looksFailed = 0;
      const said = new Map(states.map((state) => [state.place, state]));
      const now = clock.monotonic();
      const random = clock.random();
      const tookMs = (now - sentAt) / lanes.length;
      for (const [at, lane] of lanes.entries()) {
        this.#looked(lane, starts[at] as ClaimStart, said.get(at), { now, random, tookMs });
      }
    } catch (thrown) {
      this.#lookFailed(lanes, leaseId, toHowdahError(thrown));
    }
  }

  /** Heeds what a look said of one queue. */
  #looked(
    lane: Lane,
    start: ClaimStart,
    said: QueueState | undefined,
    { now, random, tookMs }: Readonly<Record<'now' | 'random' | 'tookMs', number>>,
  ): void {
    const { state, againMs = null } = said ?? {};
    lane.cursors.finish(start, true, tookMs);
    if (state === 'missing') {
      this.#missing(lane, now);
      return;
    }
    this.#found(lane);
    const isRung = lane.doorbell.dueAt < Number.POSITIVE_INFINITY;
    lane.doorbell.looked(now, 0, false, random);
    if (state === 'ready') {
      lane.isCalled = true;
      lane.calledFrom = start;
    } else this.#hold(lane, { reason: state ?? null, againMs }, 0, now);
    if (isRung || lane.isCalled) lane.doorbell.rung(now);
  }

  #lookFailed(lanes: readonly Lane[], leaseId: string, error: HowdahError): void {
    const { keeper, hub, clock } = this.#parts;
    const now = clock.monotonic();
    this.#looksFailed += 1;
    const isShort = !this.#isStopped && this.#takesTurn(error);
    const pauseMs = isShort ? 0 : backoffMs(this.#looksFailed, RECONNECT, clock.random());
    for (const { doorbell } of lanes) doorbell.postpone(now, pauseMs);
    if (error.code === 'HOWDAH_LEASE_LOST') {
      if (keeper.id === leaseId) keeper.lose(GONE);
    } else if (!this.#isStopped) {
      hub.emit('claim.failed', { queue: lanes[0]?.runner.name ?? '', error });
    }
  }

  #missing(lane: Lane, now: number): void {
    const { hub, pollMs } = this.#parts;
    if (!lane.isMissing) hub.emit('queue.missing', { queue: lane.runner.name });
    lane.isMissing = true;
    lane.doorbell.postpone(now, pollMs);
  }

  /** Room enough to be worth a claim: a quarter of what it can hold, or a slot that idles. */
  #hasRoom({ runner }: Lane): boolean {
    const { room } = runner;
    if (room <= 0 || this.#parts.quarantine.isBusy || this.#parts.isHeldUp()) return false;
    return runner.isStarved || room * 4 >= Math.min(runner.capacity, CLAIM_MAX);
  }

  async #claim(lane: Lane): Promise<number> {
    const { claims, line, keeper, clock, onClaimed } = this.#parts;
    const { runner, cursors, doorbell } = lane;
    const leaseId = keeper.id ?? (await this.#lease());
    if (leaseId === undefined) return 0;
    const limit = Math.min(runner.room, lane.size.max);
    const sentAt = clock.monotonic();
    const start = lane.calledFrom ?? cursors.start(sentAt);
    lane.calledFrom = undefined;
    lane.isCalled = false;
    try {
      const { rows, followers, payloadChars, hold } = await claims.claim(
        line,
        runner.name,
        leaseId,
        limit,
        start,
        runner.turn,
        lane.size.transfer,
      );
      const now = clock.monotonic();
      let pill: ClaimedRow | undefined;
      for (const row of rows) {
        cursors.advance(row[4], seqOf(row));
        if (row[5]?.[5] && STOP_HEADER in row[5][5]) pill ??= row;
      }
      lane.size.claimed(rows.length, payloadChars);
      const isSuspect = (rows[0]?.[4] ?? 0) < 0;
      const isFull = rows.length - followers >= limit || isSuspect;
      lane.hasMore = isFull && typeof hold?.againMs !== 'number';
      cursors.finish(start, !lane.hasMore, now - sentAt);
      doorbell.looked(now, rows.length, lane.hasMore, clock.random());
      this.#found(lane);
      this.#hold(lane, hold, rows.length, now);
      if (rows.length > 0) {
        const mine = pill ? await this.#obey(runner, rows, pill, leaseId) : rows;
        if (isSuspect) await this.#quarantine(lane, mine, leaseId, now);
        else runner.accept(mine, leaseId, keeper.id !== leaseId);
        onClaimed(sentAt);
      }
      if (lane.hasMore && runner.room <= 0) void this.#passOn(lane, now);
      return rows.length;
    } catch (error) {
      try {
        this.#failed(lane, leaseId, limit, toHowdahError(error));
      } catch (fault) {
        this.#strays.suspect(leaseId);
        throw fault;
      }
      return 0;
    }
  }

  /** Others have waited for suspects: for as long again they go first. */
  async #quarantine(lane: Lane, rows: ClaimedRow[], leaseId: string, since: number): Promise<void> {
    const { clock, quarantine } = this.#parts;
    await quarantine.run(lane.runner, rows, leaseId, this.#stopping.signal);
    const now = clock.monotonic();
    if (this.#lanes.length === 1 || now - since < SHARED_MS) return;
    lane.doorbell.held(now, now - since, now - since);
  }

  /** Heeds what a queue with limits said. */
  #hold(lane: Lane, hold: Hold | undefined, found: number, now: number): void {
    const { hub, clock } = this.#parts;
    const { runner, doorbell } = lane;
    const reason = hold?.reason ?? null;
    if (reason !== null) lane.reachedAt = now;
    if (hold || found > 0) runner.isLimited = now - lane.reachedAt < REACHED_MS;
    if (reason !== lane.heldBy) {
      const queue = runner.name;
      if (reason !== null && isStop(reason)) hub.emit('queue.held', { queue, reason });
      else if (lane.heldBy !== null && isStop(lane.heldBy)) hub.emit('queue.freed', { queue });
      lane.heldBy = reason;
    }
    if (typeof hold?.againMs !== 'number') return;
    // what is being worked needs no look before the next claim
    lane.isCalled = found > 0;
    // a ring cannot bring tokens; for the rest something may have changed
    const quietMs = reason === 'rate' ? hold.againMs : Math.min(hold.againMs, QUIET_MS);
    doorbell.held(now, hold.againMs * (1 + 0.1 * clock.random()), quietMs);
  }

  /**
   * A job among these says it is a poison pill. If it is one for this worker, what came before it is
   * run and what came after it is given back. @returns what is to be run
   */
  async #obey(
    runner: Runner,
    rows: ClaimedRow[],
    pill: ClaimedRow,
    leaseId: string,
  ): Promise<ClaimedRow[]> {
    const at = rows.indexOf(pill);
    const [id] = pill;
    let answer: StopAnswer;
    try {
      answer = await this.#parts.askStop(leaseId, id, pill[5]?.[1] ?? 1);
    } catch {
      // it comes again, to whoever claims next
      runner.release([pill], leaseId);
      answer = 'ignored';
    }
    if (answer === null) return rows;
    if (answer === 'ignored') return rows.toSpliced(at, 1);
    this.stop();
    runner.release(rows.slice(at + 1), leaseId);
    this.#parts.onStop(`poison pill ${id}`);
    return rows.slice(0, at);
  }

  /** Waits for a lease; undefined when there will be none. */
  async #lease(): Promise<string | undefined> {
    return this.#parts.keeper.current().catch(() => undefined);
  }

  #found(lane: Lane): void {
    lane.failures = 0;
    if (this.#turn) this.#parts.outage.over();
    this.#turn = undefined;
    if (!lane.isMissing) return;
    lane.isMissing = false;
    this.#parts.hub.emit('queue.found', { queue: lane.runner.name });
  }

  #failed(lane: Lane, leaseId: string, limit: number, error: HowdahError): void {
    if (this.#isStopped) return;
    const { keeper, hub, clock } = this.#parts;
    const queue = lane.runner.name;
    const now = clock.monotonic();
    lane.hasMore = false;
    if (error.details.sqlstate === LOCK_NOT_AVAILABLE) {
      // undone, and somebody else's to end: no fault of the server's from which to back off
      lane.doorbell.postpone(now, HELD_RETRY_MS);
      return;
    }
    lane.failures += 1;
    if (error.code === 'HOWDAH_LEASE_LOST') {
      if (keeper.id === leaseId) keeper.lose(GONE);
      return;
    }
    if (error.code === 'HOWDAH_QUEUE_UNKNOWN') {
      this.#missing(lane, now);
      return;
    }
    if (isTooLarge(error) && lane.size.refused(limit)) return;
    this.#strays.suspect(leaseId);
    hub.emit('claim.failed', { queue, error });
    if (this.#takesTurn(error)) return;
    lane.doorbell.postpone(now, backoffMs(lane.failures, RECONNECT, clock.random()));
  }

  /** A server without room is asked in turns, like one that is away: whatever the queue. */
  #takesTurn(error: unknown): boolean {
    if (!isShortOfResources(error)) return false;
    this.#turn = this.#parts.outage.turn(this.#stopping.signal);
    return true;
  }

  /** Tells the database for which queues to ring. @returns whether it did */
  async #changeBells(): Promise<boolean> {
    const { leases, line, keeper, clock } = this.#parts;
    const leaseId = keeper.id;
    const now = clock.monotonic();
    if (leaseId === undefined || now < this.#bellsAfter) return false;
    const busy = this.#lanes.filter(({ doorbell }) => doorbell.wantsWake(now));
    const tired = this.#lanes.filter((lane) => !lane.isMissing && lane.doorbell.wantsSleep(now));
    if (busy.length === 0 && tired.length === 0) return false;
    this.#bellsAt = now;
    const changing = busy.length > 0 ? busy : tired;
    const names = changing.map(({ runner }) => runner.name);
    try {
      if (busy.length > 0) await leases.wake(line, leaseId, names);
      else await leases.sleep(line, leaseId, names);
      const changedAt = clock.monotonic();
      // a lease that was lost meanwhile has no bells
      if (keeper.id !== leaseId) return true;
      for (const { doorbell } of changing) {
        if (busy.length > 0) doorbell.wokeUp(changedAt);
        else doorbell.fellAsleep(changedAt);
      }
    } catch (thrown) {
      this.#bellsAfter = clock.monotonic() + BELLS_RETRY_MS;
      for (const { doorbell } of tired) doorbell.postpone(clock.monotonic(), TIRED_MS);
      this.#takesTurn(thrown);
      const { code } = toHowdahError(thrown);
      if (code === 'HOWDAH_LEASE_LOST' && keeper.id === leaseId) keeper.lose(GONE);
    }
    return true;
  }

  /** Who is rung here would not be heard: for as long as running jobs have their grace, or until it is reaped. */
  async #leave(): Promise<void> {
    const { leases, line, keeper } = this.#parts;
    if (keeper.id === undefined || !this.#lanes.some(({ doorbell }) => doorbell.isAsleep)) return;
    await leases.wake(line, keeper.id).catch(() => undefined);
  }

  /** Another sleeper may have room. A hint: whether it gets through does not matter. */
  async #passOn(lane: Lane, now: number): Promise<void> {
    const { leases, line, keeper } = this.#parts;
    const isSoon = now - lane.passedOnAt < PASS_ON_MS;
    if ((isSoon && !this.#isStopped) || keeper.id === undefined) return;
    lane.passedOnAt = now;
    await leases.ring(line, lane.runner.name, keeper.id).catch(() => undefined);
  }

  /** Until something is due, or {@link #wake} is called. */
  #wait(): Promise<void> {
    const now = this.#parts.clock.monotonic();
    let dueAt = Math.min(now + this.#parts.pollMs, this.#strays.dueAt);
    for (const lane of this.#lanes) {
      if (this.#hasRoom(lane)) dueAt = Math.min(dueAt, lane.doorbell.dueAt);
    }
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), Math.max(0, dueAt - now));
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}

/** A look at many queues may tell whether it has work. */
function isQuiet(lane: Lane, now: number): boolean {
  return !lane.isCalled && !lane.hasMore && lane.doorbell.isQuiet(now);
}

/** Somebody or something has stopped the queue; the others are limits that it meets while it runs. */
function isStop(reason: HoldReason): boolean {
  return reason !== 'rate' && reason !== 'concurrency' && reason !== 'circuit-half-open';
}

function isFreedBySettles(reason: HoldReason): boolean {
  return reason === 'concurrency' || reason === 'circuit-half-open';
}

/** What was to be claimed does not fit into one answer. */
function isTooLarge({ details }: HowdahError): boolean {
  return details.sqlstate === '54000' || details.sqlstate === '53200';
}
