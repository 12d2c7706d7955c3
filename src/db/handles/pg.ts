import { HowdahError } from '../../core/errors.js';
import { sqlstateOf } from '../errors/pg-error.js';
import { prepare, type Statement } from '../executor.js';
import { refuse, refuseAborted } from './refuse.js';
import type { HandleKind, HandleRow, PgClientHandle } from './tx-handle.js';

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
  return (sql, text) =>
    keepsStatements.has(client) ? runPrepared(client, sql, text) : runOnce(client, sql, text);
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

/**
 * Clients whose server process is the one they connected to: no pooler stands between that might send
 * the next transaction elsewhere, so a statement can be prepared once. Saves a quarter of its cost.
 */
const keepsStatements = new WeakSet<object>();
const forgetsStatements = new WeakSet<object>();
const prepared = new Map<string, Statement>();

async function runOnce(
  client: PgClientHandle,
  sql: string,
  text: string,
): Promise<readonly unknown[]> {
  const { rows } = await client.query(sql, [text]);
  const { processID } = client as { processID?: unknown };
  // a statement may return the process that ran it; a transaction pooler makes up the other number
  const pid = (rows[0] as HandleRow | undefined)?.pid;
  if (typeof pid === 'number' && pid === processID && !forgetsStatements.has(client)) {
    keepsStatements.add(client);
  }
  return rows;
}

async function runPrepared(
  client: PgClientHandle,
  sql: string,
  text: string,
): Promise<readonly unknown[]> {
  // the driver also takes all of it as one object
  const query = client.query as unknown as (config: object) => ReturnType<PgClientHandle['query']>;
  try {
    return (await query.call(client, { ...statementOf(sql), values: [text] })).rows;
  } catch (error) {
    if (sqlstateOf(error) !== '26000') throw error;
    // somebody has run DISCARD ALL or DEALLOCATE on it
    keepsStatements.delete(client);
    forgetsStatements.add(client);
    throw new HowdahError(
      'HOWDAH_TRANSACTION_CONFLICT',
      'The connection has forgotten a prepared statement, which aborted the transaction.',
      { cause: error, remedy: 'Run the whole transaction again: it will do without.' },
    );
  }
}

/** There are only as many as there are statements in the code and schemas in the process. */
function statementOf(sql: string): Statement {
  let statement = prepared.get(sql);
  if (!statement) {
    statement = prepare('tx', sql);
    prepared.set(sql, statement);
  }
  return statement;
}
