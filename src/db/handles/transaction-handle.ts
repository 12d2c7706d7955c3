import { describeValue } from '../../core/describe-value.js';
import { drizzleRunner } from './drizzle.js';
import { functionRunner } from './function.js';
import { errorInTransaction } from './handle-error.js';
import { knexRunner } from './knex.js';
import { kyselyRunner } from './kysely.js';
import { pgRunner } from './pg.js';
import { postgresJsRunner } from './postgres-js.js';
import { refuse, refuseRows } from './refuse.js';
import type { HandleKind, HandleRow, TransactionRunner, TxHandle } from './tx-handle.js';
import { typeOrmRunner } from './typeorm.js';

export type { TransactionRunner, TxHandle } from './tx-handle.js';

/** The order matters: handles of Knex and postgres.js are functions, TypeORM's look like `pg`. */
const KINDS: readonly HandleKind[] = [
  kyselyRunner,
  knexRunner,
  postgresJsRunner,
  functionRunner,
  drizzleRunner,
  typeOrmRunner,
  pgRunner,
];

const REMEDY =
  'Pass a pg client after BEGIN, a transaction of Kysely, Drizzle, Knex, TypeORM or postgres.js, or a function (sql, params) => rows.';

/**
 * Finds out what kind of handle it is and whether a transaction is open on it, as far as the driver
 * tells, without a round trip.
 * @param schema the schema whose absence means HOWDAH_SCHEMA_MISSING
 * @throws HowdahError HOWDAH_TRANSACTION_INVALID saying what to pass instead
 */
export function transactionRunner(handle: TxHandle, schema: string): TransactionRunner {
  if ((typeof handle !== 'object' && typeof handle !== 'function') || handle === null) {
    throw refuse(`${describeValue(handle)} is no transaction`, REMEDY);
  }
  for (const kind of KINDS) {
    const run = kind(handle);
    if (run) return (sql, text) => checked(run, schema, sql, text);
  }
  throw refuse('it is of no known kind', REMEDY);
}

async function checked(
  run: (sql: string, text: string) => PromiseLike<readonly unknown[]>,
  schema: string,
  sql: string,
  text: string,
): Promise<readonly HandleRow[]> {
  let rows: readonly unknown[];
  try {
    rows = await run(sql, text);
  } catch (error) {
    throw errorInTransaction(error, schema);
  }
  if (Array.isArray(rows) && rows.every((row) => typeof row === 'object' && row !== null)) {
    return rows as HandleRow[];
  }
  throw refuseRows();
}
