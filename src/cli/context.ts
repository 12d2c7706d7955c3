import type { Client } from '../client/client.js';
import { HowdahError } from '../core/errors.js';
import type { Duration } from '../core/time/duration.js';
import type { Database } from '../db/database.js';
import { Output } from './output.js';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly url?: string | undefined;
  readonly schema?: string | undefined;
  readonly json: boolean;
  readonly verbose: boolean;
}

/** Which database and schema; a key that is missing follows the defaults of the library. */
export interface Connection {
  readonly url?: string | undefined;
  readonly schema?: string | undefined;
}

/** Variables that libpq reads and that say which server is meant. */
const PG_VARIABLES = ['PGHOST', 'PGHOSTADDR', 'PGPORT', 'PGDATABASE', 'PGSERVICE', 'PGUSER'];

/**
 * The database: `--url`, HOWDAH_DATABASE_URL, what a configuration file says, DATABASE_URL, and PG*,
 * the first that is given. The schema: `--schema`, HOWDAH_SCHEMA, the file.
 */
export function connectionOf(options: GlobalOptions, file: Connection = {}): Connection {
  const { HOWDAH_DATABASE_URL, DATABASE_URL, HOWDAH_SCHEMA } = process.env;
  const url = options.url || HOWDAH_DATABASE_URL || file.url || DATABASE_URL;
  const schema = options.schema || HOWDAH_SCHEMA || file.schema;
  return { ...(url ? { url } : {}), ...(schema ? { schema } : {}) };
}

/** Whether anything says which server is meant. */
export function isServerNamed({ url }: Connection): boolean {
  return url !== undefined || PG_VARIABLES.some((name) => process.env[name]);
}

/** Runs a command against the database and disconnects, whatever happens. */
export async function withClient<T>(
  options: GlobalOptions,
  run: (client: Client) => Promise<T>,
): Promise<T> {
  const connection = connectionOf(options);
  const { createClient } = await import('../client/client.js');
  const client = createClient({ ...connection, connectionsMax: 4 });
  try {
    return await run(client);
  } catch (error) {
    throw explained(error, connection);
  } finally {
    await client.close();
  }
}

/** The same with a plain connection, for what the client has no call for. */
export async function withDatabase<T>(
  options: GlobalOptions,
  run: (database: Database) => Promise<T>,
): Promise<T> {
  const connection = connectionOf(options);
  const { Database: Opened } = await import('../db/database.js');
  const database = new Opened({ ...connection, connectionsMax: 2 });
  try {
    return await run(database);
  } catch (error) {
    throw explained(error, connection);
  } finally {
    await database.close();
  }
}

/** Who named no database gets told how. */
export function explained(error: unknown, connection: Connection): unknown {
  const isUnnamed =
    error instanceof HowdahError &&
    error.code === 'HOWDAH_DATABASE_UNAVAILABLE' &&
    !isServerNamed(connection);
  if (!isUnnamed) return error;
  return new HowdahError(error.code, error.message, {
    cause: error,
    details: error.details,
    remedy: 'Name the database with --url or HOWDAH_DATABASE_URL, or start one with `howdah dev`.',
  });
}

let current: Output | undefined;

/** Standard output of this process, as the options want it. */
export function outputOf(options: GlobalOptions): Output {
  current ??= new Output(options.json);
  return current;
}

/** The reader of standard output has gone. */
export function closeOutput(): void {
  current?.close();
}

/** An error about the command line itself. */
export function usageError(message: string, remedy?: string): HowdahError {
  return new HowdahError('HOWDAH_OPTION_INVALID', message, remedy === undefined ? {} : { remedy });
}

/** JSON in an argument. @throws HowdahError HOWDAH_OPTION_INVALID naming the option */
export function parseJson(text: string, option: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw usageError(
      `${option} is not JSON: ${(error as Error).message}.`,
      `Quote it for the shell, for instance '{"id":1}'.`,
    );
  }
}

/** `500` means milliseconds, as a number does in code. */
export function durationOf(text: string | undefined): Duration | undefined {
  if (text === undefined) return undefined;
  return /^\d+$/.test(text) ? Number(text) : (text as Duration);
}

/** A time in an argument, with its zone. @throws HowdahError HOWDAH_OPTION_INVALID */
export function parseTime(text: string, option: string): Date {
  const time = new Date(/^\d{4}-\d{2}-\d{2}(T.*(Z|[+-]\d{2}:\d{2}))?$/.test(text) ? text : '');
  if (!Number.isNaN(time.getTime())) return time;
  throw usageError(
    `Option ${option}: ${JSON.stringify(text)} is not a time.`,
    'Use a date, or a time with its zone: 2027-01-31, 2027-01-31T09:00:00Z.',
  );
}
