/**
 * A caller's open transaction:
 * - a client of `pg` after BEGIN (`pg.Client`, `pg.PoolClient`),
 * - a Kysely transaction: the `trx` of `db.transaction().execute(async (trx) => ...)`,
 * - a Drizzle transaction on `pg` or postgres.js: the `tx` of `db.transaction(async (tx) => ...)`,
 * - a Knex transaction: the `trx` of `knex.transaction(async (trx) => ...)`,
 * - a TypeORM transaction: the `manager` of `dataSource.transaction(async (manager) => ...)`, or a query
 *   runner,
 * - a transaction of postgres.js: the `sql` of `sql.begin(async (sql) => ...)`,
 * - a function that runs one statement with one text parameter in any other driver's transaction and
 *   returns its rows as objects: `(sql, params) => rows`. It is believed to be in a transaction.
 */
export type TxHandle =
  | PgClientHandle
  | KyselyHandle
  | DrizzleHandle
  | KnexHandle
  | TypeOrmHandle
  | PostgresJsHandle
  | TxFunction;

/** What is used of a client of `pg`. A pool is not one: it has no transaction of its own. */
export interface PgClientHandle {
  query(text: string, values: string[]): Promise<{ rows: unknown[] }>;
  getTransactionStatus?(): unknown;
  readonly totalCount?: never;
}

/** What is used of a Kysely transaction. */
export interface KyselyHandle {
  executeQuery(query: never): Promise<{ rows: unknown[] }>;
  readonly isTransaction: true;
}

/** What is used of a Drizzle transaction. */
export interface DrizzleHandle {
  execute(query: never): PromiseLike<unknown>;
  rollback(): never;
}

/** What is used of a Knex transaction. */
export interface KnexHandle {
  raw(sql: string, bindings: never): PromiseLike<unknown>;
  isCompleted(): boolean;
}

/** What is used of a TypeORM entity manager or query runner. */
export interface TypeOrmHandle {
  query(sql: string, params?: string[]): Promise<unknown>;
  readonly connection: { readonly driver: object };
}

/** What is used of a transaction of postgres.js. */
export interface PostgresJsHandle {
  unsafe(sql: string, params?: never): PromiseLike<readonly unknown[]>;
  savepoint(run: never): Promise<unknown>;
}

/** Runs one statement with one text parameter in a transaction. */
export type TxFunction = (sql: string, params: [string]) => PromiseLike<readonly unknown[]>;

/** A row as an object, its columns by name. */
export type HandleRow = Readonly<Record<string, unknown>>;

/** Runs one statement with one text parameter in the caller's transaction. */
export type TransactionRunner = (sql: string, text: string) => Promise<readonly HandleRow[]>;

/** From a handle to its runner, or undefined when the handle is of another kind. */
export type HandleKind = (
  handle: object,
) => ((sql: string, text: string) => PromiseLike<readonly unknown[]>) | undefined;
