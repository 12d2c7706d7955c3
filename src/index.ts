export type { Duration } from './core/duration.js';
export {
  ERROR_CODES,
  type ErrorCodeEntry,
  HowdahError,
  type HowdahErrorCode,
  type HowdahErrorOptions,
} from './core/errors.js';
export { Database } from './db/database.js';
export type { Executor, Session, Statement } from './db/executor.js';
export {
  type MigrateOptions,
  type MigrateResult,
  type MigrationStatus,
  migrate,
  migrationStatus,
  printMigrations,
} from './db/migrate.js';
export type { DatabaseOptions } from './db/options.js';
export type { PoolClientLike, PoolLike } from './db/pool-like.js';
