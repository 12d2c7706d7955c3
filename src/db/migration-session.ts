import { systemClock } from '../core/clock.js';
import { parseDuration } from '../core/duration.js';
import { HowdahError } from '../core/errors.js';
import { type Connection, connectionConfig, connectToPrimary } from './connection.js';
import { Hosts } from './hosts.js';
import { type DatabaseOptions, resolveDatabaseOptions } from './options.js';
import { toHowdahError } from './pg-error.js';

/** How to reach the database for a migration. */
export interface MigrationSessionOptions
  extends Pick<
    DatabaseOptions,
    'url' | 'directUrl' | 'schema' | 'applicationName' | 'connectTimeout'
  > {
  /** How long to wait for another process that migrates: up to 24 h, default 2 minutes. */
  readonly lockTimeout?: DatabaseOptions['statementTimeout'];
}

/** Between two looks at the lock. */
const POLL_MS = 100;

/** DDL that waits for a lock holds up everybody behind it: give up after this. */
const DDL_LOCK_TIMEOUT_MS = 30_000;

/** Runs on a connection of its own: to the primary, and not through a transaction pooler. */
export async function withMigrationSession<T>(
  options: MigrationSessionOptions,
  run: (connection: Connection) => Promise<T>,
): Promise<T> {
  const { directUrl, schema, applicationName, connectTimeoutMs } = resolveDatabaseOptions(options);
  const hosts = new Hosts(directUrl);
  const config = connectionConfig(`${applicationName} migrate`, connectTimeoutMs);
  const connection = await connectToPrimary(config, hosts, schema);
  try {
    return await run(connection);
  } catch (error) {
    throw toHowdahError(error, schema);
  } finally {
    await connection.end().catch(() => connection.destroy());
  }
}

/**
 * Holds the advisory lock of the schema while `run` runs. Polled, because a session that waits inside
 * PostgreSQL holds a snapshot, which CREATE INDEX CONCURRENTLY of the lock's holder would wait for.
 */
export async function withMigrationLock<T>(
  connection: Connection,
  schema: string,
  options: MigrationSessionOptions,
  run: () => Promise<T>,
): Promise<T> {
  await assertDirect(connection);
  const waitMs = parseDuration(options.lockTimeout ?? '2m', 'lockTimeout', { max: 86_400_000 });
  const deadline = systemClock.monotonic() + waitMs;
  while (!(await tryLock(connection, schema))) {
    if (systemClock.monotonic() >= deadline) throw locked(schema);
    await systemClock.sleep(POLL_MS);
  }
  await connection.query(`set lock_timeout = ${DDL_LOCK_TIMEOUT_MS}`);
  // The lock goes with the connection.
  return run();
}

async function tryLock(connection: Connection, schema: string): Promise<boolean> {
  const { rows } = await connection.query<{ is_held: boolean }>(
    `select pg_try_advisory_lock(hashtext('howdah migrate'), hashtext($1)) as is_held`,
    [schema],
  );
  return rows[0]?.is_held === true;
}

/** Through a transaction pooler the lock would exclude nobody. */
async function assertDirect(connection: Connection): Promise<void> {
  if ((await connection.identify()).isPooled) {
    throw new HowdahError('HOWDAH_OPTION_INVALID', 'The URL leads through a transaction pooler.', {
      details: { option: 'directUrl' },
      remedy: 'Give the option directUrl, a URL of the server itself.',
    });
  }
}

function locked(schema: string): HowdahError {
  return new HowdahError(
    'HOWDAH_MIGRATION_LOCKED',
    `Another process is migrating schema ${schema}.`,
    { details: { schema }, remedy: 'Wait for it, or raise lockTimeout.' },
  );
}
