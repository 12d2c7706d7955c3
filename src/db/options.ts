import { HowdahError } from '../core/errors.js';
import type { KnownKeys } from '../core/option.js';
import { type Duration, parseDuration } from '../core/time/duration.js';
import type { PoolLike } from './connect/pool-like.js';

/** How to reach the database. */
export interface DatabaseOptions {
  /**
   * `postgres://user:password@host:5432/database`; several hosts (`h1,h2:5433`) are tried in turn.
   * Default: the environment: HOWDAH_DATABASE_URL, DATABASE_URL, or PGHOST, PGUSER, PGDATABASE and so on.
   */
  readonly url?: string | undefined;
  /** A pg.Pool of the application, used instead of a pool of our own and never closed by us. */
  readonly pool?: PoolLike | undefined;
  /** URL that bypasses a transaction pooler, for the connections that LISTEN. Default: `url`. */
  readonly directUrl?: string | undefined;
  /** Default `howdah`. Lower-case letters, digits and `_`, at most 48 characters. */
  readonly schema?: string | undefined;
  /** First word of `application_name` on the server. Default `howdah`. */
  readonly applicationName?: string | undefined;
  /** Connections of our own pool: 1 to 1000, default 10. */
  readonly connectionsMax?: number | undefined;
  /** How long a statement may take, seen from here: 1 ms to 24 h, default 30 s. */
  readonly statementTimeout?: Duration | undefined;
  /** How long connecting, or waiting for a free connection, may take: 1 ms to 1 h, default 10 s. */
  readonly connectTimeout?: Duration | undefined;
}

/** Every key of {@link DatabaseOptions}, for what is made with them and others. */
export const DATABASE_OPTIONS: KnownKeys<DatabaseOptions> = {
  url: true,
  pool: true,
  directUrl: true,
  schema: true,
  applicationName: true,
  connectionsMax: true,
  statementTimeout: true,
  connectTimeout: true,
};

/** Options with every default filled in and every bound checked. */
export interface DatabaseSettings {
  readonly url: string | undefined;
  readonly directUrl: string | undefined;
  readonly schema: string;
  readonly applicationName: string;
  readonly connectionsMax: number;
  readonly statementTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

const SCHEMA_PATTERN = /^[a-z_][a-z0-9_]{0,47}$/;

/** @throws HowdahError HOWDAH_OPTION_INVALID naming the option */
export function resolveDatabaseOptions(options: DatabaseOptions): DatabaseSettings {
  if (options.pool && options.url !== undefined) {
    throw invalid('pool', 'cannot be combined with url.', 'Give one of the two.');
  }
  const { connectionsMax = 10 } = options;
  if (!Number.isInteger(connectionsMax) || connectionsMax < 1 || connectionsMax > 1000) {
    throw invalid('connectionsMax', 'is not an integer from 1 to 1000.', 'The default is 10.');
  }
  const url = options.url ?? (options.pool ? undefined : urlOfEnvironment());
  return {
    url,
    directUrl: options.directUrl ?? url,
    schema: checkSchema(options.schema),
    applicationName: options.applicationName ?? 'howdah',
    connectionsMax,
    statementTimeoutMs: parseDuration(options.statementTimeout ?? '30s', 'statementTimeout', {
      min: 1,
      max: 86_400_000,
    }),
    connectTimeoutMs: parseDuration(options.connectTimeout ?? '10s', 'connectTimeout', {
      min: 1,
      max: 3_600_000,
    }),
  };
}

/** As the command line has it. Undefined: `pg` reads PGHOST and so on. */
function urlOfEnvironment(): string | undefined {
  const { HOWDAH_DATABASE_URL, DATABASE_URL } = process.env;
  return HOWDAH_DATABASE_URL || DATABASE_URL || undefined;
}

/** The schema name, default `howdah`. @throws HowdahError HOWDAH_OPTION_INVALID */
export function checkSchema(schema = 'howdah'): string {
  if (typeof schema === 'string' && SCHEMA_PATTERN.test(schema) && !schema.startsWith('pg_')) {
    return schema;
  }
  throw invalid(
    'schema',
    'is not a usable schema name.',
    'Use 1 to 48 lower-case letters, digits and `_`, not beginning with a digit or `pg_`.',
  );
}

function invalid(option: string, problem: string, remedy: string): HowdahError {
  return new HowdahError('HOWDAH_OPTION_INVALID', `Option ${option} ${problem}`, {
    details: { option },
    remedy,
  });
}
