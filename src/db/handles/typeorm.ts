import { refuse } from './refuse.js';
import type { HandleKind } from './tx-handle.js';

interface QueryRunnerLike {
  query(sql: string, params: readonly string[]): Promise<readonly unknown[]>;
  readonly isTransactionActive: boolean;
}

interface TypeOrmLike extends Partial<QueryRunnerLike> {
  /** Of an entity manager in a transaction only. */
  readonly queryRunner?: QueryRunnerLike;
  readonly connection?: { readonly driver?: unknown };
  readonly driver?: unknown;
}

/** A TypeORM entity manager or query runner in a transaction. Its root objects look like `pg`. */
export const typeOrmRunner: HandleKind = (handle) => {
  const object = handle as TypeOrmLike;
  const isTypeOrm = object.connection?.driver !== undefined || object.driver !== undefined;
  if (!isTypeOrm || typeof object.query !== 'function') return undefined;
  const runner = 'isTransactionActive' in object ? (object as QueryRunnerLike) : object.queryRunner;
  if (!runner?.isTransactionActive) {
    throw refuse(
      'TypeORM has no transaction open on it',
      'Pass the manager of the transaction: dataSource.transaction(async (manager) => ...).',
    );
  }
  return (sql, text) => runner.query(sql, [text]);
};
