import { refuse } from './refuse.js';
import type { HandleKind } from './tx-handle.js';

interface PostgresJsLike {
  unsafe(sql: string, params: readonly string[]): PromiseLike<readonly unknown[]>;
  /** Of a transaction only. */
  savepoint?: unknown;
}

/** A transaction of postgres.js. */
export const postgresJsRunner: HandleKind = (handle) => {
  if (typeof (handle as Partial<PostgresJsLike>).unsafe !== 'function') return undefined;
  const sql = handle as PostgresJsLike;
  if (typeof sql.savepoint !== 'function') {
    throw refuse(
      'this `sql` of postgres.js runs each statement outside a transaction',
      'Pass the one of the transaction: sql.begin(async (sql) => ...).',
    );
  }
  // a plain array: theirs carries more than rows
  return async (text, param) => [...(await sql.unsafe(text, [param]))];
};
