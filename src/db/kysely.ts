import type { Kysely, PostgresPool } from 'kysely';
import type { Database } from './database.js';
import type { Tables } from './tables.js';

/**
 * A Kysely query builder over the views of the schema, with the types of their columns, on the pool of a
 * {@link Database}. Kysely is loaded at the first call, so that nobody else pays for it.
 */
export async function viewsOf(database: Database): Promise<Kysely<Tables>> {
  const { Kysely, PostgresDialect } = await import('kysely');
  // the pool stays its owner's: destroying the builder would close it, so nobody does
  const dialect = new PostgresDialect({ pool: database.lender as unknown as PostgresPool });
  return new Kysely<Tables>({ dialect }).withSchema(database.schema);
}
