import type pg from 'pg';
import { HowdahError } from '../core/errors.js';
import { type ConnectContext, openSession } from './connect/connect.js';
import type { ConnectOptions } from './connect/connect-options.js';
import { Hosts } from './connect/hosts.js';
import { DEFAULT_ISOLATION, ISOLATION, isIsolationFailure } from './connect/isolation.js';
import { createPool, type OwnPool } from './connect/pool.js';
import { giveBack, isPoolTimeout, PoolGate, tooLate } from './connect/pool-gate.js';
import type { Checkout, PoolClientLike, PoolLike } from './connect/pool-like.js';
import { isConnectionUnusable, isTermination, toHowdahError } from './errors/pg-error.js';
import { type Executor, prepare, type Session, type Statement } from './executor.js';
import { type DatabaseOptions, type DatabaseSettings, resolveDatabaseOptions } from './options.js';
import { StatementNames } from './query.js';
import type { LentTransaction } from './tx/lent-transaction.js';
import { lendTransaction, runTransaction, type TransactionContext } from './tx/transaction.js';
import { checkVersion } from './version.js';

/** The way to one installation: a pool for short statements, and connections of their own. */
export class Database implements Executor {
  /** Name of the schema. */
  readonly schema: string;
  readonly settings: DatabaseSettings;
  readonly #names = new StatementNames();
  readonly #hosts: Hosts;
  readonly #context: ConnectContext;
  readonly #ownPool: OwnPool | undefined;
  readonly #pool: PoolLike;
  /** Statements that stand alone would run in another isolation than read committed: see {@link ISOLATION}. */
  #isIsolationRaised = false;
  /** The way to a pool that was handed in. */
  readonly #gate: PoolGate | undefined;
  #closing: Promise<void> | undefined;

  /** Opens nothing yet. @throws HowdahError HOWDAH_OPTION_INVALID */
  constructor(options: DatabaseOptions = {}) {
    this.settings = resolveDatabaseOptions(options);
    this.schema = this.settings.schema;
    this.#hosts = new Hosts(this.settings.url);
    const { directUrl, url } = this.settings;
    this.#context = {
      settings: this.settings,
      names: this.#names,
      hosts: directUrl === url ? this.#hosts : new Hosts(directUrl),
      base: directUrl === undefined ? configOf(options.pool) : {},
    };
    this.#ownPool = options.pool ? undefined : createPool(this.settings, this.#hosts);
    this.#pool = options.pool ?? (this.#ownPool as OwnPool);
    this.#gate = options.pool && new PoolGate(options.pool, this.settings.connectTimeoutMs);
  }

  /** Most connections of the pool, as far as it says so. */
  get connectionsMax(): number {
    if (this.#ownPool) return this.settings.connectionsMax;
    const { max } = (this.#pool.options ?? {}) as { max?: unknown };
    return typeof max === 'number' && max >= 1 ? max : 10;
  }

  /** `{{schema}}` in the text becomes the quoted schema name. */
  sql(text: string): string {
    return text.replaceAll('{{schema}}', `"${this.schema}"`);
  }

  /** A statement prepared once per connection; `{{schema}}` is replaced. Make it once, not per call. */
  statement(name: string, text: string, rowMode?: 'array'): Statement {
    return prepare(name, this.sql(text), rowMode);
  }

  /**
   * Runs one statement on a connection of the pool. An error whose details say `isSent` came after
   * the statement had left: it may have taken effect, unless they say `isUndone`, too.
   */
  query<R extends object>(statement: Statement, values: readonly unknown[] = []): Promise<R[]> {
    if (this.#isIsolationRaised) return this.transaction((tx) => tx.query<R>(statement, values));
    return this.#use((checkout) => this.#query<R>(checkout, statement, values)).catch((error) =>
      this.#queryIsolated<R>(error, statement, values),
    );
  }

  /** See {@link runTransaction}: COMMIT is checked; `run` runs again after 40001 and 40P01. */
  transaction<T>(run: (tx: Executor) => Promise<T>): Promise<T> {
    return runTransaction(this.#transactionContext, run);
  }

  /** A transaction for a handler's own statements; see {@link lendTransaction}. */
  lend<T>(run: (tx: LentTransaction) => Promise<T>): Promise<T> {
    return lendTransaction(this.#transactionContext, run);
  }

  /**
   * Opens a connection of its own, shown on the server as `howdah <purpose>`.
   * @throws HowdahError HOWDAH_DATABASE_UNAVAILABLE, HOWDAH_DATABASE_READ_ONLY
   */
  async connect(purpose: string, options: ConnectOptions = {}): Promise<Session> {
    this.#assertOpen();
    return openSession(this.#context, purpose, options);
  }

  /** Connections of its pool, for libraries that take them from one; see `viewsOf`. */
  get lender(): PoolLike {
    return { connect: () => this.#lendClient() } as PoolLike;
  }

  /** @throws HowdahError HOWDAH_SCHEMA_MISSING, HOWDAH_SCHEMA_OLDER, HOWDAH_SCHEMA_NEWER */
  async assertVersion(): Promise<void> {
    const text = this.sql('select {{schema}}.schema_version() as version');
    const [row] = await this.query<{ version: number }>({ text });
    checkVersion(row?.version ?? 0, this.schema);
  }

  /** Whether the server is a standby or refuses writes. */
  async isReadOnly(): Promise<boolean> {
    const [row] = await this.query<{ is_read_only: boolean }>({
      text: `select current_setting('transaction_read_only') = 'on' as is_read_only`,
    });
    return row?.is_read_only === true;
  }

  /** Closes our own pool, after the statements that run; a pool that was handed in stays open. */
  close(): Promise<void> {
    this.#gate?.close();
    this.#closing ??= this.#ownPool?.end() ?? Promise.resolve();
    return this.#closing;
  }

  get #transactionContext(): TransactionContext {
    const { schema, statementTimeoutMs } = this.settings;
    return { names: this.#names, schema, statementTimeoutMs, use: (run) => this.#use(run) };
  }

  async #query<R>(
    checkout: Checkout,
    statement: Statement,
    values: readonly unknown[],
  ): Promise<R[]> {
    const config = this.#names.config(statement, values, this.settings.statementTimeoutMs);
    const { client } = checkout;
    const { completions } = client;
    try {
      return (await client.query(config)).rows as R[];
    } catch (error) {
      if (this.#names.learn(config, error)) return this.#query(checkout, statement, values);
      checkout.isUnusable = isConnectionUnusable(error);
      // The extended protocol, which is used where there are values, commits after it has said "complete".
      const isIncomplete = completions !== undefined && completions === client.completions;
      const isUndone = isIncomplete && values.length > 0 && isTermination(error);
      throw sent(toHowdahError(error, this.schema), isUndone);
    }
  }

  /** The pool's connections are the application's, too: nothing is set on them, but a transaction is begun. */
  async #queryIsolated<R extends object>(
    error: unknown,
    statement: Statement,
    values: readonly unknown[],
  ): Promise<R[]> {
    if (!isIsolationFailure(error)) throw error;
    const [row] = await this.#use((checkout) =>
      this.#query<{ isolation: string }>(checkout, { text: DEFAULT_ISOLATION }, []),
    );
    if (row?.isolation === ISOLATION) throw error;
    this.#isIsolationRaised = true;
    return this.transaction((tx) => tx.query<R>(statement, values));
  }

  async #use<T>(run: (checkout: Checkout) => Promise<T>): Promise<T> {
    const client = await this.#acquire();
    const checkout: Checkout = { client, isUnusable: false };
    try {
      return await run(checkout);
    } finally {
      giveBack(client, checkout.isUnusable);
    }
  }

  /** A connection for the query builder, which does not care for errors between statements. */
  async #lendClient(): Promise<PoolClientLike> {
    const client = await this.#acquire();
    return {
      query: (...values: unknown[]) => Reflect.apply(client.query, client, values) as never,
      release: (isUnusable) => giveBack(client, isUnusable),
    };
  }

  async #acquire(): Promise<PoolClientLike> {
    this.#assertOpen();
    for (let tried = 1; ; tried += 1) {
      try {
        return await (this.#gate ?? this.#pool).connect();
      } catch (error) {
        if (isPoolTimeout(error)) {
          throw tooLate(this.#pool, this.settings.connectTimeoutMs, error);
        }
        if (tried >= this.#hosts.count) throw toHowdahError(error, this.schema);
      }
    }
  }

  #assertOpen(): void {
    if (this.#closing) {
      throw new HowdahError('HOWDAH_CLIENT_CLOSED', 'The database has been closed.');
    }
  }
}

/** Marks a lost connection as lost after the statement had been sent, and whether it certainly had no effect. */
function sent(error: HowdahError, isUndone: boolean): HowdahError {
  if (error.code !== 'HOWDAH_DATABASE_UNAVAILABLE' && error.code !== 'HOWDAH_TIMEOUT') return error;
  return new HowdahError(error.code, error.message, {
    cause: error.cause,
    details: { ...error.details, isSent: true, ...(isUndone && { isUndone }) },
  });
}

/** The password is a hidden property of a pool's options: a spread alone would lose it. */
function configOf(pool: PoolLike | undefined): pg.ClientConfig {
  const options = pool?.options as pg.PoolConfig | undefined;
  if (!options) return {};
  const { password } = options;
  return password === undefined ? { ...options } : { ...options, password };
}
