import type { EventEmitter } from 'node:events';
import net from 'node:net';
import pg from 'pg';
import { HowdahError } from '../../core/errors.js';
import { toHowdahError } from '../errors/pg-error.js';
import { DECODERS } from './decoders.js';
import type { Hosts } from './hosts.js';
import { type Setting, TIMEOUTS } from './pinned.js';

/** Idle time before TCP asks whether the peer still lives. */
const KEEP_ALIVE_MS = 10_000;
/** Of a statement that sets something and that a time-out has ended. */
const SET_TRIES_MAX = 50;
const CUT_SHORT = new Set(['57014', '55P03']);

/** A client that takes its server from a host list and knows whether that server takes writes. */
export class Connection extends pg.Client {
  readonly #hosts: Hosts;
  readonly #host: number;
  readonly #socket: net.Socket;
  readonly #status = new Map<string, string>();
  #completions = 0;

  constructor(config: pg.ClientConfig, hosts: Hosts) {
    const host = hosts.preferred;
    const url = hosts.url(host);
    const socket = new net.Socket();
    super({
      ...config,
      ...(url === undefined ? {} : { connectionString: url }),
      ...(hosts.ssl === undefined || config.ssl !== undefined ? {} : { ssl: hosts.ssl }),
      stream: () => socket,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    });
    this.#hosts = hosts;
    this.#host = host;
    this.#socket = socket;
    this.#readMessages();
  }

  /** How many statements the server has called complete. Those sent with values are committed after that. */
  get completions(): number {
    return this.#completions;
  }

  /** Hangs up at once. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** The next connection goes to another host, if there is one. */
  blameHost(): void {
    this.#hosts.failed(this.#host);
  }

  /**
   * @throws HowdahError HOWDAH_DATABASE_READ_ONLY when the server is a standby or refuses writes
   */
  async assertWritable(): Promise<void> {
    if (!(await this.#isReadOnly())) return;
    this.blameHost();
    throw new HowdahError('HOWDAH_DATABASE_READ_ONLY', 'The server accepts no writes.', {
      remedy: 'Name the primary in the URL, or all servers: postgres://user@h1,h2/database.',
    });
  }

  /** A transaction pooler makes up the process id it reports at connect. */
  async identify(): Promise<{ processId: number; isPooled: boolean }> {
    return this.pin([]);
  }

  /**
   * Sets what this connection depends on, and says whose it is. Time-outs come first, alone: a role may have some of a
   * few milliseconds, which hold until others are set. Behind a transaction pooler nothing is set: it would reach
   * other clients. Settings that the server does not know are passed over.
   */
  async pin(
    settings: readonly Setting[],
    warmUp = 'null',
  ): Promise<{ processId: number; isPooled: boolean }> {
    const timeouts = settings.filter(([name]) => name.endsWith('_timeout'));
    const others = settings.filter(([name]) => !name.endsWith('_timeout'));
    let processId = 0;
    if (timeouts.length > 0) processId = await this.#set(timeouts, 'null');
    if (others.length > 0 || timeouts.length === 0) processId = await this.#set(others, warmUp);
    return { processId, isPooled: processId !== this.#reportedId };
  }

  /** Sets the time-outs of {@link PINNED} alone. */
  async pinTimeouts(statementTimeoutMs: number): Promise<void> {
    await this.pin([['statement_timeout', String(statementTimeoutMs)], ...TIMEOUTS]);
  }

  get #reportedId(): number {
    return Number((this as unknown as { processID: number | null }).processID ?? 0);
  }

  /** Tried again while a time-out of the role's ends it. @returns the id of the server's process */
  async #set(settings: readonly Setting[], warmUp: string): Promise<number> {
    const pairs = settings.map(([name, value]) => `('${name}', '${value}')`).join(', ');
    const pinned = pairs
      ? `select pg_catalog.count(pg_catalog.set_config(s.name, s.value, false)) from (values ${pairs}) s (name, value)
        where pg_catalog.pg_backend_pid() operator(pg_catalog.=) ${this.#reportedId}
        and pg_catalog.current_setting(s.name, true) operator(pg_catalog.<>) s.value`
      : 'select 0';
    const text = `select pg_catalog.pg_backend_pid() as id, (${pinned}) as pinned, ${warmUp} as warm`;
    for (let tried = 1; ; tried += 1) {
      try {
        const { rows } = await this.query<{ id: number }>({ text, types: DECODERS });
        return rows[0]?.id ?? 0;
      } catch (error) {
        if (tried >= SET_TRIES_MAX || !CUT_SHORT.has((error as { code?: string }).code ?? '')) {
          throw error;
        }
      }
    }
  }

  /** The server reports both settings at connect (a pooler may not): no round trip then. */
  async #isReadOnly(): Promise<boolean> {
    const standby = this.#status.get('in_hot_standby');
    const readOnly = this.#status.get('default_transaction_read_only');
    if (standby !== undefined && readOnly !== undefined) {
      return standby === 'on' || readOnly === 'on';
    }
    const { rows } = await this.query<{ is_read_only: boolean }>({
      text: `select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as is_read_only`,
      types: DECODERS,
    });
    return rows[0]?.is_read_only === true;
  }

  /** The driver passes these messages on, but only from the object underneath. */
  #readMessages(): void {
    const { connection } = this as unknown as { connection: EventEmitter };
    connection.on('commandComplete', () => {
      this.#completions += 1;
    });
    connection.on(
      'parameterStatus',
      (message: { parameterName: string; parameterValue: string }) => {
        this.#status.set(message.parameterName, message.parameterValue);
      },
    );
  }
}

/** Settings of any connection of ours. No `options`: a transaction pooler refuses them. */
export function connectionConfig(
  applicationName: string,
  connectTimeoutMs: number,
): pg.ClientConfig {
  return {
    application_name: applicationName.slice(0, 63),
    connectionTimeoutMillis: connectTimeoutMs,
  };
}

/**
 * Connects to the first host that takes writes; each is tried once.
 * @throws HowdahError HOWDAH_DATABASE_UNAVAILABLE, HOWDAH_DATABASE_READ_ONLY, ...
 */
export async function connectToPrimary(
  config: pg.ClientConfig,
  hosts: Hosts,
  schema: string,
): Promise<Connection> {
  for (let tried = 1; ; tried += 1) {
    // of our own: nobody else's statements run on it, whose parsers would count
    const connection = new Connection({ ...config, types: DECODERS } as pg.ClientConfig, hosts);
    // Without a listener the 'error' event would end the process; the statement reports the failure.
    connection.on('error', () => undefined);
    try {
      await connection.connect();
      await connection.assertWritable();
      return connection;
    } catch (error) {
      connection.blameHost();
      connection.destroy();
      if (tried >= hosts.count) throw toHowdahError(error, schema);
    }
  }
}

/** Connects made again where a time-out of the role's ends one before it is set otherwise. */
const CONNECTS_MAX = 20;
const HUNG_UP = new Set<unknown>(['25P03', '25P04', '57P05', ...CUT_SHORT]);

/** @param connect connects and sets what the connection depends on; rejects with a HowdahError */
export async function connectAgain<T>(connect: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await connect();
    } catch (error) {
      if (tried >= CONNECTS_MAX || !HUNG_UP.has((error as HowdahError).details?.sqlstate)) {
        throw error;
      }
    }
  }
}
