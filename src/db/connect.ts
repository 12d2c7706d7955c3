import type pg from 'pg';
import { Connection, connectionConfig } from './connection.js';
import type { Session } from './executor.js';
import type { Hosts } from './hosts.js';
import type { DatabaseSettings } from './options.js';
import { toHowdahError } from './pg-error.js';
import type { StatementNames } from './query.js';
import { PgSession } from './session.js';

/** What a connection of its own is for. */
export interface ConnectOptions {
  /**
   * Commits do not wait for the disk: for claims and heartbeats, whose loss in a crash of the server
   * only means a redelivery. Default false.
   */
  readonly asyncCommit?: boolean;
}

/** What is needed to open sessions. */
export interface ConnectContext {
  readonly settings: DatabaseSettings;
  readonly hosts: Hosts;
  readonly names: StatementNames;
  /** Configuration of a pool that was handed in, used where there is no URL. */
  readonly base: pg.ClientConfig;
}

/**
 * Opens a connection of its own to the first host that takes writes; each is tried once.
 * @throws HowdahError HOWDAH_DATABASE_UNAVAILABLE, HOWDAH_DATABASE_READ_ONLY, ...
 */
export async function openSession(
  context: ConnectContext,
  purpose: string,
  options: ConnectOptions,
): Promise<Session> {
  const { hosts, settings } = context;
  for (let tried = 1; ; tried += 1) {
    try {
      return await openOnce(context, purpose, options);
    } catch (error) {
      if (tried >= hosts.count) throw toHowdahError(error, settings.schema);
    }
  }
}

async function openOnce(
  { settings, hosts, names, base }: ConnectContext,
  purpose: string,
  options: ConnectOptions,
): Promise<Session> {
  const { applicationName, connectTimeoutMs, statementTimeoutMs, schema } = settings;
  const own = connectionConfig(`${applicationName} ${purpose}`, connectTimeoutMs);
  const connection = new Connection({ ...base, ...own, query_timeout: connectTimeoutMs }, hosts);
  const ignore = (): void => undefined;
  connection.on('error', ignore);
  try {
    await connection.connect();
    await connection.assertWritable();
    const { processId, isPooled } = await identify(connection);
    if (!isPooled) await connection.query(settingsSql(statementTimeoutMs, options));
    const parts = { connection, names, schema, statementTimeoutMs, processId, isPooled };
    return new PgSession(parts);
  } catch (error) {
    connection.blameHost();
    connection.destroy();
    throw error;
  }
}

/** A transaction pooler makes up the process id it reports at connect. */
async function identify(connection: Connection): Promise<{ processId: number; isPooled: boolean }> {
  const { rows } = await connection.query<{ id: number }>('select pg_backend_pid() as id');
  const processId = rows[0]?.id ?? 0;
  const reported = (connection as unknown as { processID: number | null }).processID;
  return { processId, isPooled: processId !== reported };
}

/** The server gives up a little after we did, so that no statement outlives its connection. */
function settingsSql(statementTimeoutMs: number, options: ConnectOptions): string {
  const asyncCommit = options.asyncCommit ? '; set synchronous_commit = off' : '';
  return `set statement_timeout = ${statementTimeoutMs + 1_000}${asyncCommit}`;
}
