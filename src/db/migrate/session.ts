import { systemClock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import { parseDuration } from '../../core/time/duration.js';
import {
  type Connection,
  connectAgain,
  connectionConfig,
  connectToPrimary,
} from '../connect/connection.js';
import { Hosts } from '../connect/hosts.js';
import { PINNED } from '../connect/pinned.js';
import { sqlstateOf, toHowdahError } from '../errors/pg-error.js';
import { resolveDatabaseOptions } from '../options.js';
import type { MigrationSessionOptions } from './plan.js';
import { distrustSql, unsafe } from './schema-trust.js';

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
  const connection = await connectAgain(async () => {
    const made = await connectToPrimary(config, hosts, schema);
    try {
      // Names of the catalog mean the catalog's, whatever the role or the database have been set to; migrations
      // create functions and read what is recorded in a session as they were written for.
      await made.query('set search_path = pg_catalog');
      await made.pin([...PINNED, ['statement_timeout', '0']]);
      await made.query(`set lock_timeout = ${DDL_LOCK_TIMEOUT_MS}`);
      return made;
    } catch (error) {
      made.destroy();
      throw toHowdahError(error, schema);
    }
  });
  try {
    return await run(connection);
  } catch (error) {
    throw toHowdahError(error, schema);
  } finally {
    await connection.end().catch(() => connection.destroy());
  }
}

/** The table in which node-pg-migrate records what it has run; its lock lets one migrate at a time. */
export const RECORD_TABLE = 'migration';

/**
 * Runs `run` in a transaction that nobody else can migrate beside: what is locked is ours alone, so that no other
 * role can be in the way. Where the schema is not there yet, making it is the lock. Polled, because a session that
 * waits inside PostgreSQL may hold a snapshot, which CREATE INDEX CONCURRENTLY would wait for.
 * @param run commits; what it leaves open is rolled back
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
  try {
    await connection.query(`set local lock_timeout = ${DDL_LOCK_TIMEOUT_MS}`);
    return await run();
  } finally {
    // of nothing, where it has committed
    await connection.query('rollback').catch(() => undefined);
  }
}

/** A lock is held by somebody, or who held it has made what we wanted to make. */
const IN_THE_WAY = new Set(['55P03', '23505', '42P06', '42P07', '40P01']);

async function tryLock(connection: Connection, schema: string): Promise<boolean> {
  try {
    await connection.query(
      `begin isolation level read committed; set local lock_timeout = ${POLL_MS}`,
    );
    await createSchemaIfMissing(connection, schema);
    await assertTrusted(connection, schema);
    const table = `"${schema}".${RECORD_TABLE}`;
    const found = await connection.query('select to_regclass($1) is not null as is_there', [table]);
    if (!(found.rows[0] as { is_there: boolean }).is_there) {
      await connection.query(
        `create table ${table} (id serial primary key, name varchar(255) not null, run_on timestamp not null)`,
      );
    }
    await connection.query(`lock table ${table} in share row exclusive mode nowait`);
    return true;
  } catch (error) {
    await connection.query('rollback').catch(() => undefined);
    if (IN_THE_WAY.has(sqlstateOf(error) ?? '')) return false;
    throw error;
  }
}

/** CREATE SCHEMA IF NOT EXISTS wants the right to create even where the schema exists. */
async function createSchemaIfMissing(connection: Connection, schema: string): Promise<void> {
  const found = await connection.query('select from pg_namespace where nspname = $1', [schema]);
  if (found.rowCount !== 0) return;
  try {
    await connection.query(`create schema "${schema}"`);
  } catch (error) {
    if (sqlstateOf(error) !== '42501') throw error;
    const { code, message, details } = toHowdahError(error, schema);
    throw new HowdahError(code, message, {
      cause: error,
      details,
      remedy: `Grant CREATE on the database, or create schema ${schema} for this role.`,
    });
  }
}

/** @throws HowdahError HOWDAH_SCHEMA_UNSAFE */
export async function assertTrusted(connection: Connection, schema: string): Promise<void> {
  const { rows } = await connection.query<{ problem: string }>(distrustSql(schema, 'current_user'));
  if (rows[0]) throw unsafe(schema, rows[0].problem);
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
