import { queue, type TxHandle } from 'howdah';
import { describe, expect } from 'vitest';
import { test as base, codeOf, errorOf } from '../support/client.js';
import { openDrizzle, openDrizzleOnPostgresJs } from './kits/drizzle.js';
import type { Kit, OpenKit, OpenTransaction } from './kits/kit.js';
import { openKnex } from './kits/knex.js';
import { openControlledKysely, openKysely } from './kits/kysely.js';
import { openFunction, openPgClient, openPgPool } from './kits/pg.js';
import { openPostgresJs } from './kits/postgres-js.js';
import { openTypeOrmManager, openTypeOrmRunner } from './kits/typeorm.js';

interface Library {
  readonly name: string;
  readonly open: OpenKit;
  /** It has something that looks like a transaction and is none: a pool, for instance. */
  readonly hasRoot: boolean;
  /** It tells when its transaction is over; a function cannot. */
  readonly knowsItsEnd: boolean;
}

const LIBRARIES: readonly Library[] = [
  { name: 'pg.Client', open: openPgClient, hasRoot: true, knowsItsEnd: true },
  { name: 'pg.PoolClient', open: openPgPool, hasRoot: true, knowsItsEnd: true },
  { name: 'Kysely', open: openKysely, hasRoot: true, knowsItsEnd: false },
  { name: 'Kysely, controlled', open: openControlledKysely, hasRoot: true, knowsItsEnd: true },
  { name: 'Drizzle on pg', open: openDrizzle, hasRoot: true, knowsItsEnd: true },
  {
    name: 'Drizzle on postgres.js',
    open: openDrizzleOnPostgresJs,
    hasRoot: true,
    knowsItsEnd: false,
  },
  { name: 'Knex', open: openKnex, hasRoot: true, knowsItsEnd: true },
  { name: 'TypeORM manager', open: openTypeOrmManager, hasRoot: true, knowsItsEnd: true },
  { name: 'TypeORM query runner', open: openTypeOrmRunner, hasRoot: true, knowsItsEnd: true },
  { name: 'postgres.js', open: openPostgresJs, hasRoot: true, knowsItsEnd: false },
  { name: 'a function', open: openFunction, hasRoot: false, knowsItsEnd: false },
];

const orders = queue('orders', { payloadBytesMax: 2000 });

describe.each(LIBRARIES)('$name', ({ open, hasRoot, knowsItsEnd }) => {
  const test = base.extend<{ kit: Kit; begin: () => Promise<OpenTransaction> }>({
    kit: async ({ url, pool, client }, use) => {
      await client.queues.create(orders);
      await pool.query('create table if not exists notes (text text)');
      await pool.query('truncate notes, howdah._jobs');
      const kit = await open(url);
      await use(kit);
      await kit.close();
    },
    begin: async ({ kit }, use) => use(() => kit.begin()),
  });

  test('commits the job with the work of the application', async ({
    begin,
    client,
    pool,
    storedJobs,
  }) => {
    const { tx, run, commit } = await begin();
    await run(`insert into notes values ('kept')`);
    const payload = { text: `it's "ä" 😀 \\u0000 $1 ? :x`, n: 1.5, deep: [null, { x: false }] };
    const { id, created } = await client.enqueue(orders, payload, { tx });
    expect(await storedJobs()).toEqual([]);
    await commit();
    expect(created).toBe(true);
    expect(await storedJobs()).toEqual([{ id, queue: 'orders', payload, state: 'ready' }]);
    expect((await pool.query('select text from notes')).rows).toEqual([{ text: 'kept' }]);
  });

  test('rolls the job back with the work of the application', async ({
    begin,
    client,
    storedJobs,
  }) => {
    const { tx, rollback } = await begin();
    await client.enqueue(orders, 1, { tx });
    await client.enqueueMany(orders, [2, 3], { tx });
    await rollback();
    expect(await storedJobs()).toEqual([]);
  });

  test('takes many jobs and all options', async ({ begin, client, storedJobs }) => {
    const { tx, commit } = await begin();
    const payloads = Array.from({ length: 2500 }, (_, i) => ({ i }));
    const result = await client.enqueueMany(orders, payloads, { tx, delay: '1h', priority: 7 });
    await commit();
    expect(result).toMatchObject({ accepted: 2500, rejected: 0 });
    const jobs = await storedJobs();
    expect(jobs.map((job) => job.id)).toEqual(result.ids);
    expect(jobs.map((job) => job.payload)).toEqual(payloads);
    expect(new Set(jobs.map((job) => job.state))).toEqual(new Set(['scheduled']));
  });

  test('a refused job leaves the transaction usable', async ({ begin, client, storedJobs }) => {
    const { tx, commit } = await begin();
    expect(await codeOf(client.enqueue('nowhere', 1, { tx }))).toBe('HOWDAH_QUEUE_UNKNOWN');
    const large = 'x'.repeat(2001);
    expect(await codeOf(client.enqueue('orders', large, { tx }))).toBe('HOWDAH_PAYLOAD_TOO_LARGE');
    const report = await client.enqueueMany('orders', [1, large, 2, 3n], { tx, onError: 'report' });
    expect(report).toMatchObject({ accepted: 2, rejected: 2 });
    expect(report.rejections.map(({ index }) => index)).toEqual([1, 3]);
    await commit();
    expect((await storedJobs()).map((job) => job.payload)).toEqual([1, 2]);
  });

  test('refuses an aborted transaction, saying so', async ({ begin, client, storedJobs }) => {
    const { tx, run, rollback } = await begin();
    await expect(run('select 1 / 0')).rejects.toThrow('division by zero');
    const error = await errorOf(client.enqueue(orders, 1, { tx }));
    expect(error.code).toBe('HOWDAH_TRANSACTION_INVALID');
    expect(error.message).toContain('aborted');
    await rollback();
    expect(await storedJobs()).toEqual([]);
  });

  test.runIf(hasRoot)(
    'refuses the root object, saying what to pass instead',
    async ({ kit, client, storedJobs }) => {
      const tx = kit.root as TxHandle;
      const error = await errorOf(client.enqueue(orders, 1, { tx }));
      expect(error.code).toBe('HOWDAH_TRANSACTION_INVALID');
      expect(error.remedy).toMatch(/^(Pass|Run) /);
      expect(await codeOf(client.enqueueMany(orders, [1], { tx }))).toBe(error.code);
      expect(await storedJobs()).toEqual([]);
    },
  );

  test.runIf(knowsItsEnd)(
    'refuses a transaction that is over',
    async ({ begin, client, storedJobs }) => {
      const { tx, commit } = await begin();
      await commit();
      expect(await codeOf(client.enqueue(orders, 1, { tx }))).toBe('HOWDAH_TRANSACTION_INVALID');
      expect(await storedJobs()).toEqual([]);
    },
  );

  test("a conflict of the application's own reaches it as its driver threw it", async ({
    begin,
    client,
  }) => {
    const { tx, run, rollback } = await begin();
    await run(`do $$ begin execute 'create function pg_temp.clash() returns trigger language plpgsql
      as ''begin raise exception ''''clash'''' using errcode = ''''40001''''; end''';
      execute 'create trigger clash before insert on howdah._jobs
        for each row execute function pg_temp.clash()'; end $$`);
    await expect(client.enqueue(orders, 1, { tx })).rejects.toMatchObject({ code: '40001' });
    await rollback();
  });
});
