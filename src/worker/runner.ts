import type { Clock } from '../core/clock.js';
import type { HowdahError } from '../core/errors.js';
import type { EventHub } from '../core/events.js';
import type { Json } from '../core/json.js';
import { Slots } from '../core/slots.js';
import type { ClaimedRow } from '../db/calls/claim.js';
import type { TxHandle } from '../db/handles/tx-handle.js';
import type { Logger } from '../telemetry/logger.js';
import { Attempt } from './attempt.js';
import { BatchCall } from './batch-call.js';
import type { Binding } from './binding.js';
import { JobBuffer } from './buffer.js';
import { type Call, SingleCall } from './call.js';
import type { Decision } from './decide.js';
import { FileCall } from './isolation/file-call.js';
import type { HandlerPool } from './isolation/handler-pool.js';
import type { JobContext } from './job-context.js';
import { OpenRuns } from './open-runs.js';
import { Pace } from './pace.js';
import { Run, type RunHost } from './run.js';

/** How long jobs may be held ahead without any having begun; then they are given back. */
const STALL_MS = 1_000;
/** How long handlers may keep the event loop in one go. */
const SLICE_MS = 5;

const EXPIRED: Decision = { settlement: { verb: 'expire', reason: 'waiting TTL' } };
const RELEASED: Decision = { settlement: { verb: 'release' } };
const CANCELLED_UNBEGUN: Decision = {
  settlement: { verb: 'cancel', reason: 'cancelled before it began' },
};

/** What a runner is made of. */
export interface RunnerParts {
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly logger: Logger;
  /** Takes over an attempt that has ended. */
  readonly settle: (attempt: Attempt) => void;
  /** Something is due at this time. */
  readonly onDeadline: (deadline: number) => void;
  /** A run with this time-out has begun, or has ended. */
  readonly onBegin: (deadline: number) => void;
  readonly onEnd: (deadline: number) => void;
  /** Jobs may be claimed again. */
  readonly onRoom: (runner: Runner) => void;
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
  /** The last claim said that the queue has limits: what is held ahead would count, so nothing is. */
  isLimited = false;
  readonly #parts: RunnerParts;
  readonly #call: Call;
  readonly #pace: Pace;
  readonly #buffer = new JobBuffer();
  /** Jobs in one call of the handler. */
  readonly #size: number;
  #leaseId = '';
  #isPumping = false;
  #isStopped = false;

  constructor(binding: Binding, parts: RunnerParts) {
    this.binding = binding;
    this.name = binding.name;
    this.#parts = parts;
    this.#size = binding.batch?.size ?? 1;
    this.slots = new Slots(binding.concurrency);
    this.#pace = new Pace(binding.concurrency, binding.prefetch);
    this.#call = this.#makeCall();
    const { clock, hub, onDeadline, onBegin, onEnd } = parts;
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
    return this.slots.size * this.#size + (this.isLimited ? 0 : this.#pace.ahead);
  }

  /** How many more jobs may be claimed. */
  get room(): number {
    const begun = this.slots.used + this.#starting;
    return this.capacity - begun * this.#size - this.#buffer.length;
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

  /** Nothing runs and nothing waits to. */
  get isIdle(): boolean {
    return this.slots.used === 0 && this.#buffer.length === 0;
  }

  /** Ids of the jobs it holds. */
  get jobIds(): string[] {
    return this.runs.jobIds.concat(this.#buffer.ids());
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
    this.#buffer.add(rows, this.#parts.clock.monotonic());
    process.nextTick(() => this.pump());
  }

  /** Begins jobs while slots are free. */
  pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
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
    this.#isPumping = false;
    if (!this.#isStopped) this.#parts.onRoom(this);
  }

  invoke(run: Run, context: JobContext): unknown {
    return this.#call.invoke(run, context);
  }

  onReturned(run: Run, value: unknown): void {
    const now = this.#parts.clock.monotonic();
    if (this.runs.isInTime(run, now)) {
      this.#end(run, now);
      this.#call.returned(run, value, this.#endAttempt);
    }
    this.#afterReturn(run);
  }

  onThrown(run: Run, thrown: unknown): void {
    const now = this.#parts.clock.monotonic();
    if (this.runs.isInTime(run, now)) {
      this.#end(run, now);
      this.#call.thrown(run, thrown, this.#endAttempt);
    }
    this.#afterReturn(run);
  }

  async completeIn(run: Run, tx: TxHandle, result: Json | undefined): Promise<void> {
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
    return Math.min(next, this.#buffer.waitingSince + batch.waitMs);
  }

  /** Gives jobs back that were claimed ahead of a handler which turned out to be slow. */
  unstall(now: number): void {
    const waitedMs = now - this.#buffer.waitingSince;
    if (this.#pace.isFixed || this.#buffer.length === 0 || this.slots.free > 0) return;
    if (waitedMs < STALL_MS) return;
    this.#pace.stalled(waitedMs);
    this.#giveBack(this.#buffer.takeAll(), this.#leaseId);
  }

  /** Somebody asked to cancel these jobs: those that run are told, those that wait are settled. */
  cancel(ids: ReadonlySet<string>): void {
    for (const row of this.#buffer.takeIds(ids)) {
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
    this.#giveBack(this.#buffer.takeAll(), this.#leaseId);
  }

  /** The lease is lost: what has not begun is given back, what runs is told and forgotten. */
  forsake(reason: HowdahError): void {
    this.#giveBack(this.#buffer.takeAll(), this.#leaseId);
    this.runs.forsake(reason);
  }

  #makeCall(): Call {
    const { binding } = this;
    const { hub, pool } = this.#parts;
    if (binding.batch) return new BatchCall(binding, this.#endAttempt);
    if (!pool) return new SingleCall(binding);
    return new FileCall(binding, pool, (job, error) =>
      hub.emit('handler.crashed', { job, reason: error.message }),
    );
  }

  #begin(now: number): void {
    const attempts = this.#takeAttempts(now);
    if (attempts.length === 0) return;
    const deadline = this.timeoutMs === null ? Number.POSITIVE_INFINITY : now + this.timeoutMs;
    const run = new Run(this, attempts, now, deadline);
    this.slots.take();
    this.runs.begin(run);
    run.start();
  }

  #takeAttempts(now: number): Attempt[] {
    const attempts: Attempt[] = [];
    while (attempts.length < this.#size) {
      const row = this.#buffer.take(now);
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
    if (!batch || batch.waitMs === 0 || this.#buffer.length >= this.#size) return true;
    const due = this.#buffer.waitingSince + batch.waitMs;
    if (now >= due) return true;
    this.#parts.onDeadline(due);
    return false;
  }

  #end(run: Run, now: number): void {
    this.#pace.ran(this.runs.end(run, now), Math.max(run.attempts.length, 1));
  }

  readonly #endAttempt = (attempt: Attempt, { settlement, problem }: Decision): void => {
    attempt.settlement = settlement;
    attempt.row = undefined;
    this.#parts.settle(attempt);
    if (problem !== undefined) {
      this.#parts.hub.emit('job.result-replaced', { job: attempt.ref, problem });
    }
  };

  #afterReturn(run: Run): void {
    this.runs.returned(run);
    this.pump();
  }

  #giveBack(rows: readonly ClaimedRow[], leaseId: string): void {
    for (const row of rows) this.#endAttempt(new Attempt(row, this.name, leaseId), RELEASED);
  }
}
