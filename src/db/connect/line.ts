import type { Clock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import { fenceOf } from '../../core/fence.js';
import { backoffMs, RECONNECT } from '../../core/time/backoff.js';
import { Outage } from '../../core/time/outage.js';
import type { Database } from '../database.js';
import { toHowdahError } from '../errors/pg-error.js';
import type { Executor, Session, Statement } from '../executor.js';
import type { ConnectOptions } from './connect-options.js';

/** What a line is made of. */
interface LineParts {
  readonly database: Database;
  readonly purpose: string;
  readonly options?: ConnectOptions;
  readonly hub: EventHub;
  readonly clock: Clock;
  /** Shared by what reconnects in one process. Default: one of its own. */
  readonly outage?: Outage;
  /** Called after each connect but the first. */
  readonly onRestored?: () => void;
}

/**
 * One connection that is made again for ever: at once, then in turns with the others of its process
 * (see {@link Outage}). A statement under way when the connection breaks fails, and whoever sent it decides; a
 * statement that comes while there is no connection, as before the first, waits for one.
 */
export class Line implements Executor {
  readonly #parts: LineParts;
  readonly #closing = new AbortController();
  #session: Session | undefined;
  #connecting: Promise<Session> | undefined;
  /** Connects and losses since the last statement that succeeded. */
  #failures = 0;
  /** The last attempt made no connection. */
  #isRefused = false;
  readonly #outage: Outage;
  #lostAt: number | undefined;
  /** Resolves when the statement under way is done. */
  #turn: Promise<void> | undefined;

  constructor(parts: LineParts) {
    this.#parts = parts;
    this.#outage = parts.outage ?? new Outage(parts.clock);
  }

  /** Connects, once. @throws HowdahError: nobody waits for a wrong address for ever */
  async open(): Promise<void> {
    this.#adopt(await this.#connectOnce());
  }

  /** One statement at a time: the driver no longer likes to queue them. */
  async query<R extends object>(statement: Statement, values?: readonly unknown[]): Promise<R[]> {
    while (this.#turn) await this.#turn;
    let endTurn = (): void => {};
    this.#turn = new Promise((resolve) => {
      endTurn = resolve;
    });
    try {
      return await this.#send<R>(statement, values);
    } finally {
      this.#turn = undefined;
      endTurn();
    }
  }

  /** Resolves with the session when there is one. @throws HowdahError HOWDAH_CLIENT_CLOSED */
  session(): Promise<Session> {
    return this.#session ? Promise.resolve(this.#session) : this.#reconnected();
  }

  get isConnected(): boolean {
    return this.#session !== undefined;
  }

  /** Hangs up on a connection that is alive but of no use, and makes another. */
  replace(reason: HowdahError): void {
    if (this.#session) this.#drop(this.#session, reason);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
    const late = await this.#connecting?.catch(() => undefined);
    await late?.close();
  }

  async #send<R extends object>(
    statement: Statement,
    values: readonly unknown[] | undefined,
  ): Promise<R[]> {
    const session = this.#session ?? (await this.#reconnected());
    try {
      const rows = await session.query<R>(statement, values);
      this.#failures = 0;
      return rows;
    } catch (error) {
      // A server that has become a standby keeps its connections: leave it.
      if (error instanceof HowdahError && error.code === 'HOWDAH_DATABASE_READ_ONLY') {
        this.#drop(session, error);
      }
      throw error;
    }
  }

  #connectOnce(): Promise<Session> {
    const { database, purpose, options } = this.#parts;
    return database.connect(purpose, options);
  }

  #adopt(session: Session): void {
    this.#session = session;
    session.onLost((error) => this.#lose(session, toHowdahError(error)));
  }

  #drop(session: Session, reason: HowdahError): void {
    void session.close().catch(() => undefined);
    this.#lose(session, reason);
  }

  #lose(session: Session, error: HowdahError): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    if (this.#closing.signal.aborted) return;
    this.#lostAt = this.#parts.clock.monotonic();
    this.#parts.hub.emit('connection.lost', { purpose: this.#parts.purpose, error });
    void this.#reconnected().catch(() => undefined);
  }

  #reconnected(): Promise<Session> {
    this.#connecting ??= this.#reconnect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #reconnect(): Promise<Session> {
    const { clock, hub, purpose, onRestored } = this.#parts;
    const { signal } = this.#closing;
    for (;;) {
      await this.#pause();
      if (signal.aborted) {
        throw new HowdahError('HOWDAH_CLIENT_CLOSED', `The ${purpose} connection was closed.`);
      }
      this.#failures += 1;
      const session = await this.#connectOnce().catch(() => undefined);
      this.#isRefused = !session;
      if (!session) continue;
      this.#outage.over();
      if (signal.aborted) return session; // close() closes it
      this.#adopt(session);
      if (this.#lostAt !== undefined) {
        hub.emit('connection.restored', { purpose, downMs: clock.monotonic() - this.#lostAt });
        fenceOf(clock, hub).call(purpose, () => onRestored?.());
      }
      return session;
    }
  }

  async #pause(): Promise<void> {
    if (this.#failures === 0) return;
    const { signal } = this.#closing;
    if (this.#isRefused) return this.#outage.turn(signal);
    // a server that takes connections and breaks them is not away
    const { clock } = this.#parts;
    await clock.sleep(backoffMs(this.#failures, RECONNECT, clock.random()), signal);
  }
}
