import { createHash, randomBytes } from 'node:crypto';
import { systemClock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import { givenOptions, type KnownKeys } from '../../core/option.js';
import { type Connection, connectionConfig, connectToPrimary } from '../connect/connection.js';
import { Hosts } from '../connect/hosts.js';
import { Database } from '../database.js';
import { sqlstateOf, toHowdahError } from '../errors/pg-error.js';
import { migrate, printMigrations } from '../migrate/migrate.js';
import { checkSchema, resolveDatabaseOptions } from '../options.js';
import { permitMoves } from './test-clock.js';

/** Comment of every database made here: nothing else is ever dropped. */
const MARK = 'howdah: made for tests';
/** How often a template is tried that somebody is connected to, and the pause between. */
const BUSY_TRIES_MAX = 200;
const BUSY_PAUSE_MS = 50;
const PG_15 = 150_000;

/** How a test database is made. */
export interface TestDatabaseOptions {
  /** `postgres://...` of a role that may create databases; its own database is left alone. */
  readonly url: string;
  /** As for the client. Default `howdah`. */
  readonly schema?: string;
  /** Adds tables of your own to the template, once. Close every connection that you open. */
  readonly prepare?: (url: string) => Promise<void>;
  /** Another text, another template: name a version of what `prepare` does. Needed with it. */
  readonly prepareVersion?: string;
}

const OPTIONS: KnownKeys<TestDatabaseOptions> = {
  url: true,
  schema: true,
  prepare: true,
  prepareVersion: true,
};

/** The database of a test, or of a file of tests. */
export interface TestDatabase {
  readonly url: string;
  readonly name: string;
  /** Drops it, whoever is connected. */
  drop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Clones a migrated template database, which is made at the first call for a server and kept. Many
 * processes may call it at once.
 * @throws HowdahError HOWDAH_OPTION_INVALID, HOWDAH_PERMISSION_DENIED, HOWDAH_DATABASE_UNAVAILABLE, ...
 */
export async function createTestDatabase(options: TestDatabaseOptions): Promise<TestDatabase> {
  checkOptions(options);
  const schema = checkSchema(options.schema);
  const name = `howdah_test_${process.pid}_${randomBytes(5).toString('hex')}`;
  await asAdmin(options.url, schema, async (admin) => {
    const template = await ensureTemplate(admin, options, schema);
    await clone(admin, template, name);
    await admin.query(`comment on database ${name} is '${MARK}'`);
  });
  const drop = (): Promise<void> =>
    asAdmin(options.url, schema, async (admin) => {
      await admin.query(`drop database if exists ${name} with (force)`);
    });
  return { url: withDatabase(options.url, name), name, drop, [Symbol.asyncDispose]: drop };
}

/**
 * Drops every test database and template of a server, those of runs that crashed too.
 * @returns their names
 */
export async function dropTestDatabases(options: { readonly url: string }): Promise<string[]> {
  checkUrl(options?.url);
  return asAdmin(options.url, 'howdah', async (admin) => {
    const { rows } = await admin.query<{ name: string }>(
      `select datname as name from pg_database
      where shobj_description(oid, 'pg_database') = $1 and starts_with(datname, 'howdah_') order by 1`,
      [MARK],
    );
    for (const { name } of rows) await dropTemplate(admin, name);
    return rows.map(({ name }) => name);
  });
}

function checkOptions(options: TestDatabaseOptions): void {
  givenOptions('options', options, OPTIONS);
  checkUrl(options?.url);
  const { prepare, prepareVersion } = options;
  if (prepare === undefined || (typeof prepare === 'function' && prepareVersion)) return;
  throw new HowdahError('HOWDAH_OPTION_INVALID', 'Option prepare needs prepareVersion.', {
    details: { option: 'prepareVersion' },
    remedy: 'Give a text that changes whenever prepare does, for instance of its migrations.',
  });
}

function checkUrl(url: unknown): void {
  if (typeof url === 'string' && /^postgres(ql)?:\/\/[^,]+$/.test(url)) return;
  throw new HowdahError('HOWDAH_OPTION_INVALID', 'Option url is not the URL of one server.', {
    details: { option: 'url' },
    remedy: 'Write postgres://user@host:5432/database.',
  });
}

/** @returns the name of the template */
async function ensureTemplate(
  admin: Connection,
  options: TestDatabaseOptions,
  schema: string,
): Promise<string> {
  const { url, prepare, prepareVersion = '' } = options;
  const content = `${await printMigrations({ schema })}\n${prepareVersion}`;
  const digest = createHash('sha256').update(content).digest('hex').slice(0, 16);
  const name = `howdah_template_${digest}`;
  const lock = `hashtext('howdah template'), hashtext('${name}')`;
  await admin.query(`select pg_advisory_lock(${lock})`);
  try {
    const { rows } = await admin.query<{ is_ready: boolean }>(
      'select datistemplate as is_ready from pg_database where datname = $1',
      [name],
    );
    if (rows[0]?.is_ready) return name;
    if (rows[0]) await dropTemplate(admin, name); // half made by a process that died
    await admin.query(`create database ${name} template template0`);
    await admin.query(`comment on database ${name} is '${MARK}'`);
    await fill(withDatabase(url, name), schema, prepare);
    await admin.query(`alter database ${name} with is_template true`);
    return name;
  } finally {
    await admin.query(`select pg_advisory_unlock(${lock})`);
  }
}

async function fill(
  url: string,
  schema: string,
  prepare: TestDatabaseOptions['prepare'],
): Promise<void> {
  await migrate({ url, schema });
  const database = new Database({ url, schema });
  try {
    await permitMoves(database);
  } finally {
    await database.close();
  }
  await prepare?.(url);
}

async function clone(admin: Connection, template: string, name: string): Promise<void> {
  const { rows } = await admin.query<{ version: number }>(
    `select current_setting('server_version_num')::integer as version`,
  );
  // copies of files are quicker for small databases; PostgreSQL 14 knows no other way
  const strategy = (rows[0]?.version ?? 0) >= PG_15 ? ' strategy file_copy' : '';
  for (let tries = 1; ; tries++) {
    try {
      await admin.query(`create database ${name} template ${template}${strategy}`);
      return;
    } catch (error) {
      // somebody is connected to the template: another clone, for a moment, or what prepare left open
      if (sqlstateOf(error) !== '55006') throw error;
      if (tries >= BUSY_TRIES_MAX) throw busy(template, error);
      await systemClock.sleep(BUSY_PAUSE_MS);
    }
  }
}

function busy(template: string, cause: unknown): HowdahError {
  return new HowdahError('HOWDAH_TIMEOUT', `Template ${template} is connected to all the time.`, {
    cause,
    details: { template },
    remedy: 'Close every connection that `prepare` opens.',
  });
}

async function dropTemplate(admin: Connection, name: string): Promise<void> {
  await admin.query(`alter database ${name} with is_template false`);
  await admin.query(`drop database ${name} with (force)`);
}

async function asAdmin<T>(
  url: string,
  schema: string,
  run: (admin: Connection) => Promise<T>,
): Promise<T> {
  const { applicationName, connectTimeoutMs } = resolveDatabaseOptions({ url });
  const config = connectionConfig(`${applicationName} test`, connectTimeoutMs);
  const admin = await connectToPrimary(config, new Hosts(url), schema);
  try {
    return await run(admin);
  } catch (error) {
    throw toHowdahError(error, schema);
  } finally {
    await admin.end().catch(() => admin.destroy());
  }
}

/** The same server, another database. */
function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}
