import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import type { HowdahError } from '../../core/errors.js';
import type { EventHub, JobRef } from '../../core/events.js';
import { type Fence, fenceOf } from '../../core/fence.js';
import type { Json } from '../../core/json.js';
import { Slots } from '../../core/time/slots.js';
import type { ClaimedRow } from '../../db/calls/claim.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';
import type { LogFields, Logger, LogLevel } from '../../telemetry/logger.js';
import type { AttemptMiddleware } from '../handler/attempt-middleware.js';
import type { Binding } from '../handler/binding.js';
import type { JobContext } from '../handler/job-context.js';
import { JobBuffer } from '../hold/buffer.js';
import { Followers } from '../hold/followers.js';
import { GroupBuffer } from '../hold/group-buffer.js';
import { Pace } from '../hold/pace.js';
import type { HandlerPool } from '../isolation/handler-pool.js';
import { Attempt } from '../settle/attempt.js';
import { type Decision, decideThrown } from '../settle/decide.js';
import type { Reporter } from '../settle/reporter.js';
import { BatchCall } from './batch-call.js';
import { type Call, factsOf, SingleCall } from './call.js';
import { FileCall } from './file-call.js';
import { OpenRuns } from './open-runs.js';
import { Run, type RunHost } from './run.js';
import { surround } from './surround.js';
import { TransactionalCall, type Transactions } from './transactional-call.js';

/** How long jobs may be held ahead without any having begun; then they are given back. */
const STALL_MS = 1_000;
/** How long handlers may keep the event loop in one go. */
const SLICE_MS = 5;
/** So many batches' worth of jobs are gathered at once where each is of one group. */
const GROUPS_GATHERED = 10;

const EXPIRED: Decision = { settlement: { verb: 'expire', reason: 'waiting TTL' } };
const RELEASED: Decision = { settlement: { verb: 'release' } };
const CANCELLED_UNBEGUN: Decision = {
  settlement: { verb: 'cancel', reason: 'cancelled before it began' },
};

/** What a runner is made of. */
interface RunnerParts {
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly logger: Logger;
  readonly codecs?: Codecs | undefined;
  /** Middleware of the worker, outside that of the binding. */
  readonly middleware?: readonly AttemptMiddleware[];
  /** Takes over an attempt that has ended. */
  readonly settle: (attempt: Attempt) => void;
  /** Takes what handlers say while they run. */
  readonly reporter: Reporter;
  /** Something is due at this time. */
  readonly onDeadline: (deadline: number) => void;
  /** A run with this time-out has begun, or has ended. */
  readonly onBegin: (deadline: number) => void;
  readonly onEnd: (deadline: number) => void;
  /** Jobs may be claimed again. */
  readonly onRoom: (runner: Runner) => void;
  /** Of handlers that are called in a transaction. */
  readonly transactions: Transactions;
  readonly completeIn: (run: Run, tx: TxHandle, result: Json | undefined) => Promise<void>;
  /** What runs the handler where it is in a file. */
  readonly pool?: HandlerPool | undefined;
}

/** Runs the jobs of one queue: holds what is claimed, begins as slots are free, ends each attempt. */
export class Runner implements RunHost {
  readonly name: string;
  readonly binding: Binding;
  readonly slots: Slots;
  readonly runs: OpenRuns;
  /** Run time-out; null: none. Read from the queue's policy. */
  timeoutMs: number | null = 300_000;
  /** A limit of the queue was reached lately: what is held ahead would count, so nothing is. */
  isLimited = false;
  readonly #parts: RunnerParts;
  readonly #call: Call;
  readonly #pace: Pace;
  readonly #buffer: JobBuffer | GroupBuffer;
  readonly #followers = new Followers();
  readonly #fence: Fence;
  /** Jobs in one call of the handler. */
  readonly #size: number;
  #leaseId = '';
  #isPumping = false;
  #isStopped = false;

  constructor(bound: Binding, parts: RunnerParts) {
    const binding = surround(bound, parts.middleware ?? []);
    this.binding = binding;
    this.name = binding.name;
    this.#parts = parts;
    this.#fence = fenceOf(parts.clock, parts.hub);
    this.#size = binding.batch?.size ?? 1;
    this.#buffer = binding.batch?.byGroup ? new GroupBuffer() : new JobBuffer();
    this.slots = new Slots(binding.concurrency);
    this.#pace = new Pace(binding.concurrency, binding.prefetch);
    const { clock, hub, onDeadline, onBegin, onEnd } = parts;
    this.#call = this.#makeCall(parts);
    this.runs = new OpenRuns({
      queue: this.name,
      clock,
      hub,
      onDeadline,
      onBegin,
      onEnd,
      endAttempt: this.#endAttempt,
      onSlot: () => this.slots.give(),
    });
  }

  get logger(): Logger {
    return this.#parts.logger;
  }

  /** Most jobs to hold, running or not. */
  get capacity(): number {
    const running = this.slots.size * this.#size;
    if (this.isLimited) return running;
    // groups fill beside each other
    const gathering = this.binding.batch?.byGroup ? GROUPS_GATHERED * this.#size : 0;
    return running + Math.max(this.#pace.ahead, gathering);
  }

  /** How many more jobs may be claimed. */
  get room(): number {
    const begun = this.slots.used + this.#starting;
    return this.capacity - begun * this.#size - this.#buffer.length;
  }

  /** Most members of one group to claim at once. */
  get turn(): number {
    if (this.binding.batch?.byGroup) return this.#size;
    return this.#followers.isFull ? 1 : this.#pace.turn;
  }

  /** A slot is free and nothing is there to begin. */
  get isStarved(): boolean {
    return this.#buffer.length === 0 && this.#free > 0;
  }

  /** Slots in which a job may begin: not those whose thread or process is being replaced. */
  get #free(): number {
    return Math.max(0, this.slots.free - this.#starting);
  }

  get #starting(): number {
    return this.#parts.pool?.starting ?? 0;
  }

  /** Whether a job of it can run in a process of its own. */
  get canRunApart(): boolean {
    return this.#parts.pool !== undefined;
  }

  /** Nothing runs and nothing waits to. */
  get isIdle(): boolean {
    return this.slots.used === 0 && this.#buffer.length + this.#followers.length === 0;
  }

  /** Ids of the jobs it holds. */
  get jobIds(): string[] {
    return this.runs.jobIds.concat(this.#buffer.ids(), this.#followers.ids());
  }

  /**
   * Takes over claimed jobs. They begin after all microtasks, so that the next claim is sent first.
   * @param isLost the lease was lost meanwhile: they are given back
   */
  accept(rows: ClaimedRow[], leaseId: string, isLost: boolean): void {
    if (isLost || this.#isStopped) {
      this.#giveBack(rows, leaseId);
      return;
    }
    this.#leaseId = leaseId;
    if (this.#parts.hub.hears('job.claimed')) this.#reportClaimed(rows, leaseId);
    const now = this.#parts.clock.monotonic();
    // a call that takes a whole group takes those that would follow, too
    const isByGroup = this.#buffer instanceof GroupBuffer;
    this.#buffer.add(isByGroup ? rows : this.#followers.keep(rows, now), now);
    process.nextTick(() => this.pump());
  }

  /**
   * An attempt is settled. Of those that wait behind it in its group the next begins, or all are given
   * back because it is to run again. @returns whether any waited
   */
  settled(attempt: Attempt): boolean {
    const { group } = attempt;
    if (group === null || !this.#followers.isLed(attempt)) return false;
    const next = attempt.isOver ? this.#followers.next(group) : undefined;
    if (next && this.#buffer instanceof JobBuffer) {
      this.#buffer.addFirst(next, this.#parts.clock.monotonic());
      this.pump();
    } else this.#giveBack(this.#followers.take(group), attempt.leaseId);
    return true;
  }

  /** Begins jobs while slots are free. */
  pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    this.#fence.call('run', () => this.#beginSome());
    this.#isPumping = false;
    if (!this.#isStopped) this.#fence.call('run', () => this.#parts.onRoom(this));
  }

  #beginSome(): void {
    const { clock } = this.#parts;
    let now = clock.monotonic();
    const sliceEnd = now + SLICE_MS;
    while (this.#buffer.length > 0 && this.#free > 0 && this.#isFilled(now)) {
      this.#begin(now);
      now = clock.monotonic();
      if (now > sliceEnd) {
        setImmediate(() => this.pump());
        break;
      }
    }
  }

  invoke(run: Run, context: JobContext): unknown {
    return this.#call.invoke(run, context);
  }

  onReturned(run: Run, value: unknown): void {
    this.#decide(run, () => this.#call.returned(run, value, this.#endAttempt));
  }

  onThrown(run: Run, thrown: unknown): void {
    this.#decide(run, () => this.#call.thrown(run, thrown, this.#endAttempt));
  }

  /** Never throws: no attempt stays open because its end could not be decided. */
  #decide(run: Run, decide: () => void): void {
    try {
      const now = this.#parts.clock.monotonic();
      if (this.runs.isInTime(run, now)) {
        this.#end(run, now);
        decide();
      }
    } catch (thrown) {
      // what the handler returned cannot be read: a proxy whose traps throw, a foreign outcome
      this.#fence.call('run', () => this.#failRest(run, thrown));
    }
    this.#fence.call('run', () => this.runs.returned(run));
    this.pump();
  }

  #failRest(run: Run, thrown: unknown): void {
    if (!run.isEnded) this.runs.end(run, run.startedAt);
    for (const attempt of run.attempts) {
      if (attempt.settlement) continue;
      this.#endAttempt(attempt, decideThrown(thrown, factsOf(run, attempt)));
    }
  }

  onProgress(run: Run, value: Json): void {
    this.#parts.reporter.progress(run.attempts, value);
  }

  get keepLine(): RunHost['keepLine'] {
    return this.binding.keepLogs ? this.#keepLine : undefined;
  }

  async completeIn(run: Run, tx: TxHandle, result: Json | undefined): Promise<void> {
    // when that commits the job has ended, and nothing more can be said
    if (run.attempts.some(({ isReporting }) => isReporting)) {
      await this.#parts.reporter.flush(run.attempts);
    }
    await this.#parts.completeIn(run, tx, result);
    for (const attempt of run.attempts) attempt.isCompletedIn = true;
  }

  /** Does what is due: time-outs, slots of handlers that do not return, batches that waited enough. */
  expire(now: number): void {
    this.runs.expire(now);
    this.pump();
  }

  nextDeadline(): number {
    const next = this.runs.nextDeadline;
    const { batch } = this.binding;
    if (!batch || this.#buffer.length === 0 || this.slots.free === 0) return next;
    return Math.min(
      next,
      this.#buffer.dueAt(this.#size, batch.waitMs, this.#parts.clock.monotonic()),
    );
  }

  /** Gives jobs back that were claimed ahead of a handler which turned out to be slow, and long turns. */
  unstall(now: number): void {
    this.#giveBack(this.#followers.takeOld(now - STALL_MS), this.#leaseId);
    const waitedMs = now - this.#buffer.waitingSince;
    if (this.#pace.isFixed || this.#buffer.length === 0 || this.slots.free > 0) return;
    if (waitedMs < STALL_MS) return;
    this.#pace.stalled(waitedMs);
    this.#giveBack(this.#buffer.takeAll(), this.#leaseId);
  }

  /** Somebody asked to cancel these jobs: those that run are told, those that wait are settled. */
  cancel(ids: ReadonlySet<string>): void {
    for (const row of this.#buffer.takeIds(ids).concat(this.#followers.takeIds(ids))) {
      this.#endAttempt(new Attempt(row, this.name, this.#leaseId), CANCELLED_UNBEGUN);
    }
    this.runs.cancel(ids);
  }

  /** Gives back jobs that were claimed and not handed over. */
  release(rows: readonly ClaimedRow[], leaseId: string): void {
    this.#giveBack(rows, leaseId);
  }

  /** Begins no more jobs, and gives back those that have not begun. */
  stop(): void {
    this.#isStopped = true;
    this.#giveBackAll();
  }

  /** The lease is lost: what has not begun is given back, what runs is told and forgotten. */
  forsake(reason: HowdahError): void {
    this.#giveBackAll();
    this.runs.forsake(reason);
  }

  #makeCall({ transactions, reporter, codecs, pool, hub }: RunnerParts): Call {
    const { binding } = this;
    if (binding.batch) return new BatchCall(binding, this.#endAttempt, codecs);
    if (binding.isTransactional) {
      return new TransactionalCall(binding, transactions, reporter, codecs);
    }
    if (!pool) return new SingleCall(binding, codecs);
    const onCrash = (job: JobRef, { message }: HowdahError): void =>
      hub.emit('handler.crashed', { job, reason: message });
    return new FileCall(binding, pool, onCrash, codecs);
  }

  #begin(now: number): void {
    const attempts = this.#takeAttempts(now);
    if (attempts.length === 0) return;
    const run = new Run(this, attempts, now, this.timeoutMs ?? Number.POSITIVE_INFINITY);
    this.slots.take();
    try {
      this.runs.begin(run);
      const { hub } = this.#parts;
      if (hub.hears('job.started')) {
        for (const { ref } of attempts) hub.emit('job.started', { job: ref });
      }
    } catch (thrown) {
      this.#fence.report('run', thrown);
      run.fail(thrown);
      return;
    }
    run.start();
  }

  #reportClaimed(rows: readonly ClaimedRow[], leaseId: string): void {
    for (const row of rows) {
      const { ref } = new Attempt(row, this.name, leaseId);
      this.#parts.hub.emit('job.claimed', { job: ref });
    }
  }

  #takeAttempts(now: number): Attempt[] {
    const attempts: Attempt[] = [];
    const buffer = this.#buffer;
    const batch =
      buffer instanceof GroupBuffer
        ? buffer.takeBatch(this.#size, this.binding.batch?.waitMs ?? 0, now)
        : undefined;
    while (attempts.length < this.#size) {
      const row = batch ? batch.shift() : (buffer as JobBuffer).take(now);
      if (!row) break;
      const attempt = new Attempt(row, this.name, this.#leaseId);
      if (row[5]?.[3]) this.#endAttempt(attempt, EXPIRED);
      else attempts.push(attempt);
    }
    return attempts;
  }

  /** Whether a batch is to begin: it is full, or has waited long enough. */
  #isFilled(now: number): boolean {
    const { batch } = this.binding;
    if (!batch || batch.waitMs === 0) return true;
    const due = this.#buffer.dueAt(this.#size, batch.waitMs, now);
    if (now >= due) return true;
    this.#parts.onDeadline(due);
    return false;
  }

  #end(run: Run, now: number): void {
    this.#pace.ran(this.runs.end(run, now), Math.max(run.attempts.length, 1));
  }

  readonly #keepLine = (
    attempt: Attempt,
    level: LogLevel,
    message: string,
    fields?: LogFields,
  ): void => {
    if (level !== 'debug') this.#parts.reporter.line(attempt, level, message, fields);
  };

  readonly #endAttempt = (attempt: Attempt, { settlement, problem }: Decision): void => {
    attempt.settlement = settlement;
    attempt.row = undefined;
    attempt.isLed = this.#followers.isLed(attempt);
    this.#parts.settle(attempt);
    if (problem !== undefined) {
      this.#parts.hub.emit('job.result-replaced', { job: attempt.ref, problem });
    }
  };

  #giveBackAll(): void {
    this.#giveBack(this.#buffer.takeAll().concat(this.#followers.takeAll()), this.#leaseId);
  }

  #giveBack(rows: readonly ClaimedRow[], leaseId: string): void {
    for (const row of rows) this.#endAttempt(new Attempt(row, this.name, leaseId), RELEASED);
  }
}
