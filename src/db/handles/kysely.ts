import { refuse } from './refuse.js';
import type { HandleKind } from './tx-handle.js';

interface KyselyLike {
  executeQuery(query: object): Promise<{ rows: unknown[] }>;
  readonly isTransaction: boolean;
  /** Of a controlled transaction only. */
  readonly isCommitted?: boolean;
  readonly isRolledBack?: boolean;
}

/** A Kysely transaction, controlled or not. */
export const kyselyRunner: HandleKind = (handle) => {
  if (typeof (handle as Partial<KyselyLike>).executeQuery !== 'function') return undefined;
  if (!('isTransaction' in handle)) return undefined;
  const kysely = handle as KyselyLike;
  if (!kysely.isTransaction) {
    throw refuse(
      'a Kysely instance runs each statement on another connection, outside a transaction',
      'Pass the transaction: db.transaction().execute(async (trx) => ...).',
    );
  }
  if (kysely.isCommitted || kysely.isRolledBack) {
    throw refuse(
      `the Kysely transaction has been ${kysely.isCommitted ? 'committed' : 'rolled back'}`,
      'Enqueue before it ends.',
    );
  }
  return async (sql, text) => (await kysely.executeQuery(compiled(sql, text))).rows;
};

/** What `CompiledQuery.raw` makes, without importing Kysely. */
function compiled(sql: string, text: string): object {
  return {
    sql,
    parameters: [text],
    query: { kind: 'RawNode', sqlFragments: [sql], parameters: [] },
    queryId: { queryId: 'howdah' },
  };
}
