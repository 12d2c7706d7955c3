import { createClient, deadLetter, HowdahError, queue, work } from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import { codeOf, errorOf, test } from '../support/client.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, startWorker } from '../support/workers.js';

/** How often a waiter looks although nobody told it anything. */
const LOOK_MS = 5_000;
const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? 0;

describe('result', () => {
  test('is what the handler returned, by handle or by id', async ({ client, url }) => {
    const sums = queue<{ a: number; b: number }, { sum: number }>('sums');
    await client.queues.create(sums);
    await startWorker({ url, queues: [work(sums, ({ payload: { a, b } }) => ({ sum: a + b }))] });
    const handle = await client.enqueue(sums, { a: 1, b: 2 });
    expect(handle).toEqual({ id: handle.id, created: true });
    const { sum } = await handle.result({ timeout: '10s' });
    expect(sum).toBe(3);
    // after it has ended, and again
    expect(await client.result(handle.id)).toEqual({ sum: 3 });
    expect(await Promise.all([handle.result(), handle.result()])).toEqual([{ sum: 3 }, { sum: 3 }]);
  });

  test('nothing returned is null', async ({ client, url, pool }) => {
    const name = await createQueue(pool);
    await startWorker({ url, queues: [work(name, async () => undefined)] });
    expect(await (await client.enqueue(name, 1)).result()).toBeNull();
  });

  test('a job that fails, is cancelled, expires or is discarded rejects with its history', async ({
    client,
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { backoff_ms: 0, backoff_jitter: 0 });
    const dead = await client.enqueue(name, 'fail', { attempts: 2 });
    const given = await client.enqueue(name, 'give up');
    const cancelled = await client.enqueue(name, 'later', { delay: '1h' });
    const expired = await client.enqueue(name, 'expire', { ttl: 1 });
    const all = [dead, given, cancelled, expired].map((handle) =>
      errorOf(handle.result({ timeout: '20s' })),
    );
    await client.jobs.cancel(cancelled.id, 'not wanted');
    await startWorker({
      url,
      queues: [
        work(name, ({ payload }) => {
          if (payload === 'give up') return deadLetter('hopeless');
          throw new Error(`no ${payload}`);
        }),
      ],
    });
    const [failure, hopeless, cancellation, expiry] = await Promise.all(all);
    expect(failure).toMatchObject({
      code: 'HOWDAH_JOB_FAILED',
      message: expect.stringContaining('no fail'),
      details: {
        id: dead.id,
        queue: name,
        state: 'dead',
        attempt: 2,
        reason: 'attempts exhausted',
        errors: [
          { message: 'no fail', attempt: 1 },
          { message: 'no fail', attempt: 2 },
        ],
      },
    });
    expect(hopeless).toMatchObject({ code: 'HOWDAH_JOB_FAILED', details: { reason: 'hopeless' } });
    expect(cancellation).toMatchObject({
      code: 'HOWDAH_JOB_CANCELLED',
      details: { reason: 'not wanted', errors: [] },
    });
    expect(expiry?.code).toBe('HOWDAH_JOB_EXPIRED');
    await client.deadLetters.discard({ ids: [dead.id] });
    expect(await codeOf(dead.result())).toBe('HOWDAH_JOB_DISCARDED');
  });

  test('results that cannot be stored are told, and hang nobody', async ({ client, url, pool }) => {
    const name = await createQueue(pool);
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    const results = [10n, cycle, 'a\0b', 'x'.repeat(5_000_000)];
    await startWorker({
      url,
      queues: [work(name, (({ payload }: { payload: number }) => results[payload]) as never)],
    });
    const handles = await Promise.all(results.map((_, i) => client.enqueue(name, i)));
    for (const handle of handles) {
      expect(await errorOf(handle.result({ timeout: '10s' }))).toMatchObject({
        code: 'HOWDAH_RESULT_NOT_KEPT',
        details: { state: 'completed' },
      });
    }
  });

  test('a queue without history is refused up front; unknown jobs too', async ({
    client,
    pool,
  }) => {
    const name = await createQueue(pool, { retention_ms: 0 });
    const handle = await client.enqueue(name, 1);
    expect(await errorOf(handle.result())).toMatchObject({
      code: 'HOWDAH_RESULT_NOT_KEPT',
      remedy: expect.any(String),
    });
    expect(await errorOf(client.result('987654321'))).toMatchObject({
      code: 'HOWDAH_JOB_UNKNOWN',
      remedy: expect.any(String),
    });
    expect(await codeOf(client.result('x'))).toBe('HOWDAH_OPTION_INVALID');
    expect(await codeOf(client.result('1', { timeout: -1 }))).toBe('HOWDAH_OPTION_INVALID');
  });

  test('time-out and signal end the wait, the job goes on', async ({ client, pool, url }) => {
    const name = await createQueue(pool);
    const handle = await client.enqueue(name, 1);
    expect(await errorOf(handle.result({ timeout: 50 }))).toMatchObject({
      code: 'HOWDAH_TIMEOUT',
      details: { id: handle.id, timeoutMs: 50 },
    });
    const stop = new AbortController();
    const waiting = handle.result({ signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect(handle.result({ signal: AbortSignal.abort('no') })).rejects.toBe('no');
    await startWorker({ url, queues: [work(name, () => 'done')] });
    expect(await handle.result()).toBe('done');
  });

  test('closing the client ends the waits', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const client = createClient({ url });
    const handle = await client.enqueue(name, 1);
    const waiting = errorOf(handle.result());
    const watching = client.watch(handle.id);
    await watching.next();
    const watched = errorOf(watching.next());
    await client.close();
    expect((await waiting).code).toBe('HOWDAH_CLIENT_CLOSED');
    expect((await watched).code).toBe('HOWDAH_CLIENT_CLOSED');
    expect(await codeOf(client.result(handle.id))).toBe('HOWDAH_CLIENT_CLOSED');
  });

  test('a thousand waiters cost fewer than 20 queries a second, and are told of an end before they would look', async ({
    url,
    pool,
    client,
  }) => {
    const name = await createQueue(pool);
    const { ids } = await client.enqueueMany(
      name,
      Array.from({ length: 1000 }, (_, i) => i),
    );
    const counted = new pg.Pool({ connectionString: url });
    let queries = 0;
    counted.on('connect', (connection) => {
      const query = connection.query.bind(connection) as (...args: unknown[]) => unknown;
      Object.assign(connection, {
        query: (...args: unknown[]) => {
          queries += 1;
          return query(...args);
        },
      });
    });
    const own = createClient({ pool: counted });
    onTestFinished(async () => {
      await own.close();
      await counted.end();
    });
    const seen = new Map<string, number>();
    const waits = ids.map(async (id) => {
      await own.result(String(id), { timeout: '60s' });
      seen.set(String(id), performance.now());
    });
    // where the test fails before it awaits them, their ends say nothing
    for (const wait of waits) wait.catch(() => undefined);
    await waitFor(
      async () => {
        const { rows } = await pool.query('select count(*)::int as n from howdah._watches');
        return rows[0].n === 1000;
      },
      { what: 'all to be registered' },
    );
    // the listening connection hears
    const first = String(ids[0]);
    const lease = (await pool.query(`select howdah.open_lease('hand', 60000) as id`)).rows[0].id;
    const complete = async (): Promise<{ id: string; at: number }> => {
      const { rows } = await pool.query('select id, attempt from howdah.claim($1, $2)', [
        name,
        lease,
      ]);
      const [{ id, attempt }] = rows;
      await pool.query('select howdah.complete($1, $2, $3)', [lease, id, attempt]);
      return { id, at: performance.now() };
    };
    expect((await complete()).id).toBe(first);
    await waitFor(() => seen.has(first), { what: 'the first' });
    const since = performance.now();
    const before = queries;
    const took: number[] = [];
    for (let i = 0; i < 25; i += 1) {
      const { id, at } = await complete();
      await waitFor(() => seen.has(id), { what: `the end of ${id}`, intervalMs: 1 });
      took.push((seen.get(id) ?? 0) - at);
      await new Promise((resolve) => setTimeout(resolve, 120));
    }
    const perSecond = ((queries - before) * 1000) / (performance.now() - since);
    expect(perSecond).toBeLessThan(20);
    // a look comes every five seconds; how soon a push arrives is for the benchmark to say
    expect(median(took)).toBeLessThan(LOOK_MS / 10);
    const { rows } = await pool.query('select id, attempt from howdah.claim($1, $2, 1000)', [
      name,
      lease,
    ]);
    await pool.query('select * from howdah.complete_many($1, $2, $3)', [
      lease,
      rows.map(({ id }) => id),
      rows.map(({ attempt }) => attempt),
    ]);
    await Promise.all(waits);
    await waitFor(
      async () =>
        (await pool.query('select count(*)::int as n from howdah._watches')).rows[0].n === 0,
      { what: 'all to be forgotten' },
    );
  });

  test('without notifications the poll finds the end', async ({ url, pool, client }) => {
    const name = await createQueue(pool);
    const proxy = await FaultProxy.start(url);
    onTestFinished(() => proxy.stop());
    proxy.dropNotifications();
    const deaf = createClient({ url: proxy.url });
    onTestFinished(() => deaf.close());
    const { id } = await client.enqueue(name, 1);
    const waiting = deaf.result(id, { timeout: '20s' });
    await waitFor(async () => (await pool.query('select from howdah._watches')).rows.length === 1, {
      what: 'the watch',
    });
    const lease = (await pool.query(`select howdah.open_lease('hand', 60000) as id`)).rows[0].id;
    await pool.query('select * from howdah.claim($1, $2)', [name, lease]);
    await pool.query(`select howdah.complete($1, $2, 1, '7')`, [lease, id]);
    expect(await waiting).toBe(7);
  });

  test('an end that had begun before the wait, and is committed after looks at it, is found before the poll', async ({
    client,
    pool,
  }) => {
    const name = await createQueue(pool);
    const { id } = await client.enqueue(name, 1);
    const lease = (await pool.query(`select howdah.open_lease('hand', 60000) as id`)).rows[0].id;
    await pool.query('select * from howdah.claim($1, $2)', [name, lease]);
    const settling = await pool.connect();
    await settling.query('begin');
    await settling.query(`select howdah.complete($1, $2, 1, '7')`, [lease, id]); // nobody waits: nobody is rung
    const waiting = client.result(id, { timeout: '20s' });
    await waitFor(async () => (await pool.query('select from howdah._watches')).rows.length === 1, {
      what: 'the watch',
    });
    const since = performance.now();
    await waitFor(() => performance.now() - since > 500); // its looks after 100, 200 and 400 ms are over
    await settling.query('commit');
    settling.release();
    expect(await waiting).toBe(7);
    expect(performance.now() - since).toBeLessThan(0.7 * LOOK_MS);
  });

  test('a broken connection is made again, and waits go on', async ({ faulty, client, pool }) => {
    const name = await createQueue(pool);
    const { id } = await client.enqueue(name, 1);
    const waiting = faulty.client.result(id, { timeout: '20s' });
    await waitFor(async () => (await pool.query('select from howdah._watches')).rows.length >= 1, {
      what: 'the watch',
    });
    await pool.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'howdah listen'`,
    );
    const lease = (await pool.query(`select howdah.open_lease('hand', 60000) as id`)).rows[0].id;
    await pool.query('select * from howdah.claim($1, $2)', [name, lease]);
    await pool.query(`select howdah.complete($1, $2, 1, '"after"')`, [lease, id]);
    expect(await waiting).toBe('after');
  });
});

describe('a queue with a resultSchema', () => {
  const dated = queue('dated-results', {
    schema: z.object({ at: z.string() }),
    resultSchema: z.object({ at: z.coerce.date(), n: z.number().default(7) }),
  });

  test('gives what the schema makes of a result, by handle or by id', async ({ client, url }) => {
    await startWorker({ url, queues: [work(dated, ({ payload }) => ({ at: payload.at }))] });
    const handle = await client.enqueue(dated, { at: '2026-01-02' });
    const expected = { at: new Date('2026-01-02'), n: 7 };
    expect(await handle.result({ timeout: '20s' })).toEqual(expected);
    expect(await client.result(handle.id, { queue: dated })).toEqual(expected);
    expect(await client.result(handle.id)).toEqual({ at: '2026-01-02' });
  });

  test('refuses a result that does not fit, with all that is wrong; the job is completed', async ({
    client,
    url,
  }) => {
    await startWorker({ url, queues: [work(dated.name, () => ({ at: 'never', n: 'x' }))] });
    const handle = await client.enqueue(dated, { at: '' });
    const error = await errorOf(handle.result({ timeout: '20s' }));
    expect(error).toMatchObject({
      code: 'HOWDAH_RESULT_INVALID',
      details: { id: handle.id, queue: dated.name, result: { at: 'never', n: 'x' } },
    });
    expect(error.details.issues).toHaveLength(2);
    expect(error.remedy).toBeTruthy();
    expect((await client.jobs.get(handle.id))?.state).toBe('completed');
    const broken = queue(dated.name, {
      resultSchema: {
        '~standard': {
          version: 1,
          vendor: 'test',
          validate: () => Promise.reject(new Error('broken')),
        },
      },
    });
    expect(await errorOf(client.result(handle.id, { queue: broken }))).toMatchObject({
      code: 'HOWDAH_RESULT_INVALID',
      cause: { message: 'broken' },
    });
    expect(() => queue('x', { resultSchema: {} as never })).toThrow('resultSchema');
  });
});

describe('cancel by filter, and edit', () => {
  test('through the client', async ({ client, pool, storedJobs }) => {
    const name = await createQueue(pool);
    await client.enqueueMany(name, [{ a: 1 }, { a: 2 }, { a: 2 }]);
    const later = await client.enqueue(name, { a: 3 }, { delay: '1h' });
    expect(
      await client.jobs.cancelWhere(
        { queue: name, state: 'ready', payload: { a: 2 } },
        { preview: true },
      ),
    ).toEqual({ cancelled: 2, requested: 0, refused: [], more: false });
    expect(
      await client.jobs.cancelWhere(
        { queue: name, payload: { a: 2 } },
        { reason: 'sold out', limit: 1 },
      ),
    ).toMatchObject({ cancelled: 1, more: true });
    expect(await client.jobs.cancelWhere({ queue: name, olderThan: '1h' })).toMatchObject({
      cancelled: 0,
    });
    expect(await client.jobs.edit(later.id, { payload: { a: 4 }, delay: 0, priority: 0 })).toBe(
      'ready',
    );
    expect((await storedJobs(name)).map(({ state, payload }) => [state, payload])).toEqual(
      expect.arrayContaining([
        ['ready', { a: 4 }],
        ['cancelled', { a: 2 }],
      ]),
    );
    const [{ why } = { why: null }] = await client.jobs.cancel('99999999');
    expect(why).toContain('no such job');
    expect(await codeOf(client.jobs.cancelWhere({ kind: 1 } as never))).toBe(
      'HOWDAH_FILTER_INVALID',
    );
    expect(await codeOf(client.jobs.cancelWhere({ state: 'dead' as never }))).toBe(
      'HOWDAH_FILTER_INVALID',
    );
    expect(await codeOf(client.jobs.cancelWhere({ queue: 'nowhere' }))).toBe(
      'HOWDAH_QUEUE_UNKNOWN',
    );
    for (const [edit, code] of [
      [{}, 'HOWDAH_EDIT_INVALID'],
      [{ weight: 1 }, 'HOWDAH_EDIT_INVALID'],
      [{ priority: 1.5 }, 'HOWDAH_PRIORITY_INVALID'],
      [{ payload: 1n }, 'HOWDAH_PAYLOAD_INVALID'],
      [{ delay: 1, runAt: new Date() }, 'HOWDAH_OPTION_INVALID'],
    ] as const) {
      expect(await codeOf(client.jobs.edit(later.id, edit as never)), code).toBe(code);
    }
    await client.jobs.cancel(later.id);
    expect(await errorOf(client.jobs.edit(later.id, { priority: 1 }))).toBeInstanceOf(HowdahError);
    expect(await codeOf(client.jobs.edit(later.id, { priority: 1 }))).toBe('HOWDAH_JOB_ENDED');
    expect(await codeOf(client.jobs.edit('99999999', { priority: 1 }))).toBe('HOWDAH_JOB_UNKNOWN');
  });
});
