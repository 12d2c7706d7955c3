import pg from 'pg';

/**
 * A pool that waits for nothing for ever, and whose broken connections end nobody.
 * @param {string} url
 * @param {string} name seen by the server
 * @param {number} max
 */
export function openPool(url, name, max) {
  const pool = new pg.Pool({
    connectionString: url,
    max,
    application_name: name,
    connectionTimeoutMillis: 3_000,
    query_timeout: 8_000,
  });
  pool.on('error', () => undefined);
  pool.on('connect', (connection) => connection.on('error', () => undefined));
  return pool;
}

/**
 * Runs something in a transaction, which it ends itself; rolls back when it throws.
 * @template T
 * @param {pg.Pool} pool
 * @param {(tx: pg.PoolClient) => Promise<T>} run
 */
export async function inTransaction(pool, run) {
  const tx = await pool.connect();
  let broken;
  try {
    await tx.query('begin');
    return await run(tx);
  } catch (error) {
    broken = await tx.query('rollback').then(
      () => undefined,
      (reason) => reason,
    );
    throw error;
  } finally {
    tx.release(broken);
  }
}
