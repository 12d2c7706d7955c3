import { AssertionError } from 'node:assert';
import {
  createClient,
  createWorker,
  deadLetter,
  type Handler,
  queue,
  rateLimited,
  release,
  silentLogger,
  snooze,
  work,
} from 'howdah';
import {
  assertEnqueued,
  createTestDatabase,
  drain,
  dropTestDatabases,
  performJob,
  permitTimeTravel,
  refuteEnqueued,
  type TestDatabase,
  testTime,
} from 'howdah/testing';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import { test as base, codeOf } from '../support/client.js';
import { startOwnServer } from '../support/own-server.js';
import { createQueue, enqueue, readJob, startWorker, waitForState } from '../support/workers.js';

const HOUR_MS = 3_600_000;

const test = base.extend<{ made: TestDatabase; madePool: pg.Pool }>({
  made: async ({ url }, use) => {
    const made = await createTestDatabase({ url });
    await use(made);
    await made.drop();
  },
  madePool: async ({ made }, use) => {
    const pool = new pg.Pool({ connectionString: made.url });
    pool.on('error', () => undefined);
    await use(pool);
    await pool.end();
  },
});

describe('performJob', () => {
  const mail = queue('perform-mail', { schema: z.object({ to: z.email() }), timeout: '300ms' });

  test('runs that one job as a worker would, and tells its outcome', async ({ url, pool }) => {
    const name = await createQueue(pool, { backoff_ms: 60_000 });
    const [other] = await enqueue(pool, name, [{ payload: { from: 'another test' } }]);
    const perform = (handler: Handler) => performJob(work(name, handler), { n: 1 }, { url });

    expect(await perform((job) => ({ was: job.payload as { n: number } }))).toMatchObject({
      outcome: 'completed',
      result: { was: { n: 1 } },
      runAt: null,
      job: { state: 'completed', queue: name, attempt: 1, priority: 0 },
    });
    const failed = await perform(() => {
      throw new TypeError('broken');
    });
    expect(failed).toMatchObject({
      outcome: 'failed',
      error: { name: 'TypeError', message: 'broken' },
      job: { state: 'scheduled', errors: [{ message: 'broken', attempt: 1 }] },
    });
    expect(failed.runAt?.getTime()).toBeGreaterThan(Date.now());
    expect(await perform(() => snooze('1h'))).toMatchObject({ outcome: 'snoozed' });
    expect(await perform(() => release())).toMatchObject({ outcome: 'released' });
    expect(await perform(() => deadLetter('no use'))).toMatchObject({
      outcome: 'dead',
      job: { state: 'dead', reason: 'no use' },
    });
    const limited = await perform(() => rateLimited({ retryAfter: '1h' }));
    expect(limited.outcome).toBe('rate-limited');
    expect(await readJob(pool, other)).toMatchObject({ state: 'ready', attempt: 0 });
    expect(await codeOf(perform(() => undefined))).toBe('HOWDAH_OPTION_INVALID');
  });

  test('with the schema, the time-out, a transaction, options', async ({ url, pool }) => {
    expect(
      await codeOf(
        performJob(
          work(mail, () => undefined),
          { to: 'nobody' },
          { url },
        ),
      ),
    ).toBe('HOWDAH_PAYLOAD_INVALID');
    const late = work(mail, () => new Promise<undefined>(() => undefined));
    expect(await performJob(late, { to: 'ann@example.com' }, { url })).toMatchObject({
      outcome: 'failed',
      error: { code: 'HOWDAH_JOB_TIMEOUT' },
    });
    const settled = work(mail, async (_job, context) => {
      const tx = await pool.connect();
      try {
        await tx.query('begin');
        await context.completeIn(tx, 'in its transaction');
        await tx.query('commit');
      } finally {
        tx.release();
      }
    });
    const options = { priority: 7, headers: { tenant: 'a' } };
    expect(
      await performJob(settled, { to: 'ann@example.com' }, { url, job: options }),
    ).toMatchObject({
      outcome: 'completed',
      result: 'in its transaction',
      job: { priority: 7, headers: { tenant: 'a' } },
    });
  });
});

describe('drain', () => {
  test('runs what is ready and what that enqueues, and leaves what is due later', async ({
    url,
    client,
  }) => {
    const first = queue<{ n: number }>('drain-first');
    const second = queue<{ n: number }>('drain-second', { backoff: { delay: '1h' } });
    const seen: number[] = [];
    const queues = [
      work(first, async ({ payload }) => {
        await client.enqueue(second, payload);
      }),
      work(second, ({ payload, attempt }) => {
        seen.push(payload.n);
        if (payload.n === 2 && attempt === 1) throw new Error('the first time');
      }),
    ];
    await client.enqueueMany(first, [{ n: 1 }, { n: 2 }]);
    await client.enqueue(first, { n: 3 }, { delay: '24h' });
    expect(await drain({ url, queues })).toMatchObject({ completed: 3, failed: 1 });
    expect(seen.sort()).toEqual([1, 2]);
    expect(await drain({ url, queues, scheduled: true })).toMatchObject({
      completed: 3,
      failed: 0,
    });
    expect(seen.sort()).toEqual([1, 2, 2, 3]);
  });

  test('ends, whatever the handlers do', async ({ url, pool }) => {
    const name = await createQueue(pool);
    await enqueue(pool, name);
    const forEver = [work(name, () => snooze('1h'))];
    expect(await codeOf(drain({ url, queues: forEver, scheduled: true, rounds: 3 }))).toBe(
      'HOWDAH_TIMEOUT',
    );
    const stuck = await createQueue(pool);
    await enqueue(pool, stuck);
    const never = [work(stuck, () => new Promise<undefined>(() => undefined))];
    expect(await codeOf(drain({ url, queues: never, deadline: 300 }))).toBe('HOWDAH_TIMEOUT');
    expect(await codeOf(drain({ url, queues: never, rounds: 0 }))).toBe('HOWDAH_OPTION_INVALID');
    expect(await codeOf(drain({ url, queues: never, deadline: 'soon' as never }))).toBe(
      'HOWDAH_OPTION_INVALID',
    );
  });
});

describe('assertEnqueued and refuteEnqueued', () => {
  test('look into an open transaction, which others do not see', async ({ pool, client }) => {
    const mail = queue<{ to: string; body: { lines: string[] } }>('assert-mail');
    const payload = { to: 'ann', body: { lines: ['a', 'b'] } };
    const tx = await pool.connect();
    try {
      await tx.query('begin');
      await client.enqueue(mail, payload, { tx, priority: 3, headers: { tenant: 't' } });
      await assertEnqueued(tx, { queue: mail });
      await assertEnqueued(tx, { queue: 'assert-mail', payload: { to: 'ann' }, count: 1 });
      await assertEnqueued(tx, { queue: mail, payload: { body: { lines: ['b'] } }, priority: 3 });
      await assertEnqueued(tx, { queue: mail, headers: { tenant: 't' }, state: 'ready' });
      await refuteEnqueued(tx, { queue: mail, payload: { to: 'bob' } });
      await refuteEnqueued(tx, { queue: mail, priority: 4 });
      await refuteEnqueued(tx, { queue: mail, group: 'g' });
      await refuteEnqueued(pool, { queue: mail });
      await assertEnqueued(tx, { queue: mail, payload: { to: 'bob' }, count: 0 });
    } finally {
      await tx.query('rollback');
      tx.release();
    }
    await refuteEnqueued(pool, { queue: mail });
  });

  test('what fails says what is there', async ({ url, client }) => {
    const mail = queue<{ to: string }>('assert-says');
    await client.enqueue(mail, { to: 'ann' });
    const failed = assertEnqueued(url, { queue: mail, payload: { to: 'bob' }, count: 2 });
    await expect(failed).rejects.toThrow(AssertionError);
    await expect(failed).rejects.toThrow(
      /Expected 2 jobs in queue assert-says like \{"payload":\{"to":"bob"\}\}, found 0\. Of 1, the newest:\n.*"to":"ann"/,
    );
    await expect(refuteEnqueued(url, { queue: mail })).rejects.toThrow(/Expected none jobs/);
    await expect(assertEnqueued(url, { queue: 'nothing-here' })).rejects.toThrow('None is there.');
  });

  test('finished jobs count where they are asked for', async ({ url, client }) => {
    const mail = queue<{ to: string }>('assert-finished');
    await client.enqueue(mail, { to: 'ann' });
    await drain({ url, queues: [work(mail, () => undefined)] });
    await refuteEnqueued(url, { queue: mail });
    await assertEnqueued(url, { queue: mail, state: ['completed', 'dead'], count: 1 });
  });

  test('bad expectations', async ({ url, pool }) => {
    expect(await codeOf(assertEnqueued(url, { queue: 'no spaces' }))).toBe(
      'HOWDAH_QUEUE_NAME_INVALID',
    );
    expect(await codeOf(assertEnqueued(url, { queue: 'q', count: -1 }))).toBe(
      'HOWDAH_OPTION_INVALID',
    );
    expect(await codeOf(assertEnqueued(url, { queue: 'q', payload: 1n as never }))).toBe(
      'HOWDAH_PAYLOAD_INVALID',
    );
    const client = await pool.connect();
    try {
      expect(await codeOf(assertEnqueued(client, { queue: 'q' }))).toBe(
        'HOWDAH_TRANSACTION_INVALID',
      );
    } finally {
      client.release();
    }
  });
});

describe('time of a test database', () => {
  test('travels, stands still, goes on', async ({ made }) => {
    const time = testTime(made);
    const start = await time.now();
    expect(Math.abs(start.getTime() - Date.now())).toBeLessThan(5_000);
    const later = await time.travel('1h');
    expect(later.getTime() - start.getTime()).toBeGreaterThanOrEqual(HOUR_MS);
    expect(later.getTime() - start.getTime()).toBeLessThan(HOUR_MS + 10_000);
    const frozen = await time.freeze();
    expect(await time.now()).toEqual(frozen);
    expect(await time.travel(1_000)).toEqual(new Date(frozen.getTime() + 1_000));
    const summer = new Date('2031-07-01T12:00:00Z');
    expect(await time.travel(summer)).toEqual(summer);
    expect(await time.now()).toEqual(summer);
    const resumed = await time.resume();
    expect(resumed.getTime()).toBeGreaterThanOrEqual(summer.getTime());
    expect((await time.now()).getTime()).toBeGreaterThan(resumed.getTime());
    expect(await time.freeze(new Date(0))).toEqual(new Date(0));
    const back = await time.reset();
    expect(Math.abs(back.getTime() - Date.now())).toBeLessThan(5_000);
  });

  test('delays, retries and time to live follow it, also in sessions that are open', async ({
    made,
    madePool,
  }) => {
    const time = testTime({ pool: madePool });
    const client = createClient({ pool: madePool });
    onTestFinished(() => client.close());
    const name = await createQueue(madePool, {
      backoff_ms: 86_400_000,
      backoff_max_ms: 86_400_000,
      backoff_jitter: 0,
    });
    const queues = [
      work(name, ({ attempt, payload }) => {
        if (payload === 'fails once' && attempt === 1) throw new Error('once');
      }),
    ];
    const { id: delayed } = await client.enqueue(name, 'delayed', { delay: '1h' });
    const { id: failing } = await client.enqueue(name, 'fails once');
    const { id: expiring } = await client.enqueue(name, 'expires', { ttl: '30m', delay: '2h' });
    expect(await drain({ url: made.url, queues })).toMatchObject({ completed: 0, failed: 1 });
    await time.travel('1h');
    expect(await drain({ url: made.url, queues })).toMatchObject({ completed: 1 });
    expect((await client.jobs.get(delayed))?.state).toBe('completed');
    await time.travel('24h');
    await time.travel('6h');
    expect(await drain({ url: made.url, queues })).toMatchObject({ completed: 1, expired: 1 });
    expect((await client.jobs.get(failing))?.state).toBe('completed');
    expect((await client.jobs.get(expiring))?.state).toBe('expired');
  });

  test('a worker that runs through a leap beyond its lease leads on, and keeps its job', async ({
    made,
    madePool,
  }) => {
    const name = await createQueue(madePool);
    let finish: (value: string) => void = () => undefined;
    const finished = new Promise<string>((resolve) => {
      finish = resolve;
    });
    const worker = await startWorker({
      url: made.url,
      queues: [work(name, ({ payload }) => (payload === 'later' ? 'on time' : finished))],
    });
    const [id] = await enqueue(madePool, name);
    await waitForState(madePool, id, 'running');
    const [later] = await enqueue(madePool, name, [{ payload: 'later', delay_ms: 3_000_000 }]);
    await testTime(made).travel('1h');
    expect(await waitForState(madePool, later, 'completed', 20_000)).toMatchObject({ attempt: 1 });
    finish('not lost');
    expect(await waitForState(madePool, id, 'completed', 20_000)).toMatchObject({
      result: 'not lost',
      attempt: 1,
      errors: null,
    });
    expect(worker.events.filter(({ type }) => type === 'lease.lost')).toEqual([]);
  });

  test('two tests that move it at once both do', async ({ made }) => {
    const time = testTime(made);
    const before = await time.freeze(new Date('2030-01-01T00:00:00Z'));
    await Promise.all(Array.from({ length: 8 }, () => time.travel(1_000)));
    expect((await time.now()).getTime() - before.getTime()).toBe(8_000);
  });

  test('is refused where the schema was not made for tests', async ({ url, pool }) => {
    const time = testTime({ url });
    for (const move of [
      () => time.travel('1h'),
      () => time.freeze(),
      () => time.resume(),
      () => time.reset(),
    ]) {
      expect(await codeOf(move())).toBe('HOWDAH_CLOCK_FIXED');
    }
    const { rows } = await pool.query(
      "select prosrc from pg_proc where oid = 'howdah.clock()'::regprocedure",
    );
    expect(rows[0].prosrc).not.toContain('interval');
    expect((await time.now()).getTime()).toBeGreaterThan(0);
  });

  test('bad times', async ({ made }) => {
    const time = testTime(made);
    for (const bad of [-1, 'yesterday', Number.NaN, new Date(Number.NaN), null, '11 years']) {
      expect(await codeOf(time.travel(bad as never)), String(bad)).toBe('HOWDAH_OPTION_INVALID');
    }
    expect(await codeOf(time.freeze('noon' as never))).toBe('HOWDAH_OPTION_INVALID');
  });
});

describe('createTestDatabase', () => {
  test('makes clones that do not meet, several at once', async ({ url }) => {
    const made = await Promise.all([1, 2, 3].map(() => createTestDatabase({ url })));
    onTestFinished(async () => {
      await Promise.all(made.map((each) => each.drop()));
    });
    expect(new Set(made.map(({ name }) => name)).size).toBe(3);
    const [first, second] = made as [TestDatabase, TestDatabase];
    await performJob(
      work(queue('mine'), () => undefined),
      {},
      { url: first.url },
    );
    const client = createClient({ url: second.url });
    expect(await client.queues.stats('mine')).toEqual([]);
    await client.close();
    await testTime(first).travel('1h');
    const other = await testTime(second).now();
    expect(Math.abs(other.getTime() - Date.now())).toBeLessThan(10_000);
  });

  test('with tables of the application and another schema, prepared once', async ({ url }) => {
    let prepared = 0;
    const options = {
      url,
      schema: 'jobs',
      prepareVersion: `accounts ${process.pid}`,
      prepare: async (template: string) => {
        prepared += 1;
        const client = new pg.Client(template);
        await client.connect();
        await client.query('create table accounts (id integer)');
        await client.end();
      },
    };
    for (const made of [await createTestDatabase(options), await createTestDatabase(options)]) {
      const client = new pg.Client(made.url);
      await client.connect();
      await client.query('insert into accounts values (1)');
      const { rows } = await client.query('select id from accounts');
      expect(rows).toEqual([{ id: 1 }]);
      await client.end();
      const time = testTime({ url: made.url, schema: 'jobs' });
      await time.travel('1h');
      await made.drop();
    }
    expect(prepared).toBe(1);
  });

  test('a preparation that fails leaves nothing behind that others would take', async ({ url }) => {
    const options = { url, prepareVersion: `fails ${process.pid}` };
    const failing = createTestDatabase({
      ...options,
      prepare: () => Promise.reject(new Error('no tables today')),
    });
    await expect(failing).rejects.toThrow('no tables today');
    const made = await createTestDatabase({ ...options, prepare: async () => undefined });
    await made.drop();
  });

  test('bad options', async () => {
    const made = (options: object): Promise<string> =>
      codeOf(createTestDatabase(options as { url: string }));
    expect(await made({})).toBe('HOWDAH_OPTION_INVALID');
    expect(await made({ url: 'mysql://here' })).toBe('HOWDAH_OPTION_INVALID');
    expect(await made({ url: 'postgres://h1,h2/db' })).toBe('HOWDAH_OPTION_INVALID');
    const url = 'postgres://localhost/x';
    expect(await made({ url, schema: 'No' })).toBe('HOWDAH_OPTION_INVALID');
    expect(await made({ url, prepare: async () => undefined })).toBe('HOWDAH_OPTION_INVALID');
    expect(await codeOf(dropTestDatabases({ url: 'nonsense' }))).toBe('HOWDAH_OPTION_INVALID');
  });

  test('all of a server are dropped, and nothing else', async () => {
    const server = await startOwnServer({});
    const mine = await createTestDatabase({ url: server.url });
    const client = new pg.Client(server.url);
    await client.connect();
    await client.query('create database howdah_test_of_somebody');
    const dropped = await dropTestDatabases({ url: server.url });
    expect(dropped).toEqual([mine.name, expect.stringMatching(/^howdah_template_/)].sort());
    const { rows } = await client.query(
      "select datname from pg_database where datname like 'howdah\\_%'",
    );
    expect(rows).toEqual([{ datname: 'howdah_test_of_somebody' }]);
    await client.end();
  });

  test('an ordinary schema can be permitted to travel', async ({ createDatabase }) => {
    const url = await createDatabase('migrated');
    await permitTimeTravel({ url });
    await testTime({ url }).travel('1h');
    const worker = createWorker({
      url,
      queues: [work('q', () => undefined)],
      logger: silentLogger,
    });
    expect(await codeOf(worker.start())).toBe('HOWDAH_QUEUE_UNKNOWN');
  });
});
