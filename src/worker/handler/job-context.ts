import type { Json } from '../../core/json.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';
import type { JobTransaction } from '../../db/tx/lent-transaction.js';
import type { Logger } from '../../telemetry/logger.js';

/** What a handler can do beside its job. */
export interface JobContext {
  /**
   * Aborts when the attempt is to end: its time-out passed (reason HOWDAH_JOB_TIMEOUT), somebody
   * cancelled the job (HOWDAH_JOB_CANCELLED), the worker shuts down (HOWDAH_SHUTDOWN) or has lost
   * its lease (HOWDAH_LEASE_LOST). A handler that stops early because of it should throw, for
   * instance by `signal.throwIfAborted()`.
   */
  readonly signal: AbortSignal;
  /**
   * Writes with the job's id, queue and attempt beside each message. Lines from `info` upwards are kept with the
   * job, too: the last 500, at most 256 KiB, each message at most 4096 characters. For a batch they are not kept.
   */
  readonly log: Logger;
  /**
   * Says how far the job is: any JSON value of at most 4 KiB, for whoever watches it. Call it as often as you
   * like: all jobs of the worker together are written a few times a second, the last value always before the
   * job has ended. For a batch it is the progress of each of its jobs. After the attempt has ended it is ignored,
   * and reported as `job.report-ignored`.
   * @throws HowdahError HOWDAH_PAYLOAD_INVALID (no JSON), HOWDAH_REPORT_INVALID (too large)
   */
  readonly progress: (value: Json) => void;
  /**
   * Completes the job in a transaction of the handler's own: its writes and the completion are
   * committed together, or neither is. Commit before the handler returns. For a batch: all its jobs,
   * with the same result.
   * @param tx an open transaction: a `pg` client, a Kysely transaction or another supported handle
   * @throws HowdahError HOWDAH_SETTLE_STALE when the job is no longer this attempt's (let the
   *   transaction fail then), HOWDAH_TRANSACTION_INVALID, HOWDAH_PAYLOAD_INVALID for the result,
   *   HOWDAH_SETTLE_INVALID where that has more than 1 MiB
   */
  completeIn(tx: TxHandle, result?: Json): Promise<void>;
}

/** What the handler of `work(queue, handler, { transactional: true })` can do beside its job. */
export interface TransactionalContext extends Omit<JobContext, 'completeIn'> {
  /**
   * The open transaction in which the job is completed when the handler returns a result or nothing. What
   * is written by it is committed together with that, or not at all. It is rolled back when the handler
   * throws, returns an outcome such as `snooze('5m')`, or the job is no longer this attempt's.
   */
  readonly tx: JobTransaction;
}

/** What a context draws on. */
export interface ContextSource {
  readonly signal: AbortSignal;
  readonly log: Logger;
  progress(value: Json): void;
  completeIn(tx: TxHandle, result?: Json): Promise<void>;
}

/** The context as handlers get it: nothing but what the interface names. */
export class RunContext implements JobContext {
  readonly #source: ContextSource;

  constructor(source: ContextSource) {
    this.#source = source;
  }

  get signal(): AbortSignal {
    return this.#source.signal;
  }

  get log(): Logger {
    return this.#source.log;
  }

  /** A function of its own, so that handlers may take it out of the context. */
  get progress(): (value: Json) => void {
    return (value) => this.#source.progress(value);
  }

  completeIn(tx: TxHandle, result?: Json): Promise<void> {
    return this.#source.completeIn(tx, result);
  }
}

/** The same with a transaction. */
export class TransactionalRunContext implements TransactionalContext {
  readonly tx: JobTransaction;
  readonly #context: JobContext;

  constructor(context: JobContext, tx: JobTransaction) {
    this.#context = context;
    this.tx = tx;
  }

  get signal(): AbortSignal {
    return this.#context.signal;
  }

  get log(): Logger {
    return this.#context.log;
  }

  get progress(): (value: Json) => void {
    return this.#context.progress;
  }
}
