import type pg from 'pg';
import { toHowdahError } from '../errors/pg-error.js';
import type { Session } from '../executor.js';
import type { DatabaseSettings } from '../options.js';
import type { StatementNames } from '../query.js';
import type { ConnectOptions } from './connect-options.js';
import { connectAgain, connectionConfig, connectToPrimary } from './connection.js';
import type { Hosts } from './hosts.js';
import { PINNED, type Setting } from './pinned.js';
import { PgSession } from './session.js';

/** What is needed to open sessions. */
export interface ConnectContext {
  readonly settings: DatabaseSettings;
  readonly hosts: Hosts;
  readonly names: StatementNames;
  /** Configuration of a pool that was handed in, used where there is no URL. */
  readonly base: pg.ClientConfig;
}

/** Opens a connection of its own. */
export async function openSession(
  { settings, hosts, names, base }: ConnectContext,
  purpose: string,
  options: ConnectOptions,
): Promise<Session> {
  const { applicationName, connectTimeoutMs, statementTimeoutMs, schema } = settings;
  const own = connectionConfig(`${applicationName} ${purpose}`, connectTimeoutMs);
  const config = { ...base, ...own, query_timeout: connectTimeoutMs };
  const { connection, processId, isPooled } = await connectAgain(async () => {
    const made = await connectToPrimary(config, hosts, schema);
    const warmUp = options.isBusy ? KEEP_MEMORY : undefined;
    try {
      return {
        connection: made,
        ...(await made.pin(settingsOf(statementTimeoutMs, options), warmUp)),
      };
    } catch (error) {
      made.destroy();
      throw toHowdahError(error, schema);
    }
  });
  try {
    return new PgSession({
      connection,
      names,
      schema,
      statementTimeoutMs,
      processId,
      isPooled,
      lockTimeoutMs: options.lockTimeoutMs,
    });
  } catch (error) {
    connection.destroy();
    throw toHowdahError(error, schema);
  }
}

/**
 * Makes the server's C library keep up to 4 MB for this connection. glibc gives memory back as soon as
 * 128 kB lie free, and takes it again for the next batch: up to half a claim's time went into page
 * faults. It stops doing so for blocks smaller than the largest it has seen freed (mallopt(3),
 * M_TRIM_THRESHOLD); elsewhere this does nothing.
 */
const KEEP_MEMORY = `octet_length(repeat('x', 2000000))`;

/** The server gives up a little after we did, so that no statement outlives its connection. */
function settingsOf(statementTimeoutMs: number, options: ConnectOptions): readonly Setting[] {
  const timeout = ['statement_timeout', String(statementTimeoutMs + 1_000)] as const;
  const { lockTimeoutMs } = options;
  const lockTimeout = ['lock_timeout', String(lockTimeoutMs)] as const;
  const pinned = [...PINNED, timeout, ...(lockTimeoutMs === undefined ? [] : [lockTimeout])];
  return [...pinned, ...(options.asyncCommit ? [ASYNC_COMMIT] : [])];
}

const ASYNC_COMMIT = ['synchronous_commit', 'off'] as const;
