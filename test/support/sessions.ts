import pg from 'pg';
import { test as base } from './database.js';
import { Engine } from './engine.js';
import { waitFor } from './wait-for.js';

/** A session of its own, with the SQL functions, in whose transaction a test can stop the world. */
export class RaceSession extends Engine {
  readonly #client: pg.Client;
  readonly #observer: pg.Pool;
  readonly pid: number;

  private constructor(client: pg.Client, observer: pg.Pool, pid: number) {
    super(client);
    this.#client = client;
    this.#observer = observer;
    this.pid = pid;
  }

  static async open(url: string, observer: pg.Pool): Promise<RaceSession> {
    const client = new pg.Client(url);
    client.on('error', () => undefined);
    await client.connect();
    const { rows } = await client.query('select pg_backend_pid() as pid');
    return new RaceSession(client, observer, rows[0].pid);
  }

  begin(): Promise<unknown> {
    return this.#client.query('begin');
  }

  commit(): Promise<unknown> {
    return this.#client.query('commit');
  }

  rollback(): Promise<unknown> {
    return this.#client.query('rollback');
  }

  /** Starts something that has to wait for a lock of another session, and waits until it does. */
  async blocks<T>(run: (session: RaceSession) => Promise<T>): Promise<Promise<T>[]> {
    let isOver = false;
    const result = run(this).finally(() => {
      isOver = true;
    });
    result.catch(() => undefined);
    await waitFor(
      async () => {
        if (isOver) throw new Error('it did not wait for anybody');
        const { rows } = await this.#observer.query(
          `select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'`,
          [this.pid],
        );
        return rows.length > 0;
      },
      { what: 'a session that waits for a lock' },
    );
    return [result];
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}

/** `test` with two sessions of their own, a and b, and the pool as a third party, db. */
export const test = base.extend<{ db: Engine; a: RaceSession; b: RaceSession }>({
  db: async ({ pool }, use) => use(new Engine(pool)),
  a: async ({ url, pool }, use) => {
    const session = await RaceSession.open(url, pool);
    await use(session);
    await session.close();
  },
  b: async ({ url, pool }, use) => {
    const session = await RaceSession.open(url, pool);
    await use(session);
    await session.close();
  },
});
