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

  lockJob(id: string): Promise<unknown> {
    return this.#client.query('select from howdah._jobs where id = $1 for update', [id]);
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

  /** Until this session waits for a lock that the other one holds. */
  async waitsFor(other: RaceSession): Promise<void> {
    await waitFor(
      async () => {
        const { rows } = await this.#observer.query(
          'select from unnest(pg_blocking_pids($1)) u (pid) where pid = $2',
          [this.pid, other.pid],
        );
        return rows.length > 0;
      },
      { what: 'a session that waits for another one' },
    );
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}

async function session(
  { url, pool }: { url: string; pool: pg.Pool },
  use: (session: RaceSession) => Promise<void>,
): Promise<void> {
  const opened = await RaceSession.open(url, pool);
  await use(opened);
  await opened.close();
}

/** `test` with sessions of their own, a, b and c, and the pool as a further party, db. */
export const test = base.extend<{
  db: Engine;
  a: RaceSession;
  b: RaceSession;
  c: RaceSession;
}>({
  db: async ({ pool }, use) => use(new Engine(pool)),
  a: session,
  b: session,
  c: session,
});
