import { createClient, queue, toPolicy } from 'howdah';
import pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import { codeOf, test } from '../support/client.js';

const POLICY = `select max_attempts, timeout_ms, dead_letter_queue from howdah.queue_policies
  where queue = $1`;

test('a declared queue is created at its first use, with its dead-letter queue', async ({
  client,
  pool,
}) => {
  const dead = queue('mail-dead', { retention: '30d' });
  const mail = queue('mail', { attempts: 4, timeout: null, deadLetterQueue: dead });
  await client.enqueue(mail, 1);
  expect((await pool.query(POLICY, ['mail'])).rows).toEqual([
    { max_attempts: 4, timeout_ms: null, dead_letter_queue: 'mail-dead' },
  ]);
  const { rows } = await pool.query(
    `select retention_ms from howdah.queue_policies where queue = 'mail-dead'`,
  );
  expect(rows).toEqual([{ retention_ms: String(30 * 86_400_000) }]);
});

test('a queue given by name is never created', async ({ client, pool }) => {
  expect(await codeOf(client.enqueue('only-a-name', 1))).toBe('HOWDAH_QUEUE_UNKNOWN');
  expect(await codeOf(client.enqueueMany('only-a-name', [1]))).toBe('HOWDAH_QUEUE_UNKNOWN');
  expect((await pool.query(POLICY, ['only-a-name'])).rows).toEqual([]);
});

test('declaring touches only what it names: an operator keeps the rest', async ({
  url,
  client,
  pool,
}) => {
  const mine = queue('shared-rule', { attempts: 4 });
  await client.enqueue(mine, 1);
  await client.queues.alter('shared-rule', { attempts: 9, timeout: '1h' });
  await client.queues.pause('shared-rule', 'lunch');
  // not declared again in this process
  await client.enqueue(mine, 2);
  const row = { max_attempts: 9, timeout_ms: 3_600_000, dead_letter_queue: 'dead-letters' };
  expect((await pool.query(POLICY, ['shared-rule'])).rows).toEqual([row]);
  // the next process says again what it names, and no more
  const next = createClient({ url });
  onTestFinished(() => next.close());
  await next.enqueue(mine, 3);
  expect((await pool.query(POLICY, ['shared-rule'])).rows).toEqual([{ ...row, max_attempts: 4 }]);
  expect(await next.queues.stats(mine)).toMatchObject([
    { paused: true, pausedReason: 'lunch', ready: 3 },
  ]);
});

test('a declaration that is made anew at each call is declared once, as one that is kept', async ({
  client,
  pool,
}) => {
  const anew = () =>
    queue('made-anew', { attempts: 4, deadLetterQueue: queue('anew-dead', { retention: '30d' }) });
  await client.enqueue(anew(), 1);
  await client.queues.alter('made-anew', { attempts: 9 });
  await client.queues.alter('anew-dead', { retention: '1d' });
  await client.enqueue(anew(), 2);
  await client.enqueueMany(anew(), [3]);
  const { rows } = await pool.query(
    `select max_attempts, (select retention_ms from howdah.queue_policies where queue = 'anew-dead')
     from howdah.queue_policies where queue = 'made-anew'`,
  );
  expect(rows).toEqual([{ max_attempts: 9, retention_ms: String(86_400_000) }]);
});

test('two declarations of one name are each declared once, the later use wins', async ({
  client,
  pool,
}) => {
  await client.enqueue(queue('twice', { attempts: 2 }), 1);
  await client.enqueue(queue('twice', { attempts: 3 }), 1);
  expect((await pool.query(POLICY, ['twice'])).rows[0].max_attempts).toBe(3);
});

test('queues of the client are declared at its first use', async ({ url, pool }) => {
  const client = createClient({ url, queues: [queue('known-1'), queue('known-2')] });
  onTestFinished(() => client.close());
  await client.enqueue('known-2', 1);
  expect((await pool.query(POLICY, ['known-1'])).rows).toHaveLength(1);
});

test('a failed declaration is tried again at the next use', async ({ url, pool }) => {
  const client = createClient({ url, statementTimeout: '300ms' });
  onTestFinished(() => client.close());
  const locked = queue('locked');
  const blocker = await pool.connect();
  await blocker.query('begin; lock table howdah._queues in access exclusive mode');
  expect(await codeOf(client.enqueue(locked, 1))).toBe('HOWDAH_TIMEOUT');
  await blocker.query('rollback');
  blocker.release();
  expect(await client.enqueue(locked, 1)).toMatchObject({ created: true });
});

test('what is stored is what was handed over; the schema speaks at both ends', async ({
  client,
  storedJobs,
}) => {
  const typed = queue('typed', {
    schema: z.object({ to: z.email(), at: z.coerce.date(), tries: z.number().default(1) }),
  });
  await client.enqueue(typed, { to: 'a@b.co', at: new Date('2027-01-31T09:00:00Z') });
  const [job] = await storedJobs('typed');
  expect(job?.payload).toEqual({ to: 'a@b.co', at: '2027-01-31T09:00:00.000Z' });
});

test('a role that may only enqueue uses a queue that somebody else declared', async ({
  url,
  client,
  pool,
}) => {
  const producing = queue('least-privilege', { attempts: 4 });
  await client.enqueue(producing, 1);
  await pool.query(`
    create role least_privilege_producer login password 'secret';
    grant usage on schema howdah to least_privilege_producer;
    grant execute on function howdah.enqueue_many(text, text), howdah.schema_version()
      to least_privilege_producer`);
  const asProducer = new URL(url);
  asProducer.username = 'least_privilege_producer';
  asProducer.password = 'secret';
  const producer = createClient({ url: asProducer.href });
  onTestFinished(async () => {
    await producer.close();
    await pool.query('drop owned by least_privilege_producer; drop role least_privilege_producer');
  });
  await producer.enqueue(producing, 2);
  expect(await codeOf(producer.enqueue(queue('undeclared'), 1))).toBe('HOWDAH_QUEUE_UNKNOWN');
  expect(await codeOf(producer.queues.pause(producing))).toBe('HOWDAH_PERMISSION_DENIED');
});

test('the policy in SQL is what the declaration says', async ({ client, pool }) => {
  const full = queue('full', {
    attempts: 3,
    backoff: { type: 'fixed', delay: '10s', max: '1h', jitter: 0.5 },
    timeout: '90s',
    ttl: '1d',
    delay: '5s',
    retention: '2w',
    payloadBytesMax: 2048,
    maxCrashes: 2,
    deadLetterQueue: 'full-dead',
  });
  await client.queues.create('full-dead');
  await client.queues.create(full);
  const { rows } = await pool.query(`select * from howdah.queue_policies where queue = 'full'`);
  const stored = Object.fromEntries(
    Object.entries(rows[0]).map(([key, value]) => [
      key,
      typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value,
    ]),
  );
  expect(stored).toMatchObject(toPolicy(full));
});

test('two clients at once declare one queue', async ({ url, pool }) => {
  const clients = Array.from({ length: 6 }, () => createClient({ url }));
  onTestFinished(async () => {
    await Promise.all(clients.map((client) => client.close()));
  });
  const race = queue('race', { attempts: 6, deadLetterQueue: 'race-dead' });
  await Promise.all(clients.map((client, i) => client.enqueue(race, i)));
  const { rows } = await pool.query(
    `select count(*)::int as n from howdah.jobs where queue = 'race'`,
  );
  expect(rows).toEqual([{ n: 6 }]);
});

test('a pool that was handed in stays open', async ({ url }) => {
  const pool = new pg.Pool({ connectionString: url });
  onTestFinished(() => pool.end());
  const client = createClient({ pool });
  await client.enqueue(queue('handed-in'), 1);
  await client.close();
  expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
});
