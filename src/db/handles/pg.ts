import { refuse, refuseAborted } from './refuse.js';
import type { HandleKind, PgClientHandle } from './tx-handle.js';

const REMEDY =
  "Pass the client: const client = await pool.connect(); await client.query('BEGIN'); ...";

/** A client of `pg`: `pg.Client` or `pg.PoolClient`, of any version. */
export const pgRunner: HandleKind = (handle) => {
  if (typeof (handle as Partial<PgClientHandle>).query !== 'function') return undefined;
  if ('totalCount' in handle || 'idleCount' in handle) {
    throw refuse('a pool runs each statement on another connection, outside a transaction', REMEDY);
  }
  const client = handle as PgClientHandle;
  assertInTransaction(client);
  return async (sql, text) => (await client.query(sql, [text])).rows;
};

/** The driver learns the status from the server's last answer; older drivers cannot tell. */
function assertInTransaction(client: PgClientHandle): void {
  if (typeof client.getTransactionStatus !== 'function') return;
  switch (client.getTransactionStatus()) {
    case 'T':
      return;
    case 'E':
      throw refuseAborted();
    default:
      throw refuse(
        'the client is not in a transaction',
        "Run await client.query('BEGIN') first, or leave `tx` out.",
      );
  }
}
