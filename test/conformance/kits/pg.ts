import type { TxHandle } from 'howdah';
import pg from 'pg';
import type { OpenKit } from './kit.js';

/** A client of its own. */
export const openPgClient: OpenKit = async (url) => {
  const client = new pg.Client(url);
  await client.connect();
  return {
    root: client,
    async begin() {
      await client.query('begin');
      return transactionOf(client, client);
    },
    close: () => client.end(),
  };
};

/** A client of a pool. */
export const openPgPool: OpenKit = async (url) => {
  const pool = new pg.Pool({ connectionString: url });
  return {
    root: pool,
    async begin() {
      const client = await pool.connect();
      await client.query('begin');
      return transactionOf(client, client, () => client.release());
    },
    close: () => pool.end(),
  };
};

/** A function around any driver. */
export const openFunction: OpenKit = async (url) => {
  const client = new pg.Client(url);
  await client.connect();
  return {
    root: undefined,
    async begin() {
      await client.query('begin');
      return transactionOf(client, async (sql, params) => (await client.query(sql, params)).rows);
    },
    close: () => client.end(),
  };
};

function transactionOf(client: pg.ClientBase, tx: TxHandle, release = () => {}) {
  const end = async (sql: string): Promise<void> => {
    try {
      await client.query(sql);
    } finally {
      release();
    }
  };
  return {
    tx,
    run: (sql: string) => client.query(sql),
    commit: () => end('commit'),
    rollback: () => end('rollback'),
  };
}
