import { refuse } from './refuse.js';
import type { HandleKind } from './tx-handle.js';

interface KnexLike {
  raw(sql: string, bindings: readonly string[]): PromiseLike<{ rows: unknown[] }>;
  readonly isTransaction?: boolean;
  isCompleted?(): boolean;
}

/** A Knex transaction. */
export const knexRunner: HandleKind = (handle) => {
  const knex = handle as KnexLike & { readonly transaction?: unknown };
  if (typeof knex.raw !== 'function' || knex.transaction === undefined) return undefined;
  if (!knex.isTransaction) {
    throw refuse(
      'a Knex instance runs each statement on another connection, outside a transaction',
      'Pass the transaction: knex.transaction(async (trx) => ...).',
    );
  }
  if (knex.isCompleted?.()) throw refuse('the Knex transaction is over', 'Enqueue before it ends.');
  return async (sql, text) => (await knex.raw(toQuestionMark(sql), [text])).rows;
};

/** Knex knows its parameters by `?`, and our statements have no other. */
function toQuestionMark(sql: string): string {
  return sql.replace('$1', '?');
}
