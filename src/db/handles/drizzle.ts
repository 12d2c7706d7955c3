import { pgRunner } from './pg.js';
import { postgresJsRunner } from './postgres-js.js';
import { refuse } from './refuse.js';
import type { HandleKind } from './tx-handle.js';

interface DrizzleLike {
  execute(query: never): PromiseLike<unknown>;
  /** Of a transaction only. */
  rollback?: unknown;
  /** What Drizzle runs its statements on: a client of `pg` or of postgres.js. */
  readonly session?: { readonly client?: object };
}

/** A Drizzle transaction on `pg` or postgres.js: the statement goes to the client underneath. */
export const drizzleRunner: HandleKind = (handle) => {
  const drizzle = handle as Partial<DrizzleLike>;
  if (typeof drizzle.execute !== 'function' || typeof drizzle.session !== 'object')
    return undefined;
  if (typeof drizzle.rollback !== 'function') {
    throw refuse(
      'a Drizzle database runs each statement on another connection, outside a transaction',
      'Pass the transaction: db.transaction(async (tx) => ...).',
    );
  }
  const client = drizzle.session.client;
  const run = client && (postgresJsRunner(client) ?? pgRunner(client));
  if (run) return run;
  throw refuse(
    'Drizzle runs on a driver that is not known here',
    'Pass a function (sql, params) => rows.',
  );
};
