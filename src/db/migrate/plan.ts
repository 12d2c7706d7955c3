import { HowdahError } from '../../core/errors.js';
import type { DatabaseOptions } from '../options.js';
import type { MigrationFile } from './files.js';

/** How to reach the database for a migration. */
export interface MigrationSessionOptions
  extends Pick<
    DatabaseOptions,
    'url' | 'directUrl' | 'schema' | 'applicationName' | 'connectTimeout'
  > {
  /** How long to wait for another process that migrates: up to 24 h, default 2 minutes. */
  readonly lockTimeout?: DatabaseOptions['statementTimeout'];
}

/** What to migrate, and how far. */
export interface MigrateOptions extends MigrationSessionOptions {
  /** Version to end at, up or down; 0 removes everything. Default: the newest. */
  readonly to?: number;
  /** `'down'` without `to` undoes the newest migration. Default `'up'`. */
  readonly direction?: 'up' | 'down';
  /** Only say what would run; the database is not changed. */
  readonly dryRun?: boolean;
  /** Told the name of each migration that ran. */
  readonly log?: (name: string) => void;
  /** Folder of the migration files. Default: the package's own. */
  readonly dir?: string;
}

/** What a migration did. */
export interface MigrateResult {
  readonly direction: 'up' | 'down';
  /** Names of the migrations that ran (or would run), in that order. */
  readonly applied: string[];
  /** Version of the schema now; after a dry run, the version it would have. */
  readonly version: number;
}

/** How a database and this version of the code compare. */
export interface MigrationStatus {
  /** Version of the schema; 0: not installed. */
  readonly version: number;
  /** The newest version this code knows. */
  readonly latest: number;
  readonly applied: string[];
  readonly pending: string[];
  /** Recorded in the database but not known here: the database is newer. */
  readonly unknown: string[];
}

export function statusOf(recorded: string[], files: readonly MigrationFile[]): MigrationStatus {
  const known = new Set(files.map(({ name }) => name));
  const pending = files.filter(({ name }) => !recorded.includes(name));
  return {
    version: Math.max(0, ...recorded.map((name) => Number(name.slice(0, 4)))),
    latest: files.at(-1)?.version ?? 0,
    applied: recorded,
    pending: pending.map(({ name }) => name),
    unknown: recorded.filter((name) => !known.has(name)),
  };
}

/** What is to run. @throws HowdahError HOWDAH_SCHEMA_NEWER */
export function planMigration(
  recorded: string[],
  schema: string,
  files: readonly MigrationFile[],
  options: MigrateOptions,
): MigrateResult {
  const status = statusOf(recorded, files);
  if (status.unknown.length > 0) throw newer(schema, status);
  const { version, latest, applied } = status;
  const isStepDown = options.to === undefined && options.direction === 'down';
  const previous = files.filter((file) => file.version < version).at(-1)?.version ?? 0;
  const to = options.to ?? (isStepDown ? previous : latest);
  const wanted =
    to >= version
      ? files.filter((file) => file.version <= to && !applied.includes(file.name))
      : files.filter((file) => file.version > to && applied.includes(file.name)).reverse();
  return {
    direction: to >= version ? 'up' : 'down',
    applied: wanted.map(({ name }) => name),
    version: to,
  };
}

/** @throws HowdahError HOWDAH_OPTION_INVALID when there is no such version */
export function checkTarget(to: number | undefined, files: readonly MigrationFile[]): void {
  if (to === undefined || to === 0 || files.some(({ version }) => version === to)) return;
  throw new HowdahError('HOWDAH_OPTION_INVALID', `Option to: there is no version ${to}.`, {
    details: { option: 'to', value: to },
    remedy: `Versions go from 0 (nothing) to ${files.at(-1)?.version ?? 0}.`,
  });
}

function newer(schema: string, { version, latest, unknown }: MigrationStatus): HowdahError {
  return new HowdahError(
    'HOWDAH_SCHEMA_NEWER',
    `Schema ${schema} holds migrations this Howdah does not know: ${unknown.join(', ')}.`,
    { details: { schema, version, expected: latest }, remedy: 'Upgrade the package.' },
  );
}
