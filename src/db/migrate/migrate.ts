import type { MigrationBuilder } from 'node-pg-migrate';
import { HowdahError } from '../../core/errors.js';
import { givenOptions, type KnownKeys } from '../../core/option.js';
import type { Connection } from '../connect/connection.js';
import { toHowdahError } from '../errors/pg-error.js';
import { checkSchema } from '../options.js';
import { type MigrationFile, migrationsDir, readMigrations } from './files.js';
import {
  checkTarget,
  type MigrateOptions,
  type MigrateResult,
  type MigrationSessionOptions,
  type MigrationStatus,
  planMigration,
  statusOf,
} from './plan.js';
import { assertWhole, mend } from './restored-schema.js';
import { distrustScript } from './schema-trust.js';
import { assertTrusted, RECORD_TABLE, withMigrationLock, withMigrationSession } from './session.js';

/** The first version that has all that mend() looks at. */
const MENDS_FROM = 38;

export type { MigrateOptions, MigrateResult, MigrationStatus } from './plan.js';

const STATUS: KnownKeys<MigrationSessionOptions & Pick<MigrateOptions, 'dir'>> = {
  url: true,
  directUrl: true,
  schema: true,
  applicationName: true,
  connectTimeout: true,
  lockTimeout: true,
  dir: true,
};
const MIGRATE: KnownKeys<MigrateOptions> = {
  ...STATUS,
  to: true,
  direction: true,
  dryRun: true,
  log: true,
};

/**
 * Brings the schema to a version, all in one transaction. Any number of processes may call it at
 * once: one works, the others wait and find nothing left to do.
 * @throws HowdahError HOWDAH_SCHEMA_NEWER, HOWDAH_SCHEMA_UNSAFE, HOWDAH_MIGRATION_LOCKED,
 *   HOWDAH_MIGRATION_FAILED, HOWDAH_PERMISSION_DENIED
 */
export async function migrate(options: MigrateOptions = {}): Promise<MigrateResult> {
  givenOptions('options', options, MIGRATE);
  const schema = checkSchema(options.schema);
  const files = await readMigrations(options.dir ?? migrationsDir(), schema);
  checkTarget(options.to, files);
  const plan = async (connection: Connection): Promise<MigrateResult> =>
    planMigration(await readRecorded(connection, schema), schema, files, options);
  return withMigrationSession(options, async (connection) => {
    if (options.dryRun) {
      await assertTrusted(connection, schema);
      return plan(connection);
    }
    return withMigrationLock(connection, schema, options, async () => {
      const planned = await plan(connection);
      if (planned.applied.length > 0) await run(connection, schema, files, options, planned);
      if (planned.version >= MENDS_FROM) {
        for (const mended of await mend(connection, schema)) options.log?.(`mended ${mended}`);
      }
      return planned;
    });
  });
}

/** Compares a database with this version of the code, and changes nothing. */
export async function migrationStatus(
  options: MigrationSessionOptions & Pick<MigrateOptions, 'dir'> = {},
): Promise<MigrationStatus> {
  givenOptions('options', options, STATUS);
  const schema = checkSchema(options.schema);
  const files = await readMigrations(options.dir ?? migrationsDir(), schema);
  return withMigrationSession(options, async (connection) =>
    statusOf(await readRecorded(connection, schema), files),
  );
}

/**
 * The migrations as SQL text for `psql`, recorded in the same way as {@link migrate} does.
 * @param options.from version the schema is at, default 0; `to`: default the newest
 */
export async function printMigrations(
  options: Pick<MigrateOptions, 'schema' | 'to' | 'dir'> & { readonly from?: number } = {},
): Promise<string> {
  givenOptions('options', options, { schema: true, to: true, dir: true, from: true });
  const schema = checkSchema(options.schema);
  const files = await readMigrations(options.dir ?? migrationsDir(), schema);
  checkTarget(options.to, files);
  const { from = 0, to = Number.POSITIVE_INFINITY } = options;
  const wanted = files.filter(({ version }) => version > from && version <= to);
  const table = `"${schema}".${RECORD_TABLE}`;
  const head = [
    'begin;',
    'set local search_path to pg_catalog;',
    `create schema if not exists "${schema}";`,
    distrustScript(schema),
    `set local search_path to "${schema}";`,
    `create table if not exists ${table}`,
    '  (id serial primary key, name varchar(255) not null, run_on timestamp not null);',
  ];
  const body = wanted.flatMap(({ name, up }) => [
    `\n-- ${name}\n`,
    up,
    `\ninsert into ${table} (name, run_on) values ('${name}', now());`,
  ]);
  return `${[...head, ...body, '\ncommit;'].join('\n')}\n`;
}

async function run(
  connection: Connection,
  schema: string,
  files: readonly MigrationFile[],
  options: MigrateOptions,
  planned: MigrateResult,
): Promise<void> {
  let current = '';
  const silent = (): void => undefined;
  try {
    // Loaded late: who only enqueues has no use for it.
    const { runner } = await import('node-pg-migrate');
    await runner({
      dbClient: connection,
      dir: options.dir ?? migrationsDir(),
      ignorePattern: '(?!\\d{4}_.*\\.sql$).*',
      direction: planned.direction,
      count: planned.applied.length,
      schema,
      migrationsTable: RECORD_TABLE,
      singleTransaction: true,
      checkOrder: true,
      noLock: true,
      migrationLoaderStrategies: [
        {
          extensions: ['.sql'],
          loader: async (paths) =>
            paths.map((each) =>
              unitOf(each, files, (name) => {
                current = name;
              }),
            ),
        },
      ],
      logger: { debug: silent, info: silent, warn: silent, error: silent },
    });
  } catch (error) {
    throw failed(error, schema, current);
  }
  for (const name of planned.applied) options.log?.(name);
}

/** What node-pg-migrate runs for one file. */
function unitOf(file: string, files: readonly MigrationFile[], onRun: (name: string) => void) {
  const migration = files.find((each) => file.endsWith(`${each.name}.sql`));
  if (!migration) throw new Error(`${file} appeared while migrating`);
  const step =
    (sql: string) =>
    (builder: MigrationBuilder): void => {
      onRun(migration.name);
      builder.sql(sql);
    };
  return {
    id: file,
    filePaths: [file],
    actions: { up: step(migration.up), down: step(migration.down) },
  };
}

async function readRecorded(connection: Connection, schema: string): Promise<string[]> {
  const table = `"${schema}".${RECORD_TABLE}`;
  // a view, or a policy of rows, could run a function of somebody else
  const found = await connection.query(
    `select from pg_class where oid = to_regclass($1) and relkind = 'r' and not relrowsecurity`,
    [table],
  );
  if (found.rowCount === 0) return [];
  const { rows } = await connection.query<{ name: string }>(
    `select name from ${table} order by name`,
  );
  const recorded = rows.map(({ name }) => name);
  await assertWhole(connection, schema, recorded);
  return recorded;
}

/** Trouble with the connection or with rights keeps its code; anything else is a bad migration. */
function failed(error: unknown, schema: string, name: string): HowdahError {
  const mapped = toHowdahError(error, schema);
  const { code, details } = mapped;
  if (code === 'HOWDAH_DATABASE_UNAVAILABLE') return mapped;
  if (code === 'HOWDAH_PERMISSION_DENIED') return mapped;
  const what = name ? `Migration ${name}` : 'The migration';
  return new HowdahError('HOWDAH_MIGRATION_FAILED', `${what} failed: ${mapped.message}`, {
    cause: error,
    details: { ...details, migration: name },
    remedy: 'Nothing was changed.',
  });
}
