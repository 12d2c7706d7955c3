import type pg from 'pg';
import { HowdahError } from '../../core/errors.js';
import { toHowdahError } from '../errors/pg-error.js';
import type { Session, Statement } from '../executor.js';
import type { QueryConfig, StatementNames } from '../query.js';
import type { Connection } from './connection.js';
import { BEGIN, DEFAULT_ISOLATION, ISOLATION, isIsolationFailure } from './isolation.js';

/** How long a polite goodbye may take before we hang up. */
const CLOSE_MS = 2_000;

/** What a session is made of. */
interface SessionParts {
  readonly connection: Connection;
  readonly names: StatementNames;
  readonly schema: string;
  readonly statementTimeoutMs: number;
  readonly processId: number;
  readonly isPooled: boolean;
  /** Behind a pooler it is set in a transaction around each statement: nothing else can be set there. */
  readonly lockTimeoutMs?: number | undefined;
}

/** open → lost (by the server or a statement time-out) or closed (by us); both are final. */
export class PgSession implements Session {
  readonly processId: number;
  readonly isPooled: boolean;
  readonly #parts: SessionParts;
  readonly #connection: Connection;
  readonly #channels = new Map<string, (payload: string) => void>();
  /** Behind a pooler, where nothing can be set: each statement gets a transaction of its own. */
  #isIsolationRaised = false;
  /** What begins such a transaction, one round trip. */
  readonly #begin: string;
  readonly #isBounded: boolean;
  #lostListeners: ((error: Error) => void)[] = [];
  #lost: HowdahError | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#connection = parts.connection;
    this.processId = parts.processId;
    this.isPooled = parts.isPooled;
    const { lockTimeoutMs } = parts;
    this.#isBounded = parts.isPooled && lockTimeoutMs !== undefined;
    this.#begin = this.#isBounded ? `${BEGIN}; set local lock_timeout = ${lockTimeoutMs}` : BEGIN;
    this.#connection.on('error', (error: Error) => this.#lose(error));
    this.#connection.on('end', () => this.#lose(new Error('Connection terminated')));
    this.#connection.on('notification', (message) => {
      this.#channels.get(message.channel)?.(message.payload ?? '');
    });
  }

  async query<R extends object>(
    statement: Statement,
    values: readonly unknown[] = [],
  ): Promise<R[]> {
    const { names, statementTimeoutMs, schema } = this.#parts;
    const config = names.config(statement, values, statementTimeoutMs);
    try {
      return (await (this.#isIsolationRaised || this.#isBounded
        ? this.#runIsolated(config)
        : this.#run(config))) as R[];
    } catch (error) {
      if (await this.#isRaisedHere(error)) return this.query(statement, values);
      if (names.learn(config, error)) return this.query(statement, values);
      const mapped = toHowdahError(error, schema);
      // The server still works on the statement: the connection cannot be used for another.
      if (mapped.code === 'HOWDAH_TIMEOUT' && !isFromServer(mapped)) this.#lose(mapped);
      throw mapped;
    }
  }

  onLost(listener: (error: Error) => void): void {
    const lost = this.#lost;
    if (lost) queueMicrotask(() => listener(lost));
    else this.#lostListeners.push(listener);
  }

  async listen(channel: string, onNotify: (payload: string) => void): Promise<void> {
    this.#channels.set(channel, onNotify);
    await this.query({ text: `listen ${quoteIdentifier(channel)}` });
  }

  async unlisten(channel: string): Promise<void> {
    this.#channels.delete(channel);
    await this.query({ text: `unlisten ${quoteIdentifier(channel)}` });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #isRaisedHere(error: unknown): Promise<boolean> {
    if (!this.isPooled || this.#isBounded || this.#isIsolationRaised || !isIsolationFailure(error))
      return false;
    const config = this.#parts.names.config({ text: DEFAULT_ISOLATION }, [], CLOSE_MS);
    const [row] = (await this.#run(config)) as { isolation: string }[];
    this.#isIsolationRaised = row?.isolation !== ISOLATION;
    return this.#isIsolationRaised;
  }

  async #runIsolated(config: QueryConfig): Promise<unknown[]> {
    const { query_timeout = CLOSE_MS } = config;
    await this.#run({ text: this.#begin, query_timeout });
    try {
      const rows = await this.#run(config);
      await this.#run({ text: 'commit', query_timeout });
      return rows;
    } catch (error) {
      await this.#run({ text: 'rollback', query_timeout }).catch(() => undefined);
      throw error;
    }
  }

  /** Callbacks instead of the driver's promises: fewer hops on the hot path. */
  #run(config: QueryConfig): Promise<unknown[]> {
    if (this.#closing) throw new HowdahError('HOWDAH_CLIENT_CLOSED', 'The connection is closed.');
    if (this.#lost) throw this.#lost;
    return new Promise((resolve, reject) => {
      void this.#connection.query(config as pg.QueryConfig, (error: Error | null, result) => {
        if (error) reject(error);
        else resolve(result.rows);
      });
    });
  }

  #lose(error: Error): void {
    if (this.#lost || this.#closing) return;
    this.#lost = toHowdahError(error, this.#parts.schema);
    this.#connection.destroy();
    const listeners = this.#lostListeners;
    this.#lostListeners = [];
    for (const listener of listeners) listener(this.#lost);
  }

  async #close(): Promise<void> {
    if (this.#lost) return;
    const timer = setTimeout(() => this.#connection.destroy(), CLOSE_MS);
    try {
      await this.#connection.end();
    } catch {
      this.#connection.destroy();
    } finally {
      clearTimeout(timer);
    }
  }
}

function isFromServer(error: HowdahError): boolean {
  return error.details.sqlstate !== undefined;
}

function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
