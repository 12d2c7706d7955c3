import type { Clock } from '../core/clock.js';
import { type Codecs, codecsOf } from '../core/codec/codec.js';
import { HowdahError } from '../core/errors.js';
import type { EventHub } from '../core/events.js';
import { type Fence, fenceOf } from '../core/fence.js';
import type { EncodedSchedule } from '../core/schedule/schedule.js';
import { Outage } from '../core/time/outage.js';
import { type ClaimCalls, claimCalls } from '../db/calls/claim.js';
import { type LeaseCalls, leaseCalls } from '../db/calls/leases.js';
import { reportCalls } from '../db/calls/reports.js';
import { settleCalls } from '../db/calls/settle.js';
import { type StopCalls, stopCalls } from '../db/calls/stop.js';
import type { ConnectOptions } from '../db/connect/connect-options.js';
import { Line } from '../db/connect/line.js';
import { Listener } from '../db/connect/listener.js';
import { Database } from '../db/database.js';
import { Declarations } from '../db/declarations.js';
import { toHowdahError } from '../db/errors/pg-error.js';
import { settleFaultOf } from '../db/errors/retry.js';
import { Claimer } from './claim/claimer.js';
import { Quarantine } from './claim/quarantine.js';
import type { Companion, CompanionFactory } from './companion.js';
import { declareSchedules, encodeSync } from './declare-schedules.js';
import type { HandlerPool } from './isolation/handler-pool.js';
import { makePool } from './isolation/make-pool.js';
import { LeaseKeeper } from './lease/keeper.js';
import { BEAT_MS } from './lease/signals.js';
import { transactionsMax, type WorkerSettings } from './options.js';
import { Control } from './run/control.js';
import { Deadlines } from './run/deadlines.js';
import { Runner } from './run/runner.js';
import type { Attempt } from './settle/attempt.js';
import { completeEncodedIn, completeIn } from './settle/complete-in.js';
import { Reporter } from './settle/reporter.js';
import { Settler } from './settle/settler.js';
import { Tally } from './settle/tally.js';

/** How long a claim or a settle waits for a lock that an application's transaction may hold. */
const LOCK_TIMEOUT_MS = 100;
/** How often run time-outs are read again, in case an operator changed them. */
const POLICY_MS = 10_000;

/** How often schedules that were held are tried. */
const SCHEDULES_AGAIN_MS = 1_000;
/** How long connections of handlers are waited for at the end. */
const CLOSE_MS = 1_000;

/** What an engine is made of. */
interface EngineParts {
  readonly settings: WorkerSettings;
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly companion: CompanionFactory | undefined;
  /** Somebody wants it to drain: a poison pill, an operator. May be called more than once. */
  readonly onDrain?: (reason: string) => void;
}

/**
 * The parts of a running worker and how they are wired; no decisions. One engine lives from a start
 * to a stop. Its connections: `claim` and `settle` for those, `listen`, `heartbeat` (in the lease
 * thread), and a pool for what is rare.
 */
export class Engine {
  readonly parts: EngineParts;
  readonly database: Database;
  /** For the transactions of handlers; the same where the application gave its pool. */
  readonly handlerDatabase: Database;
  readonly tally: Tally;
  readonly fence: Fence;
  readonly claimLine: Line;
  readonly settleLine: Line;
  readonly listenLine: Line;
  readonly runners: readonly Runner[];
  readonly reporter: Reporter;
  readonly settler: Settler;
  readonly keeper: LeaseKeeper;
  readonly claimer: Claimer;
  readonly listener: Listener;
  readonly control: Control;
  readonly deadlines: Deadlines;
  readonly companion: Companion | undefined;
  /** Resolves when the last claim has come back. */
  claiming: Promise<void> = Promise.resolve();
  readonly #codecs: Codecs | undefined;
  readonly #declarations: Declarations;
  readonly #closing = new AbortController();
  /** Aligned with the runners; undefined where the handler is a function. */
  readonly #pools: readonly (HandlerPool | undefined)[];
  readonly #claims: ClaimCalls;
  readonly #stops: StopCalls;
  #beat: NodeJS.Timeout | undefined;
  #policy: NodeJS.Timeout | undefined;
  #requests: NodeJS.Timeout | undefined;

  constructor(parts: EngineParts) {
    const { settings, clock, hub } = parts;
    this.parts = parts;
    this.database = new Database(settings.database);
    const wanted = transactionsMax(settings.bindings);
    this.handlerDatabase =
      settings.database.pool || wanted === 0
        ? this.database
        : new Database({ ...settings.database, connectionsMax: wanted });
    this.#declarations = new Declarations(this.database, [], (name, error) =>
      hub.emit('declaration.held', { what: 'queue', name, error }),
    );
    this.#codecs = codecsOf(settings.codec, this.database.schema);
    this.tally = new Tally(hub);
    const fence = fenceOf(clock, hub);
    this.fence = fence;
    const outage = new Outage(clock);
    const line = (purpose: string, options: ConnectOptions, onRestored?: () => void) =>
      new Line({
        database: this.database,
        purpose,
        options,
        hub,
        clock,
        outage,
        ...(onRestored && { onRestored }),
      });
    this.claimLine = line(
      'claim',
      { asyncCommit: true, isBusy: true, lockTimeoutMs: LOCK_TIMEOUT_MS },
      () => this.claimer.lookAround(),
    );
    this.settleLine = line('settle', { isBusy: true, lockTimeoutMs: LOCK_TIMEOUT_MS });
    this.listenLine = line('listen', { asyncCommit: true }, () => this.listener.reconnected());
    const calls = settleCalls(this.database);
    const leases = leaseCalls(this.database);
    this.#claims = claimCalls(this.database);
    this.#stops = stopCalls(this.database);
    this.reporter = new Reporter({
      calls: reportCalls(this.database),
      pool: this.database,
      clock,
      hub,
      codecs: this.#codecs,
    });
    this.#pools = settings.bindings.map(
      ({ file }, index) => file && makePool(file, clock, () => this.runners[index]?.pump()),
    );
    this.runners = this.#makeRunners(calls.completeInText);
    this.deadlines = new Deadlines(clock, this.runners, fence);
    this.settler = new Settler({
      calls,
      codecs: this.#codecs,
      line: this.settleLine,
      pool: this.database,
      tally: this.tally,
      hub,
      fence,
      leaseMs: settings.leaseMs,
      outage,
      clock,
      isAwaited: () => this.runners.some(({ isLimited }) => isLimited),
      flush: (attempt) => this.reporter.flush([attempt]),
      onRoom: () => this.claimer.poke(),
      onAbandoned: (leaseId) => this.claimer.abandoned(leaseId),
      onSettled: (attempts) => {
        this.claimer.settled(attempts);
        const mayBeReady = this.#advance(attempts);
        if (mayBeReady.size > 0) this.claimer.lookAround(mayBeReady);
      },
    });
    this.keeper = this.#makeKeeper(leases, outage);
    this.claimer = new Claimer({
      claims: this.#claims,
      leases,
      line: this.claimLine,
      keeper: this.keeper,
      runners: this.runners,
      pollMs: settings.pollMs,
      clock,
      hub,
      outage,
      isHeldUp: () => this.settler.isFull,
      knownIds: () => [...this.runners.flatMap(({ jobIds }) => jobIds), ...this.settler.jobIds],
      onClaimed: (sentAt) => this.control.claimed(sentAt),
      askStop: (leaseId, id, claims) => this.#stops.obey(this.claimLine, leaseId, id, claims),
      onStop: (reason) => this.parts.onDrain?.(reason),
      quarantine: new Quarantine({
        leases,
        clock,
        hub,
        runners: this.runners,
        settler: this.settler,
        line: this.claimLine,
        keeper: this.keeper,
        waitMs: settings.suspectWaitMs,
      }),
    });
    const { keeper, runners } = this;
    this.control = new Control({
      calls: leases,
      pool: this.database,
      keeper,
      runners,
      clock,
      fence,
    });
    this.listener = this.#makeListener(leases);
    this.companion = parts.companion?.({
      database: this.database,
      clock,
      hub,
      outage,
      leaseMs: settings.leaseMs,
      leaseId: () => keeper.id,
    });
  }

  /** Connects, declares the queues, opens a lease. @throws HowdahError; nothing is left open then */
  async open(): Promise<void> {
    const { schedules, schedulesOwner } = this.parts.settings;
    try {
      await Promise.all(this.#pools.map((pool) => pool?.open()));
      await this.#declareQueues();
      if (schedules) await this.#declareSchedules(schedules, schedulesOwner);
      await Promise.all([this.claimLine.open(), this.settleLine.open()]);
      const { fence } = this;
      this.#beat = setInterval(() => fence.call('beat', () => this.#onBeat()), BEAT_MS);
      this.#policy = setInterval(() => {
        void this.#readPolicies().catch(() => {});
        void this.#askOrder();
      }, POLICY_MS);
      // rings of cancel requests may be lost, like any
      const look = (): void => fence.call('control', () => this.control.look());
      this.#requests = setInterval(look, this.parts.settings.pollMs);
      await this.keeper.start();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Begins to work. */
  run(): void {
    this.claiming = this.claimer.run();
    void this.listener.run();
    void this.fence.follow('maintenance', () => this.companion?.start());
  }

  /** Lets go of everything at once. Whatever is not settled is left to the reaper. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#declarations.close();
    clearInterval(this.#beat);
    clearInterval(this.#policy);
    clearInterval(this.#requests);
    this.claimer.stop();
    this.control.close();
    this.listener.close();
    this.deadlines.close();
    this.reporter.close();
    this.settler.close();
    await Promise.allSettled(this.#pools.map((pool) => pool?.close()));
    await this.keeper.stop();
    const lines = [this.claimLine, this.settleLine, this.listenLine];
    await Promise.allSettled(lines.map((line) => line.close()));
    // a handler that does not return keeps its connection
    if (this.handlerDatabase !== this.database) {
      const done = new AbortController();
      const closed = this.handlerDatabase.close().finally(() => done.abort());
      await Promise.race([closed, this.parts.clock.sleep(CLOSE_MS, done.signal)]);
    }
    await this.database.close();
  }

  async #declareQueues(): Promise<void> {
    const { bindings } = this.parts.settings;
    await this.#declarations.ensureAll(
      bindings.flatMap(({ queue }) => (typeof queue === 'string' ? [] : [queue])),
    );
    const missing = await this.#readPolicies();
    if (missing.length === 0) return;
    throw new HowdahError('HOWDAH_QUEUE_UNKNOWN', `Queue ${missing[0]} does not exist.`, {
      details: { queues: missing },
      remedy: 'Declare it with queue(...), or create it with `howdah queues set`.',
    });
  }

  /** What somebody's transaction holds is tried again beside the work. */
  async #declareSchedules(schedules: readonly EncodedSchedule[], owner: string): Promise<void> {
    const { clock, hub } = this.parts;
    const sync = await encodeSync(this.#declarations, schedules);
    const declare = () => declareSchedules(this.database, owner, sync);
    if (await declare()) return;
    const tell = (error?: HowdahError) =>
      hub.emit('declaration.held', { what: 'schedules', name: owner, error });
    tell();
    const { signal } = this.#closing;
    void this.fence.loop(
      'schedules',
      async () => {
        await clock.sleep(SCHEDULES_AGAIN_MS, signal);
        if (signal.aborted) return false;
        try {
          return !(await declare());
        } catch (thrown) {
          const error = toHowdahError(thrown);
          if (settleFaultOf(error) === 'passing') return true;
          tell(error);
          return false;
        }
      },
      signal,
    );
  }

  /** @returns the queues that do not exist */
  async #readPolicies(): Promise<string[]> {
    const names = this.runners.map(({ name }) => name);
    const timeouts = await this.#claims.readTimeouts(this.database, names);
    for (const runner of this.runners) {
      const timeoutMs = timeouts.get(runner.name);
      if (timeoutMs !== undefined) runner.timeoutMs = timeoutMs;
    }
    return names.filter((name) => !timeouts.has(name));
  }

  #makeRunners(completeInText: string): Runner[] {
    const { settings, clock, hub } = this.parts;
    const codecs = this.#codecs;
    const parts = { schema: this.database.schema, completeInText, codecs };
    return settings.bindings.map(
      (binding, index) =>
        new Runner(binding, {
          pool: this.#pools[index],
          clock,
          hub,
          logger: settings.logger,
          codecs,
          middleware: settings.middleware,
          settle: (attempt) => this.fence.call('settle', () => this.settler.add(attempt)),
          reporter: this.reporter,
          onDeadline: (deadline) => this.deadlines.note(deadline),
          onBegin: (deadline) => this.#onBegin(deadline),
          onEnd: (deadline) => this.#onEnd(deadline),
          onRoom: (runner) => this.claimer.onRoom(runner),
          completeIn: (run, tx, result) => completeIn(run, tx, result, parts),
          transactions: {
            lend: (run) => this.handlerDatabase.lend(run),
            complete: (run, tx, result) => completeEncodedIn(run, tx, () => result, parts),
          },
        }),
    );
  }

  #makeKeeper(calls: LeaseCalls, outage: Outage): LeaseKeeper {
    const { settings, clock, hub } = this.parts;
    return new LeaseKeeper({
      calls,
      line: this.settleLine,
      database: settings.database,
      worker: settings.name,
      leaseMs: settings.leaseMs,
      heartbeatMs: settings.heartbeatMs,
      info: { pid: process.pid, queues: settings.bindings.map(({ name }) => name) },
      clock,
      hub,
      outage,
      onLost: (leaseId, reason) => this.#onLeaseLost(calls, leaseId, reason),
      onOpened: (leaseId) => {
        this.claimer.bellsGone();
        this.listener.follow(leaseId);
      },
      onAttention: () => {
        this.control.look();
        void this.#askOrder();
      },
    });
  }

  #makeListener(calls: LeaseCalls): Listener {
    const { settings, clock, hub } = this.parts;
    return new Listener({
      calls,
      line: this.listenLine,
      other: this.claimLine,
      clock,
      hub,
      pollMs: settings.pollMs,
      onRing: (payload) => {
        if (payload === 'c') this.control.look();
        else if (payload === 'd') void this.#askOrder();
        else if (payload === 'p' || payload === 's') this.companion?.notice(payload);
        else this.claimer.rung(payload.startsWith('q') ? payload.slice(1) : undefined);
      },
      onHearing: (isHearing) => {
        this.claimer.setHearing(isHearing);
        this.control.look();
        if (isHearing) void this.#askOrder();
      },
    });
  }

  /** Lets those begin that waited for these. @returns the queues where others of their groups may be ready now */
  #advance(attempts: readonly Attempt[]): ReadonlySet<string> {
    const mayBeReady = new Set<string>();
    for (const attempt of attempts) {
      if (attempt.group === null) continue;
      const runner = this.runners.find(({ name }) => name === attempt.queue);
      if (!runner?.settled(attempt)) mayBeReady.add(attempt.queue);
    }
    return mayBeReady;
  }

  /** Whether an operator wants it to drain. One that fails is asked again with the policies. */
  async #askOrder(): Promise<void> {
    const leaseId = this.keeper.id;
    if (leaseId === undefined || !this.parts.onDrain) return;
    const reason = await this.#stops.order(this.database, leaseId).catch(() => null);
    if (reason !== null) this.fence.call('drain', () => this.parts.onDrain?.(reason));
  }

  #onBeat(): void {
    const { fence } = this;
    // First end what has timed out: a handler that blocked the loop past its time-out fails by that.
    fence.call('deadlines', () => this.deadlines.check());
    fence.call('lease', () => this.keeper.beat());
    fence.call('lease', () => this.#publishDeadline());
    const now = this.parts.clock.monotonic();
    for (const runner of this.runners) fence.call('run', () => runner.unstall(now));
  }

  #onBegin(deadline: number): void {
    this.deadlines.note(deadline);
    const { signals } = this.keeper;
    const published = signals.deadline;
    if (published === 0 || deadline < published) signals.deadline = deadline;
  }

  #onEnd(deadline: number): void {
    if (deadline <= this.keeper.signals.deadline) this.#publishDeadline();
  }

  /** For the lease thread: when the first running attempt times out. */
  #publishDeadline(): void {
    let deadline = 0;
    for (const runner of this.runners) {
      if (runner.runs.size === 0) continue;
      const { earliestDeadline } = runner.runs;
      if (deadline === 0 || earliestDeadline < deadline) deadline = earliestDeadline;
    }
    this.keeper.signals.deadline = deadline;
  }

  #onLeaseLost(calls: LeaseCalls, leaseId: string, reason: HowdahError): void {
    for (const runner of this.runners) this.fence.call('run', () => runner.forsake(reason));
    void this.#closeLost(calls, leaseId).catch(() => undefined);
  }

  /** What has finished may still be settled; what has not is given back, so that it runs again soon. */
  async #closeLost(calls: LeaseCalls, leaseId: string): Promise<void> {
    const { clock } = this.parts;
    while (this.settler.has(leaseId)) await clock.sleep(BEAT_MS);
    await calls.close(this.settleLine, leaseId);
  }
}
