import { createClient, HowdahError, work } from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { errorOf } from '../support/client.js';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import { ROOT, spawnScript } from '../support/worker-process.js';
import { createQueue, enqueue, startWorker, waitForState } from '../support/workers.js';

/** A pool of an application; whoever took connections of it gives them back at the end. */
function givenPool(url: string, options: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, ...options });
  onTestFinished(() => pool.end());
  return pool;
}

async function takeAll(pool: pg.Pool): Promise<() => void> {
  const held = await Promise.all(
    Array.from({ length: pool.options.max ?? 10 }, () => pool.connect()),
  );
  let isHeld = true;
  const free = (): void => {
    if (isHeld) for (const client of held) client.release();
    isHeld = false;
  };
  onTestFinished(free);
  return free;
}

describe('a pool of the application of which every connection is taken', () => {
  test('fails what wants one when connectTimeout is over, and says what to do', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const given = givenPool(url, { max: 3 });
    const client = createClient({ pool: given, connectTimeout: '200ms', statementTimeout: '5m' });
    onTestFinished(() => client.close());
    const free = await takeAll(given);
    const calls = [
      () => client.enqueue(name, 1),
      () => client.enqueueMany(name, [1, 2]),
      () => client.queues.stats(),
      () => client.jobs.get('1'),
      () => client.receive(name, { wait: 0 }),
      () => client.queues.pause(name),
      () => client.jobs.cancel('1'),
    ];
    for (const call of calls) {
      const error = await errorOf(call());
      expect(error).toBeInstanceOf(HowdahError);
      expect(error).toMatchObject({
        code: 'HOWDAH_TIMEOUT',
        isRetryable: true,
        details: { option: 'connectTimeout', connectTimeoutMs: 200, max: 3 },
      });
      expect(error.message).toMatch(/in the pool \(max 3\) within 200 ms.*more connections.*`tx`/);
    }
    // a request to a pool cannot be taken back: the next who waits takes it over
    expect(given.waitingCount).toBeLessThanOrEqual(2);
    free();
    await waitFor(() => given.waitingCount === 0 && given.idleCount === given.totalCount);
    expect((await client.enqueue(name, 1)).id).toMatch(/^\d+$/);
    // and whoever waits gets what becomes free
    const freeSoon = await takeAll(given);
    const waiting = [client.enqueue(name, 2), client.enqueue(name, 3), client.queues.stats()];
    setTimeout(freeSoon, 50);
    await Promise.all(waiting);
  });

  test('is told in the same way where the pool has a time-out of its own', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const given = givenPool(url, { max: 2, connectionTimeoutMillis: 3_000 });
    const client = createClient({ pool: given });
    onTestFinished(() => client.close());
    await takeAll(given);
    const error = await errorOf(client.enqueue(name, 1));
    expect(error.code).toBe('HOWDAH_TIMEOUT');
    expect(error.message).toContain('(max 2) within 3000 ms');
  });

  test('a pool of our own says so, too', async ({ url, pool }) => {
    const client = createClient({ url, connectionsMax: 1, connectTimeout: '300ms' });
    onTestFinished(() => client.close());
    const blocker = await pool.connect();
    onTestFinished(() => blocker.release(true));
    await blocker.query('begin; lock table howdah._queues in access exclusive mode');
    const first = client.queues.stats().catch(() => undefined);
    const error = await errorOf(client.queues.stats());
    expect(error.message).toContain('(max 1) within 300 ms');
    await blocker.query('rollback');
    await first;
  });

  test('fails an attempt that needs a transaction, which is tried again', async ({ url, pool }) => {
    const name = await createQueue(pool, { backoff: 'fixed', backoff_ms: 100 });
    const given = givenPool(url, { max: 3 });
    await startWorker({
      pool: given,
      connectTimeout: '300ms',
      queues: [work(name, () => undefined, { transactional: true, concurrency: 1 })],
    });
    const free = await takeAll(given);
    const [id] = await enqueue(pool, name);
    const failed = `select errors -> 0 ->> 'code' as code from howdah.jobs where id = $1`;
    await waitFor(async () => (await pool.query(failed, [id])).rows[0]?.code === 'HOWDAH_TIMEOUT', {
      timeoutMs: 20_000,
      what: 'the attempt to fail',
    });
    free();
    await waitForState(pool, id, 'completed', 20_000);
  });

  test('handlers that hold all of it and want one more do not wait for ever', async ({
    url,
    pool,
  }) => {
    const [name, other] = [await createQueue(pool), await createQueue(pool)];
    const given = givenPool(url, { max: 4 });
    const client = createClient({ pool: given, connectTimeout: '300ms' });
    onTestFinished(() => client.close());
    await client.queues.stats(); // the version is checked
    const codes: string[] = [];
    let holding = 0;
    const handler = async (): Promise<void> => {
      const held = await given.connect();
      holding += 1;
      try {
        if (codes.length === 0) await waitFor(() => holding >= 4 || codes.length > 0);
        await client.enqueue(other, 1).catch((error: HowdahError) => codes.push(error.code));
      } finally {
        held.release();
        holding -= 1;
      }
    };
    await startWorker({ url, queues: [work(name, handler, { concurrency: 4 })] });
    const ids = await enqueue(
      pool,
      name,
      Array.from({ length: 8 }, () => ({})),
    );
    for (const id of ids) await waitForState(pool, id, 'completed', 20_000);
    expect(codes).toContain('HOWDAH_TIMEOUT');
  });
});

describe('a pool of the application without a listener', () => {
  test('does not end its process when its connections are terminated', { timeout: 60_000 }, async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { backoff: 'fixed', backoff_ms: 100 });
    const child = spawnScript(`${ROOT}test/support/scripts/given-pool.mjs`, [], {
      env: { PROGRAM: JSON.stringify({ url, queue: name }) },
    });
    await child.waitForOutput(/^ready$/m);
    await child.waitForOutput('done "first"');
    for (let round = 0; round < 5; round += 1) {
      const { rowCount } = await pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name ~ '^(given|howdah)'`,
      );
      expect(rowCount).toBeGreaterThan(1);
      await enqueue(pool, name, [{ payload: `round ${round}` }]);
      await child.waitForOutput(`done "round ${round}"`);
    }
    child.kill('SIGTERM');
    expect(await child.exited, child.output).toEqual({ code: 0, signal: null });
    expect(child.stdout).toContain('listeners 0');
    expect(child.stderr).toBe('');
  });

  test('has connections that are listened to from the moment they are taken', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const given = givenPool(url);
    const client = createClient({ pool: given });
    onTestFinished(() => client.close());
    const unheard: string[] = [];
    let taken = 0;
    // The packet that made a connection may say as well that it is terminated: no promise has run until then.
    given.on('acquire', (connection) => {
      taken += 1;
      process.nextTick(() => {
        if (connection.listenerCount('error') === 0) unheard.push(`taken as number ${taken}`);
      });
    });
    for (let i = 0; i < 3; i += 1) {
      await client.enqueue(name, i);
      await client.queues.stats(name);
    }
    expect(taken).toBeGreaterThan(3);
    expect(unheard).toEqual([]);
  });

  test('is listened to once, however many clients use it, until the last is closed', async ({
    url,
  }) => {
    const given = givenPool(url);
    const clients = Array.from({ length: 20 }, () => createClient({ pool: given }));
    expect(given.listenerCount('error')).toBe(1);
    await Promise.all(clients.slice(1).map((client) => client.close()));
    await clients[1]?.close();
    expect(given.listenerCount('error')).toBe(1);
    await clients[0]?.close();
    expect(given.listenerCount('error')).toBe(0);
  });
});
