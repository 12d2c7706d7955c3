// Compiled by `npm run check`, never run: what is a transaction for the compiler, and what is not.
import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import type { Client, TxHandle } from 'howdah';
import type { Knex } from 'knex';
import type { ControlledTransaction, Kysely, Transaction } from 'kysely';
import type pg from 'pg';
import type postgres from 'postgres';
import type { EntityManager, QueryRunner } from 'typeorm';

declare const client: Client;
declare const pgClient: pg.Client;
declare const poolClient: pg.PoolClient;
declare const pool: pg.Pool;
declare const kysely: Kysely<{ users: { id: number } }>;
declare const trx: Transaction<{ users: { id: number } }>;
declare const controlled: ControlledTransaction<{ users: { id: number } }>;

declare const drizzle: NodePgDatabase;
declare const knexRoot: Knex;
declare const knexTrx: Knex.Transaction;
declare const manager: EntityManager;
declare const runner: QueryRunner;
declare const sql: postgres.Sql;
declare const sqlInTransaction: postgres.TransactionSql;

await client.enqueue('q', 1, { tx: pgClient });
await client.enqueue('q', 1, { tx: poolClient });
await client.enqueue('q', 1, { tx: trx });
await client.enqueue('q', 1, { tx: controlled });
await client.enqueueMany('q', [1], { tx: trx });
await drizzle.transaction(async (tx) => void (await client.enqueue('q', 1, { tx })));
await client.enqueue('q', 1, { tx: knexTrx });
await client.enqueue('q', 1, { tx: manager });
await client.enqueue('q', 1, { tx: runner });
await client.enqueue('q', 1, { tx: sqlInTransaction });
await client.enqueue('q', 1, {
  tx: async (sql, params) => (await pgClient.query(sql, params)).rows,
});
await client.enqueue('q', 1, { tx: undefined });

// @ts-expect-error: a pool has no transaction of its own
await client.enqueue('q', 1, { tx: pool });
// @ts-expect-error: the root object of Kysely is no transaction
await client.enqueue('q', 1, { tx: kysely });
// @ts-expect-error: a Drizzle database is no transaction
await client.enqueue('q', 1, { tx: drizzle });
// @ts-expect-error: a Knex instance is no transaction
await client.enqueue('q', 1, { tx: knexRoot });
// @ts-expect-error: nor is the root of postgres.js
await client.enqueue('q', 1, { tx: sql });
// @ts-expect-error: a function must return rows
await client.enqueue('q', 1, { tx: (sql: string) => sql.length });
// @ts-expect-error: null is no transaction
const nothing: TxHandle = null;
void nothing;
