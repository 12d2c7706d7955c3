import type { AnyQueue } from '../../core/queue/queue.js';
import {
  type EnqueueCalls,
  type Enqueued,
  type EnqueueReport,
  type JobsText,
  outcomeOf,
  readReport,
} from '../../db/calls/enqueue.js';
import type { PoolLike } from '../../db/connect/pool-like.js';
import type { Declarations } from '../../db/declarations.js';
import { transactionRunner } from '../../db/handles/transaction-handle.js';
import type { TransactionRunner, TxHandle } from '../../db/handles/tx-handle.js';

/** What a {@link CallerTransaction} is made with, the same for all of a client. */
export interface CallerTransactionContext {
  readonly schema: string;
  readonly calls: EnqueueCalls;
  readonly declarations: Declarations;
  /** The application's pool, where the client was given one. */
  readonly pool: PoolLike | undefined;
}

/** Enqueues in a transaction of the caller. It never commits or rolls back. */
export class CallerTransaction {
  readonly #run: TransactionRunner;
  readonly #context: CallerTransactionContext;

  /** @throws HowdahError HOWDAH_TRANSACTION_INVALID */
  constructor(handle: TxHandle, context: CallerTransactionContext) {
    this.#run = transactionRunner(handle, context.schema);
    this.#context = context;
  }

  /**
   * Enqueues one job. The transaction stays usable where it is refused.
   */
  async one(job: string): Promise<Enqueued> {
    const outcome = outcomeOf(await this.report(job), 0);
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  /** Good jobs are enqueued, bad ones reported; the transaction stays usable either way. */
  async report(jobs: JobsText): Promise<EnqueueReport> {
    return readReport(await this.#run(this.#context.calls.reportText, jobs.toString()));
  }

  /** All or none; the error of a bad job aborts the transaction. */
  async all(jobs: JobsText): Promise<EnqueueReport> {
    return readReport(await this.#run(this.#context.calls.allText, jobs.toString()));
  }

  /** Runs any other statement of ours, with one text parameter. */
  run(sql: string, text: string): ReturnType<TransactionRunner> {
    return this.#run(sql, text);
  }

  /**
   * Declares the queue on a connection of the client's, so that a rollback does not undo it.
   * Where the client shares the application's pool and every connection of it is taken, perhaps by
   * transactions that wait for this very declaration, it is declared in the transaction instead.
   * @returns nothing where that is done
   */
  declare(target: AnyQueue | string): Promise<void> | undefined {
    const definition = typeof target === 'string' ? undefined : target;
    const { declarations, pool } = this.#context;
    if (declarations.has(definition)) return undefined;
    if (!isExhausted(pool)) return declarations.ensure(definition);
    return definition && declarations.declareBy(this.#run, definition);
  }
}

/** Whether a pg.Pool would have to wait for a connection. Other pools do not tell. */
function isExhausted(pool: PoolLike | undefined): boolean {
  if (!pool) return false;
  const { totalCount, idleCount, options } = pool as {
    totalCount?: number;
    idleCount?: number;
    options?: { max?: number };
  };
  if (totalCount === undefined || idleCount === undefined) return false;
  return idleCount === 0 && totalCount >= (options?.max ?? 10);
}
