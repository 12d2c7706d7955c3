import { Kysely, PostgresDialect, type PostgresPool } from 'kysely';
import type { PoolLike } from './connect/pool-like.js';
import type { Tables } from './tables.js';

/** The pool stays its owner's: destroying the builder would close it, so nobody does. */
export function createKysely(pool: PoolLike, schema: string): Kysely<Tables> {
  const dialect = new PostgresDialect({ pool: pool as unknown as PostgresPool });
  return new Kysely<Tables>({ dialect }).withSchema(schema);
}
