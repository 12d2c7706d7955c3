import type { HowdahError } from '../../core/errors.js';
import type { Json } from '../../core/json.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';
import { type LogFields, type Logger, type LogLevel, withFields } from '../../telemetry/logger.js';
import { type ContextSource, type JobContext, RunContext } from '../handler/job-context.js';
import type { Attempt } from '../settle/attempt.js';

/** What a run needs of the queue it belongs to. */
export interface RunHost {
  readonly logger: Logger;
  /** Prepares the jobs and calls the handler; may throw, may return a promise. */
  invoke(run: Run, context: JobContext): unknown;
  /** The handler has returned `value`. */
  onReturned(run: Run, value: unknown): void;
  /** The handler, or what prepared its jobs, has thrown. */
  onThrown(run: Run, thrown: unknown): void;
  completeIn(run: Run, tx: TxHandle, result: Json | undefined): Promise<void>;
  /** The handler says how far it is. */
  onProgress(run: Run, value: Json): void;
  /** Keeps lines with the job; undefined: they are not kept. */
  readonly keepLine:
    | ((attempt: Attempt, level: LogLevel, message: string, fields?: LogFields) => void)
    | undefined;
}

/**
 * One call of a handler, for one job or a batch. Three things end at their own time:
 *   its attempts   when the handler settles, or before: by time-out, cancel, shutdown, lost lease
 *   its handler    when it returns or throws; perhaps never
 *   its slot       with the handler, or a grace after its attempts have ended
 */
export class Run implements ContextSource {
  attempts: readonly Attempt[];
  readonly startedAt: number;
  /** How long it may take; Infinity without a time-out. */
  readonly timeoutMs: number;
  /** When the time-out passes, in monotonic milliseconds; Infinity without one. */
  readonly deadline: number;
  /** The outcome of its attempts is decided. */
  isEnded = false;
  /** The handler has returned or thrown. */
  isReturned = false;
  /** It occupies a slot. */
  hasSlot = true;
  /** When its slot is freed although the handler still runs; Infinity while the attempts are open. */
  leaksAt = Number.POSITIVE_INFINITY;
  abortReason: HowdahError | undefined;
  readonly #host: RunHost;
  #controller: AbortController | undefined;
  #log: Logger | undefined;

  constructor(host: RunHost, attempts: readonly Attempt[], startedAt: number, timeoutMs: number) {
    this.#host = host;
    this.attempts = attempts;
    this.startedAt = startedAt;
    this.timeoutMs = timeoutMs;
    this.deadline = startedAt + timeoutMs;
  }

  /** Calls the handler. Handlers that do not return a promise have ended when this returns. */
  start(): void {
    let returned: unknown;
    try {
      returned = this.#host.invoke(this, new RunContext(this));
      if (isThenable(returned)) {
        returned.then(
          (value) => this.#return(value),
          (thrown) => this.#throw(thrown),
        );
        return;
      }
    } catch (thrown) {
      this.#throw(thrown);
      return;
    }
    this.#return(returned);
  }

  /** It ends before its handler is called. */
  fail(thrown: unknown): void {
    this.#throw(thrown);
  }

  /** Tells the handler to stop, once. */
  abort(reason: HowdahError): void {
    if (this.abortReason) return;
    this.abortReason = reason;
    this.#controller?.abort(reason);
  }

  /** Whether the handler has looked at its signal. */
  get isSignalUsed(): boolean {
    return this.#controller !== undefined;
  }

  /** Made when it is first asked for: most handlers never do. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.abortReason) this.#controller.abort(this.abortReason);
    }
    return this.#controller.signal;
  }

  get log(): Logger {
    const [attempt] = this.attempts;
    if (this.#log) return this.#log;
    const { logger, keepLine } = this.#host;
    if (this.attempts.length !== 1 || !attempt) {
      this.#log = withFields(logger, { queue: attempt?.queue, jobs: this.attempts.length });
      return this.#log;
    }
    const { id: jobId, queue, number } = attempt;
    const keep = keepLine && ((...line: KeptLine) => keepLine(attempt, ...line));
    this.#log = withFields(logger, { jobId, queue, attempt: number }, keep);
    return this.#log;
  }

  progress(value: Json): void {
    this.#host.onProgress(this, value);
  }

  completeIn(tx: TxHandle, result?: Json): Promise<void> {
    return this.#host.completeIn(this, tx, result);
  }

  #return(value: unknown): void {
    if (this.isReturned) return;
    this.isReturned = true;
    this.#host.onReturned(this, value);
  }

  #throw(thrown: unknown): void {
    if (this.isReturned) return;
    this.isReturned = true;
    this.#host.onThrown(this, thrown);
  }
}

type KeptLine = [level: LogLevel, message: string, fields?: LogFields];

function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value instanceof Promise) return true;
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Partial<PromiseLike<unknown>>).then === 'function'
  );
}
