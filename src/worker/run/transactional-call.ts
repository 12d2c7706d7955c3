import type { Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import type { Job } from '../../core/job/job.js';
import type { LentTransaction } from '../../db/tx/lent-transaction.js';
import type { Binding, TransactionalHandler } from '../handler/binding.js';
import { type JobContext, TransactionalRunContext } from '../handler/job-context.js';
import type { Attempt } from '../settle/attempt.js';
import { COMPLETE, type Decision, decideReturned, decideThrown } from '../settle/decide.js';
import type { Reporter } from '../settle/reporter.js';
import { storedResult } from '../settle/settle-encoding.js';
import { type Call, type EndAttempt, factsOf } from './call.js';
import { type JobMaker, jobMakerOf } from './job-maker.js';
import type { Run } from './run.js';

/** Where the transactions of handlers come from. */
export interface Transactions {
  /** Lends one; commits it when `run` resolves, else rolls it back. */
  lend<T>(run: (tx: LentTransaction) => Promise<T>): Promise<T>;
  /** Completes the job of a run in it. @param result as it is stored @throws HowdahError HOWDAH_SETTLE_STALE */
  complete(run: Run, tx: LentTransaction, result: string | undefined): Promise<void>;
}

/**
 * One job a call, in a transaction of ours: begin, handler, complete (fenced), commit. Any other end than
 * success rolls it back first and is settled outside, as for any handler. Nothing is run again here.
 */
export class TransactionalCall implements Call {
  readonly #handler: TransactionalHandler;
  readonly #makeJob: JobMaker;
  readonly #transactions: Transactions;
  readonly #reporter: Reporter;
  readonly #codecs: Codecs | undefined;

  constructor(
    binding: Binding,
    transactions: Transactions,
    reporter: Reporter,
    codecs: Codecs | undefined,
  ) {
    this.#handler = binding.handler as TransactionalHandler;
    this.#makeJob = jobMakerOf(binding, codecs);
    this.#transactions = transactions;
    this.#reporter = reporter;
    this.#codecs = codecs;
  }

  async invoke(run: Run, context: JobContext): Promise<unknown> {
    const [attempt] = run.attempts;
    if (!attempt?.row) return undefined;
    const job = await this.#makeJob(attempt.row, attempt);
    try {
      return await this.#transactions.lend((tx) => this.#run(run, attempt, job, context, tx));
    } catch (error) {
      if (error instanceof RolledBack) return error.value;
      throw error;
    }
  }

  returned(run: Run, value: unknown, end: EndAttempt): void {
    for (const attempt of run.attempts) {
      attempt.isCommitted = value instanceof Committed;
      if (value instanceof Committed) end(attempt, value.decision);
      else end(attempt, decideReturned(value, factsOf(run, attempt)));
    }
  }

  thrown(run: Run, thrown: unknown, end: EndAttempt): void {
    for (const attempt of run.attempts) end(attempt, decideThrown(thrown, factsOf(run, attempt)));
  }

  async #run(
    run: Run,
    attempt: Attempt,
    job: Job,
    context: JobContext,
    tx: LentTransaction,
  ): Promise<Committed> {
    const value = await this.#handler(job, new TransactionalRunContext(context, tx));
    const decision = decideReturned(value, factsOf(run, attempt));
    if (decision.settlement.verb !== 'complete') throw new RolledBack(value);
    const { result } = decision.settlement;
    const stored = result === undefined ? undefined : storedResult(attempt, result, this.#codecs);
    // once this has committed nothing more can be said
    if (attempt.isReporting) await this.#reporter.flush([attempt]);
    // from here on its row is locked, or gone, whatever else ends the attempt meanwhile
    attempt.isCompletedIn = true;
    try {
      await this.#transactions.complete(run, tx, stored?.text);
    } catch (error) {
      if (isStale(error)) attempt.isCompletedIn = false;
      throw error;
    }
    return new Committed(stored?.problem ?? decision.problem);
  }
}

/** The transaction was committed, and the job completed with it. */
class Committed {
  readonly decision: Decision;

  /** @param problem why the result was replaced by a placeholder */
  constructor(problem: string | undefined) {
    this.decision = problem === undefined ? DONE : { ...DONE, problem };
  }
}

const DONE: Decision = Object.freeze({ settlement: COMPLETE });

/** Carries what the handler returned out of the transaction that is rolled back. */
class RolledBack {
  readonly value: unknown;

  constructor(value: unknown) {
    this.value = value;
  }
}

function isStale(error: unknown): boolean {
  return error instanceof HowdahError && error.code === 'HOWDAH_SETTLE_STALE';
}
