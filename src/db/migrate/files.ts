import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { HowdahError } from '../../core/errors.js';

/** One file of `migrations/`, with the schema name filled in. */
export interface MigrationFile {
  /** File name without extension: `0001_queues`. */
  readonly name: string;
  readonly version: number;
  readonly path: string;
  readonly up: string;
  readonly down: string;
}

/**
 * The package's own migrations; the path is the same seen from `src/db` and from `dist/db`. In a bundle they are
 * not there. @throws HowdahError HOWDAH_MIGRATION_FAILED
 */
export function migrationsDir(): string {
  const here = import.meta.url as string | undefined; // none in a bundle for CommonJS
  const dir = here && fileURLToPath(new URL('../../../migrations/', here));
  if (dir && existsSync(dir)) return dir;
  throw new HowdahError(
    'HOWDAH_MIGRATION_FAILED',
    'The migration files are not beside this code.',
    {
      details: { dir },
      remedy:
        'It was bundled: keep howdah external, run `howdah migrate`, or give the option dir, a copy of its folder migrations.',
    },
  );
}

/**
 * Settings of every function (`{{settings}}`). Plans must not depend on statistics: a table that was
 * empty at ANALYZE and holds ten million rows now is still claimed by index.
 */
const FUNCTION_SETTINGS = [
  'set search_path = {{schema}}, pg_temp',
  'set plan_cache_mode = force_generic_plan',
  'set enable_seqscan = off',
  'set enable_hashjoin = off',
  'set enable_mergejoin = off',
  'set enable_bitmapscan = off',
  'set jit = off',
].join(' ');

/** Further settings (`{{plain}}`) of functions that read times given as text: ISO 8601, UTC where no zone is named. */
const PLAIN_TIMES = `set datestyle = 'ISO, MDY' set timezone = 'UTC'`;

/**
 * Behind each migration, so that also one that was cut short leaves nothing that everybody may call: who may is a
 * matter of grants.
 */
const REVOKE = 'revoke execute on all functions in schema {{schema}} from public;';

const FILE_NAME = /^(\d{4})_[a-z0-9_]+\.sql$/;
const PARTS = /^-- Up Migration\s*$([\s\S]*?)^-- Down Migration\s*$([\s\S]*)/m;

/** All migrations in order, rendered for a schema. @throws HowdahError HOWDAH_MIGRATION_FAILED */
export async function readMigrations(dir: string, schema: string): Promise<MigrationFile[]> {
  const names = (await readdir(dir)).filter((each) => FILE_NAME.test(each)).sort();
  return Promise.all(names.map((each) => readMigration(path.join(dir, each), schema)));
}

async function readMigration(file: string, schema: string): Promise<MigrationFile> {
  const name = path.basename(file, '.sql');
  const [, up, down] = PARTS.exec(render(await readFile(file, 'utf8'), schema)) ?? [];
  if (up === undefined || down === undefined) {
    throw new HowdahError('HOWDAH_MIGRATION_FAILED', `Migration ${name} lacks its markers.`, {
      remedy: 'It needs the lines `-- Up Migration` and `-- Down Migration`.',
    });
  }
  return {
    name,
    version: Number(name.slice(0, 4)),
    path: file,
    up: `${up.trim()}\n\n${render(REVOKE, schema)}`,
    down: down.trim(),
  };
}

function render(text: string, schema: string): string {
  return text
    .replaceAll('{{settings}}', FUNCTION_SETTINGS)
    .replaceAll('{{plain}}', PLAIN_TIMES)
    .replaceAll('{{schema}}', `"${schema}"`);
}
