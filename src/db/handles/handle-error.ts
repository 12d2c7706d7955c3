import { HowdahError, type HowdahErrorCode } from '../../core/errors.js';
import { sqlstateOf, toHowdahError } from '../errors/pg-error.js';
import { refuseAborted } from './refuse.js';

/** Where drivers and query builders keep the error of the server. */
const INNER = ['cause', 'driverError', 'original', 'originalError'] as const;
const DEPTH_MAX = 5;

/** Errors about the transaction as such: the caller's own retry logic must see them untouched. */
const CALLERS: ReadonlySet<HowdahErrorCode> = new Set<HowdahErrorCode>([
  'HOWDAH_DATABASE_ERROR',
  'HOWDAH_DATABASE_UNAVAILABLE',
  'HOWDAH_TIMEOUT',
  'HOWDAH_TRANSACTION_CONFLICT',
]);

/**
 * What a caller sees of an error in their own transaction: ours as HowdahError; a deadlock, a
 * serialization failure, a lost connection as their driver threw it.
 */
export function errorInTransaction(error: unknown, schema: string): unknown {
  if (error instanceof HowdahError) return error;
  const server = findServerError(error);
  if (server === undefined) return error;
  if (sqlstateOf(server) === '25P02') return refuseAborted();
  const mapped = toHowdahError(server, schema);
  return CALLERS.has(mapped.code) ? error : mapped;
}

function findServerError(error: unknown): unknown {
  const queue: unknown[] = [error];
  for (let i = 0; i < queue.length && i < DEPTH_MAX; i++) {
    const candidate = queue[i];
    if (sqlstateOf(candidate) !== undefined) return candidate;
    if (typeof candidate !== 'object' || candidate === null) continue;
    for (const key of INNER) {
      const inner = (candidate as Record<string, unknown>)[key];
      if (inner !== undefined) queue.push(inner);
    }
  }
  return undefined;
}
