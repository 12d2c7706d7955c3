import { createClient, queue, type TxHandle } from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { codeOf, errorOf, test } from '../support/client.js';
import { PGBOUNCER, startPooler } from '../support/pooler.js';

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client(url);
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

test('the job exists if and only if the transaction commits', async ({
  url,
  client,
  storedJobs,
}) => {
  const welcome = queue<{ user: number }>('welcome');
  const app = await connect(url);
  await app.query('create table users (id int primary key)');
  for (const [user, end] of [
    [1, 'commit'],
    [2, 'rollback'],
    [3, 'commit'],
  ] as const) {
    await app.query('begin');
    await app.query('insert into users values ($1)', [user]);
    await client.enqueue(welcome, { user }, { tx: app });
    await app.query(end);
  }
  const payloads = (await storedJobs('welcome')).map((job) => job.payload);
  expect(payloads).toEqual([{ user: 1 }, { user: 3 }]);
});

test('declares the queue for good, even when the transaction rolls back', async ({
  url,
  client,
  pool,
}) => {
  const app = await connect(url);
  await app.query('begin');
  await client.enqueue(queue('declared-in-tx', { attempts: 7 }), 1, { tx: app });
  await app.query('rollback');
  const { rows } = await pool.query(
    `select max_attempts from howdah.queue_policies where queue = 'declared-in-tx'`,
  );
  expect(rows).toEqual([{ max_attempts: 7 }]);
});

test("shares the application's pool without a deadlock, even with one connection", async ({
  url,
  storedJobs,
}) => {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  const client = createClient({ pool });
  onTestFinished(async () => {
    await client.close();
    await pool.end();
  });
  const mine = queue('exhausted', { deadLetterQueue: 'exhausted-dead' });
  for (const payload of [1, 2]) {
    const app = await pool.connect();
    await app.query('begin');
    await client.enqueue(mine, payload, { tx: app });
    await client.enqueueMany(mine, [payload], { tx: app });
    await app.query('commit');
    app.release();
  }
  await client.enqueue(mine, 3);
  const payloads = (await storedJobs('exhausted')).map((job) => job.payload);
  expect(payloads).toEqual([1, 1, 2, 2, 3]);
});

test('a queue declared before is not declared again in a transaction', async ({ url }) => {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  const client = createClient({ pool });
  onTestFinished(async () => {
    await client.close();
    await pool.end();
  });
  const tuned = queue('tuned', { attempts: 3 });
  await client.enqueue(tuned, 1);
  await client.queues.alter(tuned, { attempts: 8 });
  const app = await pool.connect();
  await app.query('begin');
  await client.enqueue(tuned, 2, { tx: app });
  await client.enqueueMany(tuned, [3], { tx: app });
  await app.query('commit');
  const { rows } = await app.query(
    `select max_attempts from howdah.queue_policies where queue = 'tuned'`,
  );
  app.release();
  expect(rows).toEqual([{ max_attempts: 8 }]);
});

test('many transactions at once over a shared pool', async ({ url, storedJobs }) => {
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  const client = createClient({ pool });
  onTestFinished(async () => {
    await client.close();
    await pool.end();
  });
  const busy = queue('busy');
  await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const app = await pool.connect();
      try {
        await app.query('begin');
        await client.enqueue(busy, i, { tx: app });
        await app.query(i % 2 ? 'commit' : 'rollback');
      } finally {
        app.release();
      }
    }),
  );
  const payloads = (await storedJobs('busy')).map((job) => job.payload as number);
  expect(payloads.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => 2 * i + 1));
});

test.for([
  ['null', null],
  ['text', 'begin'],
  ['a number', 1],
  ['an empty object', {}],
  ['a promise of a client', Promise.resolve()],
] as const)('refuses %s as a transaction', async ([, tx], { client }) => {
  await client.queues.create('any');
  const error = await errorOf(client.enqueue('any', 1, { tx: tx as unknown as TxHandle }));
  expect(error.code).toBe('HOWDAH_TRANSACTION_INVALID');
  expect(error.remedy).toContain('Pass a pg client after BEGIN');
});

test('refuses a function that does not return rows', async ({ client }) => {
  await client.queues.create('any');
  const tx = (async () => ({ rows: [] })) as unknown as TxHandle;
  expect(await codeOf(client.enqueue('any', 1, { tx }))).toBe('HOWDAH_TRANSACTION_INVALID');
});

test('refuses a client whose BEGIN has not been awaited', async ({ url, client }) => {
  await client.queues.create('any');
  const app = await connect(url);
  const begun = app.query('begin');
  expect(await codeOf(client.enqueue('any', 1, { tx: app }))).toBe('HOWDAH_TRANSACTION_INVALID');
  await begun;
  await client.enqueue('any', 1, { tx: app });
  await app.query('rollback');
});

test('a savepoint undoes what was enqueued after it', async ({ url, client, storedJobs }) => {
  await client.queues.create('savepoint');
  const app = await connect(url);
  await app.query('begin');
  await client.enqueue('savepoint', 'kept', { tx: app });
  await app.query('savepoint s');
  await client.enqueue('savepoint', 'undone', { tx: app });
  await app.query('rollback to s');
  await app.query('commit');
  expect((await storedJobs('savepoint')).map((job) => job.payload)).toEqual(['kept']);
});

test('enqueueMany that throws leaves nothing to commit', async ({ url, client, storedJobs }) => {
  await client.queues.create('all-or-nothing', { payloadBytesMax: 100 });
  const app = await connect(url);
  await app.query('begin');
  const payloads = [1, 2, 'x'.repeat(200), 3];
  const error = await errorOf(client.enqueueMany('all-or-nothing', payloads, { tx: app }));
  expect(error.code).toBe('HOWDAH_PAYLOAD_TOO_LARGE');
  await app.query('commit');
  expect(await storedJobs('all-or-nothing')).toEqual([]);
});

describe('prepared statements', () => {
  const PREPARED = `select name from pg_prepared_statements where name like 'howdah%'`;

  test('are used on a connection of its own', async ({ url, client }) => {
    await client.queues.create('prepared');
    const app = await connect(url);
    for (const expected of [0, 1, 1]) {
      await app.query('begin');
      await client.enqueue('prepared', expected, { tx: app });
      await app.query('commit');
      expect((await app.query(PREPARED)).rows).toHaveLength(expected);
    }
  });

  test('are done without once the connection has forgotten them', async ({
    url,
    client,
    storedJobs,
  }) => {
    await client.queues.create('forgetful');
    const app = await connect(url);
    const codes: unknown[] = [];
    for (let i = 0; i < 5; i++) {
      if (i === 2) await app.query('discard all');
      await app.query('begin');
      await client.enqueue('forgetful', i, { tx: app }).catch((error) => codes.push(i, error.code));
      await app.query('commit');
    }
    expect(codes).toEqual([2, 'HOWDAH_TRANSACTION_CONFLICT']);
    expect((await storedJobs('forgetful')).map((job) => job.payload)).toEqual([0, 1, 3, 4]);
    expect((await app.query(PREPARED)).rows).toEqual([]);
  });

  test.runIf(PGBOUNCER)(
    'are not used through a transaction pooler',
    async ({ url, client, storedJobs }) => {
      await client.queues.create('pooled');
      const pool = new pg.Pool({ connectionString: await startPooler(url), max: 8 });
      onTestFinished(() => pool.end());
      await Promise.all(
        Array.from({ length: 200 }, async (_, i) => {
          const app = await pool.connect();
          await app.query('begin');
          await client.enqueue('pooled', i, { tx: app });
          await app.query('commit');
          app.release();
        }),
      );
      expect(await storedJobs('pooled')).toHaveLength(200);
      expect((await pool.query(PREPARED)).rows).toEqual([]);
    },
  );
});
