import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { drizzle as drizzleOnPostgresJs } from 'drizzle-orm/postgres-js';
import pg from 'pg';
import postgres from 'postgres';
import { callbackTransaction, type OpenKit } from './kit.js';

export const openDrizzle: OpenKit = async (url) => {
  const pool = new pg.Pool({ connectionString: url });
  const db = drizzle(pool);
  type Tx = Parameters<Parameters<typeof db.transaction>[0]>[0];
  return {
    root: db,
    async begin() {
      const { tx, ...ends } = await callbackTransaction<Tx>((run) => db.transaction(run));
      return { tx, ...ends, run: (text) => runRaw(() => tx.execute(sql.raw(text))) };
    },
    close: () => pool.end(),
  };
};

export const openDrizzleOnPostgresJs: OpenKit = async (url) => {
  const client = postgres(url, { onnotice: () => {} });
  const db = drizzleOnPostgresJs(client);
  type Tx = Parameters<Parameters<typeof db.transaction>[0]>[0];
  return {
    root: db,
    async begin() {
      const { tx, ...ends } = await callbackTransaction<Tx>((run) => db.transaction(run));
      return { tx, ...ends, run: (text) => runRaw(() => tx.execute(sql.raw(text))) };
    },
    close: () => client.end(),
  };
};

/** Drizzle wraps the error of the driver; the suite looks for the server's. */
async function runRaw(run: () => PromiseLike<unknown>): Promise<unknown> {
  try {
    return await run();
  } catch (error) {
    throw (error as Error).cause ?? error;
  }
}
