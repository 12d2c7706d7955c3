import { HowdahError } from '../../core/errors.js';
import { BEGIN } from '../connect/isolation.js';
import type { Checkout, PoolClientLike } from '../connect/pool-like.js';
import { isConnectionUnusable, sqlstateOf, toHowdahError } from '../errors/pg-error.js';
import type { Executor, Statement } from '../executor.js';
import type { StatementNames } from '../query.js';
import { LentTransaction } from './lent-transaction.js';

/** Serialization failures and deadlocks are tried again this often. */
const RETRIES_MAX = 3;

/** What a transaction needs of its database. */
export interface TransactionContext {
  readonly names: StatementNames;
  readonly schema: string;
  readonly statementTimeoutMs: number;
  use<T>(run: (checkout: Checkout) => Promise<T>): Promise<T>;
}

/**
 * Runs `run` between BEGIN and COMMIT on one connection. It may run again after a serialization
 * failure or a deadlock (up to 3 times): keep other effects out of it.
 * @throws HowdahError HOWDAH_COMMIT_UNKNOWN when the reply to COMMIT was lost
 */
export async function runTransaction<T>(
  context: TransactionContext,
  run: (tx: Executor) => Promise<T>,
): Promise<T> {
  for (let retries = 0; ; retries += 1) {
    const tx = new Transaction(context);
    try {
      return await context.use((checkout) => tx.run(checkout, run, BEGIN));
    } catch (error) {
      if (retries >= RETRIES_MAX || !(tx.isStatementNameRefused || isConflict(error))) throw error;
    }
  }
}

/**
 * Lends a transaction to code that is not ours, once: it is never run again. COMMIT is checked.
 * @throws HowdahError HOWDAH_COMMIT_UNKNOWN when the reply to COMMIT was lost
 */
export function lendTransaction<T>(
  context: TransactionContext,
  run: (tx: LentTransaction) => Promise<T>,
): Promise<T> {
  const transaction = new Transaction(context);
  return context.use((checkout) =>
    transaction.run(checkout, async () => {
      // as the application's database has it: these are its statements
      const lent = new LentTransaction(checkout.client);
      try {
        return await run(lent);
      } finally {
        lent.end();
      }
    }),
  );
}

function isConflict(error: unknown): boolean {
  const sqlstate = sqlstateOf(error);
  return sqlstate === '40001' || sqlstate === '40P01';
}

class Transaction implements Executor {
  readonly #context: TransactionContext;
  #client: PoolClientLike | undefined;
  /** The connection broke: nothing was or will be committed. */
  #lost: HowdahError | undefined;
  isStatementNameRefused = false;

  constructor(context: TransactionContext) {
    this.#context = context;
  }

  async run<T>(checkout: Checkout, run: (tx: Executor) => Promise<T>, begin = 'begin'): Promise<T> {
    this.#client = checkout.client;
    try {
      await this.query({ text: begin });
      const result = await run(this);
      this.#client = undefined;
      await this.#commit(checkout);
      return result;
    } catch (error) {
      this.#client = undefined;
      await this.#rollBack(checkout);
      throw error;
    }
  }

  async query<R extends object>(
    statement: Statement,
    values: readonly unknown[] = [],
  ): Promise<R[]> {
    if (!this.#client) {
      throw new HowdahError('HOWDAH_TRANSACTION_INVALID', 'The transaction has ended.', {
        remedy: 'Await every statement before the callback returns.',
      });
    }
    const { names, statementTimeoutMs, schema } = this.#context;
    const config = names.config(statement, values, statementTimeoutMs);
    try {
      return (await this.#client.query(config)).rows as R[];
    } catch (error) {
      // The transaction is aborted by it: the whole of it runs again, without names.
      if (names.learn(config, error)) this.isStatementNameRefused = true;
      const mapped = toHowdahError(error, schema);
      if (isConnectionUnusable(error)) this.#lost ??= mapped;
      throw mapped;
    }
  }

  /** Whatever goes wrong here, the connection is not used again and the server rolls back. */
  async #rollBack(checkout: Checkout): Promise<void> {
    if (this.#lost) checkout.isUnusable = true;
    if (checkout.isUnusable) return;
    try {
      const query_timeout = this.#context.statementTimeoutMs;
      await checkout.client.query({ text: 'rollback', query_timeout });
    } catch {
      checkout.isUnusable = true;
    }
  }

  async #commit(checkout: Checkout): Promise<void> {
    if (this.#lost) throw this.#lost;
    const { statementTimeoutMs, schema } = this.#context;
    let command: string | undefined;
    try {
      const config = { text: 'commit', query_timeout: statementTimeoutMs };
      ({ command } = await checkout.client.query(config));
    } catch (error) {
      if (!isConnectionUnusable(error)) throw toHowdahError(error, schema);
      checkout.isUnusable = true;
      throw new HowdahError('HOWDAH_COMMIT_UNKNOWN', 'The reply to COMMIT was lost.', {
        cause: error,
        remedy: 'Look whether its effects are there before trying again.',
      });
    }
    // PostgreSQL answers COMMIT of an aborted transaction with ROLLBACK, which is no error to pg.
    if (command === 'ROLLBACK') {
      throw new HowdahError('HOWDAH_TRANSACTION_INVALID', 'The transaction was rolled back.', {
        remedy: 'A statement in it failed and its error was swallowed.',
      });
    }
  }
}
