// Compiled by `npm run check`, never run: what is a transaction for the compiler, and what is not.
import type { Client, TxHandle } from 'howdah';
import type { ControlledTransaction, Kysely, Transaction } from 'kysely';
import type pg from 'pg';

declare const client: Client;
declare const pgClient: pg.Client;
declare const poolClient: pg.PoolClient;
declare const pool: pg.Pool;
declare const kysely: Kysely<{ users: { id: number } }>;
declare const trx: Transaction<{ users: { id: number } }>;
declare const controlled: ControlledTransaction<{ users: { id: number } }>;

await client.enqueue('q', 1, { tx: pgClient });
await client.enqueue('q', 1, { tx: poolClient });
await client.enqueue('q', 1, { tx: trx });
await client.enqueue('q', 1, { tx: controlled });
await client.enqueueMany('q', [1], { tx: trx });
await client.enqueue('q', 1, {
  tx: async (sql, params) => (await pgClient.query(sql, params)).rows,
});
await client.enqueue('q', 1, { tx: undefined });

// @ts-expect-error: a pool has no transaction of its own
await client.enqueue('q', 1, { tx: pool });
// @ts-expect-error: the root object of Kysely is no transaction
await client.enqueue('q', 1, { tx: kysely });
// @ts-expect-error: a function must return rows
await client.enqueue('q', 1, { tx: (sql: string) => sql.length });
// @ts-expect-error: null is no transaction
const nothing: TxHandle = null;
void nothing;
