import type { Clock } from '../core/clock.js';
import { HowdahError } from '../core/errors.js';
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
import { type Decision, decideAborted } from './decide.js';
import type { JobContext } from './job-context.js';
import { Pace } from './pace.js';
import { Run, type RunHost } from './run.js';

/** How long a handler may go on after its attempt has ended before its slot is freed. */
const LEAK_MS = 1_000;
/** How long jobs may be held ahead without any having begun; then they are given back. */
const STALL_MS = 1_000;
/** How long handlers may keep the event loop in one go. */
const SLICE_MS = 5;

/** What a runner is made of. */
export interface RunnerParts {
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly logger: Logger;
  /** Takes over an attempt that has ended. */
  readonly settle: (attempt: Attempt) => void;
  /** Something is due at this time. */
  readonly onDeadline: (deadline: number) => void;
  /** A run with this time-out begins or has ended. */
  readonly onBegin: (deadline: number) => void;
  readonly onEnd: (deadline: number) => void;
  /** Jobs may be claimed again. */
  readonly onRoom: (runner: Runner) => void;
  readonly completeIn: (
    run: Pick<Run, 'attempts' | 'isEnded'>,
    tx: TxHandle,
    result: Json | undefined,
  ) => Promise<void>;
}

/** Runs the jobs of one queue: holds what is claimed, begins as slots are free, ends each attempt. */
export class Runner implements RunHost {
  readonly name: string;
  readonly binding: Binding;
  readonly slots: Slots;
  /** Run time-out; null: none. Read from the queue's policy. */
  timeoutMs: number | null = 300_000;
  readonly #parts: RunnerParts;
  readonly #call: Call;
  readonly #pace: Pace;
  readonly #buffer = new JobBuffer();
  readonly #size: number;
  /** Runs whose attempts are open, in the order they began. */
  readonly #open = new Set<Run>();
  /** Runs whose attempts have ended while the handler goes on. */
  readonly #lingering = new Set<Run>();
  #leaseId = '';
  #isPumping = false;
  #isStopped = false;
  /** Once nothing more is claimed, batches do not wait to fill. */
  isDraining = false;

  constructor(binding: Binding, parts: RunnerParts) {
    this.binding = binding;
    this.name = binding.name;
    this.#parts = parts;
    this.#size = binding.batch?.size ?? 1;
    this.slots = new Slots(binding.concurrency);
    this.#pace = new Pace(binding.concurrency, binding.prefetch);
    this.#call = binding.batch ? new BatchCall(binding, this.#endAttempt) : new SingleCall(binding);
  }

  get logger(): Logger {
    return this.#parts.logger;
  }

  /** Most jobs to hold, running or not. */
  get capacity(): number {
    return this.slots.size * this.#size + this.#pace.ahead;
  }

  /** How many more jobs may be claimed. */
  get room(): number {
    return this.capacity - this.slots.used * this.#size - this.#buffer.length;
  }

  /** A slot is free and nothing is there to begin. */
  get isStarved(): boolean {
    return this.#buffer.length === 0 && this.slots.free > 0;
  }

  /** Nothing runs and nothing waits to. */
  get isIdle(): boolean {
    return this.slots.used === 0 && this.#buffer.length === 0;
  }

  /** Ids of the jobs it holds. */
  get ids(): string[] {
    const open = [...this.#open].flatMap((run) => run.attempts.map(({ id }) => id));
    return open.concat(this.#buffer.ids());
  }

  /** When the first open attempt times out, Infinity: never. */
  get earliestDeadline(): number {
    for (const run of this.#open) return run.deadline;
    return Number.POSITIVE_INFINITY;
  }

  get hasOpenRuns(): boolean {
    return this.#open.size > 0;
  }

  /** Takes over claimed jobs. They begin after all microtasks, so that the next claim is sent first. */
  accept(rows: ClaimedRow[], leaseId: string): void {
    this.#leaseId = leaseId;
    if (this.#isStopped) {
      this.#giveBack(rows);
      return;
    }
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
    while (this.#buffer.length > 0 && this.slots.free > 0 && this.#isFilled(now)) {
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
    if (!run.isEnded) this.#end(run, () => this.#call.returned(run, value, this.#endAttempt));
    this.#afterReturn(run);
  }

  onThrown(run: Run, thrown: unknown): void {
    if (!run.isEnded) this.#end(run, () => this.#call.thrown(run, thrown, this.#endAttempt));
    this.#afterReturn(run);
  }

  async completeIn(run: Run, tx: TxHandle, result: Json | undefined): Promise<void> {
    await this.#parts.completeIn(run, tx, result);
    for (const attempt of run.attempts) attempt.isCompletedIn = true;
  }

  /** Ends what has timed out and frees slots whose handlers do not return. */
  expire(now: number): void {
    for (const run of this.#open) {
      if (run.deadline > now) break; // in the order they began, with the same time-out
      this.#timeOut(run, now);
    }
    for (const run of this.#lingering) {
      if (run.leaksAt <= now) this.#leak(run, now);
    }
    this.pump();
  }

  nextDeadline(): number {
    let next = this.earliestDeadline;
    for (const { leaksAt } of this.#lingering) next = Math.min(next, leaksAt);
    const { batch } = this.binding;
    if (batch && this.#buffer.length > 0 && this.slots.free > 0) {
      next = Math.min(next, this.#buffer.waitingSince + batch.waitMs);
    }
    return next;
  }

  /** Gives jobs back that were claimed ahead of a handler which turned out to be slow. */
  unstall(now: number): void {
    const waitedMs = now - this.#buffer.waitingSince;
    if (this.#pace.isFixed || this.#buffer.length === 0 || this.slots.free > 0) return;
    if (waitedMs < STALL_MS) return;
    this.#pace.stalled(waitedMs);
    this.#giveBack(this.#buffer.takeAll());
  }

  /** Somebody asked to cancel these jobs: those that run are told, those that wait are settled. */
  cancel(ids: ReadonlySet<string>): void {
    for (const row of this.#buffer.takeIds(ids)) {
      const attempt = new Attempt(row, this.name, this.#leaseId);
      attempt.isCancelRequested = true;
      this.#endAttempt(attempt, decideAborted(CANCELLED, true));
    }
    for (const run of this.#open) {
      const asked = run.attempts.filter(({ id }) => ids.has(id));
      for (const attempt of asked) attempt.isCancelRequested = true;
      // a batch goes on for the others
      if (asked.length === 0 || asked.length < run.attempts.length) continue;
      run.abort(CANCELLED);
      if (!this.#lingering.has(run)) this.#linger(run);
    }
  }

  /** Begins no more jobs; gives back those that have not begun. @returns how many */
  stop(): number {
    this.#isStopped = true;
    const rows = this.#buffer.takeAll();
    this.#giveBack(rows);
    return rows.length;
  }

  /** Tells every running handler to stop. @returns how many jobs that concerns */
  abortAll(reason: HowdahError): number {
    let told = 0;
    for (const run of this.#open) {
      run.abort(reason);
      told += run.attempts.length;
    }
    return told;
  }

  /** Ends every open attempt, whether its handler returns or not. */
  endAll(reason: HowdahError): void {
    const now = this.#parts.clock.monotonic();
    for (const run of this.#open) {
      this.#endAborted(run, reason);
      this.#leak(run, now);
    }
  }

  /** The lease is lost: what has not begun is given back, what runs is told and forgotten. */
  forsake(reason: HowdahError): void {
    this.#giveBack(this.#buffer.takeAll());
    for (const run of this.#open) {
      run.abort(reason);
      this.#end(run, () => {});
      this.#linger(run);
    }
  }

  #begin(now: number): void {
    const attempts = this.#takeAttempts(now);
    if (attempts.length === 0) return;
    const deadline = this.timeoutMs === null ? Number.POSITIVE_INFINITY : now + this.timeoutMs;
    const run = new Run(this, attempts, now, deadline);
    this.slots.take();
    this.#open.add(run);
    this.#parts.onBegin(deadline);
    run.start();
  }

  #takeAttempts(now: number): Attempt[] {
    const attempts: Attempt[] = [];
    while (attempts.length < this.#size) {
      const row = this.#buffer.take(now);
      if (!row) break;
      const attempt = new Attempt(row, this.name, this.#leaseId);
      if (row[9]) this.#endAttempt(attempt, EXPIRED);
      else attempts.push(attempt);
    }
    return attempts;
  }

  /** Whether a batch is to begin: it is full, has waited long enough, or nothing more will come. */
  #isFilled(now: number): boolean {
    const { batch } = this.binding;
    if (!batch || batch.waitMs === 0 || this.#buffer.length >= this.#size) return true;
    const due = this.#buffer.waitingSince + batch.waitMs;
    if (this.isDraining || now >= due) return true;
    this.#parts.onDeadline(due);
    return false;
  }

  /** Ends the attempts of a run. */
  #end(run: Run, endAttempts: () => void): void {
    run.isEnded = true;
    this.#open.delete(run);
    this.#parts.onEnd(run.deadline);
    const durationMs = this.#parts.clock.monotonic() - run.startedAt;
    this.#pace.ran(durationMs, Math.max(run.attempts.length, 1));
    for (const attempt of run.attempts) attempt.durationMs = durationMs;
    endAttempts();
  }

  readonly #endAttempt = (attempt: Attempt, { settlement, problem }: Decision): void => {
    attempt.settlement = settlement;
    attempt.row = undefined;
    this.#parts.settle(attempt);
    if (problem === undefined) return;
    this.#parts.hub.emit('job.result-replaced', { job: attempt.ref, problem });
  };

  #afterReturn(run: Run): void {
    this.#lingering.delete(run);
    if (!run.hasSlot) return;
    run.hasSlot = false;
    this.slots.give();
    this.pump();
  }

  #timeOut(run: Run, now: number): void {
    const timeoutMs = Math.round(run.deadline - run.startedAt);
    const reason = new HowdahError(
      'HOWDAH_JOB_TIMEOUT',
      `The attempt took longer than the run time-out of queue ${this.name}, ${timeoutMs} ms.`,
      { details: { queue: this.name, timeoutMs } },
    );
    for (const attempt of run.attempts) {
      this.#parts.hub.emit('job.timed-out', { job: attempt.ref, timeoutMs });
    }
    run.abort(reason);
    this.#endAborted(run, reason);
    this.#linger(run, now);
  }

  #endAborted(run: Run, reason: HowdahError): void {
    this.#end(run, () => {
      for (const attempt of run.attempts) {
        this.#endAttempt(attempt, decideAborted(reason, attempt.isCancelRequested));
      }
    });
  }

  #linger(run: Run, now = this.#parts.clock.monotonic()): void {
    if (run.isReturned) return;
    run.leaksAt = now + LEAK_MS;
    this.#lingering.add(run);
    this.#parts.onDeadline(run.leaksAt);
  }

  /** The handler does not return: its slot is wanted. */
  #leak(run: Run, now: number): void {
    this.#lingering.delete(run);
    if (!run.isEnded) this.#endAborted(run, run.abortReason ?? CANCELLED);
    if (run.isReturned || !run.hasSlot) return;
    run.hasSlot = false;
    this.slots.give();
    const afterMs = now - run.startedAt;
    for (const attempt of run.attempts) {
      this.#parts.hub.emit('handler.leaked', { job: attempt.ref, afterMs });
    }
  }

  #giveBack(rows: readonly ClaimedRow[]): void {
    for (const row of rows) {
      this.#endAttempt(new Attempt(row, this.name, this.#leaseId), RELEASED);
    }
  }
}

const CANCELLED = new HowdahError('HOWDAH_JOB_CANCELLED', 'Somebody asked to cancel the job.');
const EXPIRED: Decision = { settlement: { verb: 'expire', reason: 'waiting TTL' } };
const RELEASED: Decision = { settlement: { verb: 'release' } };
