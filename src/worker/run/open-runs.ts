import type { Clock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import { decideAborted } from '../settle/decide.js';
import type { EndAttempt } from './call.js';
import type { Run } from './run.js';

/** How long a handler may go on after its attempt has ended before its slot is freed. */
const LEAK_MS = 1_000;

/** The reason of runs that somebody cancelled. */
const CANCELLED = new HowdahError('HOWDAH_JOB_CANCELLED', 'Somebody asked to cancel the job.');

/** What the runs of a queue are watched with. */
interface OpenRunsParts {
  readonly queue: string;
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly endAttempt: EndAttempt;
  /** Something is due at this time. */
  readonly onDeadline: (deadline: number) => void;
  /** A run with this time-out has begun, or has ended. */
  readonly onBegin: (deadline: number) => void;
  readonly onEnd: (deadline: number) => void;
  /** The handler of a run has returned, or is left to itself: its slot is free. */
  readonly onSlot: () => void;
}

/**
 * The runs of one queue that have not ended:
 *   open       the attempts are open
 *   lingering  the handler was told to stop, or its attempts have ended: a second later its slot is free
 */
export class OpenRuns {
  readonly #parts: OpenRunsParts;
  /**
   * By how long they may take, in the order they began: so each set is in the order its runs time out. There
   * are as many sets as an operator has changed the time-out while runs were open.
   */
  readonly #byTimeout = new Map<number, Set<Run>>();
  #size = 0;
  readonly #lingering = new Set<Run>();

  constructor(parts: OpenRunsParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#size;
  }

  get jobIds(): string[] {
    return [...this.#open()].flatMap(({ attempts }) => attempts.map(({ id }) => id));
  }

  /** When the first open run times out; Infinity: never. */
  get earliestDeadline(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const runs of this.#byTimeout.values()) {
      for (const { deadline } of runs) {
        earliest = Math.min(earliest, deadline);
        break; // the others of this time-out began later
      }
    }
    return earliest;
  }

  /** When something is due next; Infinity: never. */
  get nextDeadline(): number {
    let next = this.earliestDeadline;
    for (const { leaksAt } of this.#lingering) next = Math.min(next, leaksAt);
    return next;
  }

  begin(run: Run): void {
    const runs = this.#byTimeout.get(run.timeoutMs);
    if (runs) runs.add(run);
    else this.#byTimeout.set(run.timeoutMs, new Set([run]));
    this.#size += 1;
    this.#parts.onBegin(run.deadline);
  }

  /** The attempts of the run are about to be ended. @returns how long it took */
  end(run: Run, now: number): number {
    run.isEnded = true;
    const runs = this.#byTimeout.get(run.timeoutMs);
    if (runs?.delete(run)) this.#size -= 1;
    // the set of the newest run is likely to be wanted again
    if (runs?.size === 0 && this.#byTimeout.size > 1) this.#byTimeout.delete(run.timeoutMs);
    this.#parts.onEnd(run.deadline);
    const durationMs = now - run.startedAt;
    for (const attempt of run.attempts) attempt.durationMs = durationMs;
    return durationMs;
  }

  /** The handler of the run has returned. */
  returned(run: Run): void {
    if (this.#lingering.size > 0) this.#lingering.delete(run);
    if (!run.hasSlot) return;
    run.hasSlot = false;
    this.#parts.onSlot();
  }

  /**
   * Whether the run is open and its handler answers in time. A handler that blocked the event loop may
   * answer before the timer of its time-out could run: then that is done now.
   */
  isInTime(run: Run, now: number): boolean {
    if (run.isEnded) return false;
    if (run.deadline > now) return true;
    this.#timeOut(run, now);
    return false;
  }

  /** Ends what has timed out, and frees slots whose handlers do not return. */
  expire(now: number): void {
    for (const runs of [...this.#byTimeout.values()]) {
      for (const run of runs) {
        if (run.deadline > now) break;
        this.#timeOut(run, now);
      }
    }
    for (const run of this.#lingering) {
      if (run.leaksAt <= now) this.#leave(run, now);
    }
  }

  /** Tells runs whose jobs are all cancelled; a batch goes on for the others. */
  cancel(ids: ReadonlySet<string>): void {
    const now = this.#parts.clock.monotonic();
    for (const run of this.#open()) {
      const asked = run.attempts.filter(({ id }) => ids.has(id));
      for (const attempt of asked) attempt.isCancelRequested = true;
      if (asked.length === 0 || asked.length < run.attempts.length) continue;
      run.abort(CANCELLED);
      if (!this.#lingering.has(run)) this.#linger(run, now);
    }
  }

  /** Tells every handler to stop. @returns how many jobs that concerns */
  abortAll(reason: HowdahError): number {
    let told = 0;
    for (const run of this.#open()) {
      run.abort(reason);
      told += run.attempts.length;
    }
    return told;
  }

  /** Ends every open attempt, whether its handler returns or not. */
  endAll(reason: HowdahError): void {
    const now = this.#parts.clock.monotonic();
    for (const run of this.#open()) {
      this.#endAborted(run, reason, now);
      this.#leave(run, now);
    }
  }

  /** Tells every handler to stop, and forgets its attempts: they are not ours any more. */
  forsake(reason: HowdahError): void {
    const now = this.#parts.clock.monotonic();
    for (const run of this.#open()) {
      run.abort(reason);
      this.end(run, now);
      this.#linger(run, now);
    }
  }

  /** All that are open now, whatever ends meanwhile. */
  #open(): readonly Run[] {
    return [...this.#byTimeout.values()].flatMap((runs) => [...runs]);
  }

  #timeOut(run: Run, now: number): void {
    const { queue, hub } = this.#parts;
    const { timeoutMs } = run;
    const reason = new HowdahError(
      'HOWDAH_JOB_TIMEOUT',
      `The attempt took longer than the run time-out of queue ${queue}, ${timeoutMs} ms.`,
      { details: { queue, timeoutMs } },
    );
    for (const { ref } of run.attempts) hub.emit('job.timed-out', { job: ref, timeoutMs });
    run.abort(reason);
    this.#endAborted(run, reason, now);
    this.#linger(run, now);
  }

  #endAborted(run: Run, reason: HowdahError, now: number): void {
    this.end(run, now);
    for (const attempt of run.attempts) {
      this.#parts.endAttempt(attempt, decideAborted(reason, attempt.isCancelRequested));
    }
  }

  #linger(run: Run, now: number): void {
    if (run.isReturned) return;
    run.leaksAt = now + LEAK_MS;
    this.#lingering.add(run);
    this.#parts.onDeadline(run.leaksAt);
  }

  /** The handler does not return: its slot is wanted. */
  #leave(run: Run, now: number): void {
    this.#lingering.delete(run);
    if (!run.isEnded) this.#endAborted(run, run.abortReason ?? CANCELLED, now);
    if (run.isReturned || !run.hasSlot) return;
    run.hasSlot = false;
    this.#parts.onSlot();
    const afterMs = now - run.startedAt;
    for (const { ref } of run.attempts)
      this.#parts.hub.emit('handler.leaked', { job: ref, afterMs });
  }
}
