import { sqlstateOf } from '../errors/pg-error.js';

/** Begins a transaction of ours: with an older snapshot nobody sees what a lease has claimed meanwhile. */
export const BEGIN = 'begin isolation level READ COMMITTED';

/** What statements run in when nobody begins a transaction, unless the server, database, role or session says otherwise. */
export const ISOLATION = 'read committed';

/** Asks what they run in here. */
export const DEFAULT_ISOLATION = `select current_setting('default_transaction_isolation') as isolation`;

/**
 * Whether a statement that stood alone failed, without any effect, in a way that a raised
 * `default_transaction_isolation` explains.
 */
export function isIsolationFailure(error: unknown): boolean {
  const sqlstate = sqlstateOf(error);
  return sqlstate === '25001' || sqlstate === '40001';
}
