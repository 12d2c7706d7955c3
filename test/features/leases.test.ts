import { work } from 'howdah';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import {
  createQueue,
  enqueue,
  heard,
  readJob,
  startWorker,
  waitForState,
} from '../support/workers.js';

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

test('a heartbeat renews one row, however many jobs run', async ({ url, pool }) => {
  const name = await createQueue(pool);
  let running = 0;
  const { worker } = await startWorker({
    url,
    lease: '1s',
    queues: [
      work(
        name,
        async () => {
          running += 1;
          await sleep(2_500);
        },
        { concurrency: 50 },
      ),
    ],
  });
  const ids = await enqueue(
    pool,
    name,
    Array.from({ length: 50 }, () => ({})),
  );
  await waitFor(() => running === 50);
  const expiry = async (): Promise<number> => {
    const { rows } = await pool.query('select expires_at from howdah._leases');
    expect(rows).toHaveLength(1);
    return rows[0].expires_at.getTime();
  };
  const first = await expiry();
  await waitFor(async () => (await expiry()) > first + 1_000);
  for (const id of ids) await waitForState(pool, id, 'completed');
  expect(running).toBe(50);
  await worker.stop();
});

describe('a lease that is taken away', () => {
  test('voids what runs under it; the worker opens another and goes on', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const reasons: unknown[] = [];
    const made = await startWorker({
      url,
      lease: '2s',
      queues: [
        work(name, ({ attempt }, { signal }) => {
          if (attempt > 1) return 'second attempt';
          return new Promise((resolve) => {
            signal.addEventListener('abort', () => {
              reasons.push(signal.reason);
              resolve('first attempt');
            });
          });
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    await waitForState(pool, id, 'running');
    const before = await heard(made, 'lease.opened');
    await pool.query("update howdah._leases set expires_at = '-infinity'");
    await pool.query('select * from howdah.reap()');
    expect(await heard(made, 'lease.lost')).toMatchObject({ leaseId: before.leaseId });
    const { result, errors } = await waitForState(pool, id, 'completed');
    expect(result).toBe('second attempt');
    expect(errors).toMatchObject([{ name: 'LeaseExpired', attempt: 1 }]);
    expect(reasons).toMatchObject([{ code: 'HOWDAH_LEASE_LOST' }]);
    expect(made.events.filter(({ type }) => type === 'lease.opened')).toHaveLength(2);
    expect(made.events.filter(({ type }) => type === 'job.completed')).toHaveLength(1);
  });
});

describe('cancelling a running job', () => {
  test('aborts its signal and ends it as cancelled', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const reasons: unknown[] = [];
    await startWorker({
      url,
      queues: [
        work(name, (_job, { signal }) => {
          return new Promise((_, reject) => {
            signal.addEventListener('abort', () => {
              reasons.push(signal.reason);
              reject(signal.reason);
            });
          });
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    await waitForState(pool, id, 'running');
    const { rows } = await pool.query('select outcome from howdah.cancel($1::bigint[])', [[id]]);
    expect(rows).toEqual([{ outcome: 'requested' }]);
    await waitForState(pool, id, 'cancelled', 3_000);
    expect(reasons).toMatchObject([{ code: 'HOWDAH_JOB_CANCELLED' }]);
  });

  test('ends it although its handler goes on, and frees the slot', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const made = await startWorker({
      url,
      queues: [
        work(name, ({ payload }) => (payload === 'hang' ? new Promise(() => {}) : undefined), {
          concurrency: 1,
        }),
      ],
    });
    const [hanging, next] = await enqueue(pool, name, [{ payload: 'hang' }, {}]);
    await waitForState(pool, hanging, 'running');
    await pool.query('select * from howdah.cancel($1::bigint[])', [[hanging]]);
    await waitForState(pool, hanging, 'cancelled');
    await waitForState(pool, next, 'completed');
    expect(await heard(made, 'handler.leaked')).toMatchObject({ job: { id: hanging } });
  });

  test('that was claimed ahead and has not begun', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const ran: string[] = [];
    let release = (): void => {};
    await startWorker({
      url,
      queues: [
        work(
          name,
          ({ id }) => {
            ran.push(id);
            return new Promise<void>((resolve) => {
              release = resolve;
            });
          },
          { concurrency: 1, prefetch: 5 },
        ),
      ],
    });
    const [first, second] = await enqueue(pool, name, [{}, {}]);
    await waitForState(pool, second, 'running');
    await pool.query('select * from howdah.cancel($1::bigint[])', [[second]]);
    await waitForState(pool, second, 'cancelled');
    release();
    await waitForState(pool, first, 'completed');
    expect(ran).toEqual([first]);
  });
});

describe('a run time-out', () => {
  test('fails the attempt, tells its signal, and frees the slot of a handler that never ends', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { timeout_ms: 80, backoff_ms: 3_600_000 });
    const reasons: unknown[] = [];
    const made = await startWorker({
      url,
      queues: [
        work(
          name,
          ({ payload }, { signal }) => {
            signal.addEventListener('abort', () => reasons.push(signal.reason));
            return payload === 'hang' ? new Promise(() => {}) : undefined;
          },
          { concurrency: 1 },
        ),
      ],
    });
    const [hanging, next] = await enqueue(pool, name, [{ payload: 'hang' }, {}]);
    const { errors } = await waitForState(pool, hanging, 'scheduled');
    expect(errors).toMatchObject([
      { code: 'HOWDAH_JOB_TIMEOUT', message: expect.stringContaining('80 ms'), attempt: 1 },
    ]);
    await waitForState(pool, next, 'completed');
    expect(reasons).toMatchObject([{ code: 'HOWDAH_JOB_TIMEOUT' }]);
    expect(await heard(made, 'job.timed-out')).toMatchObject({ timeoutMs: 80 });
    expect(await heard(made, 'handler.leaked')).toMatchObject({ job: { id: hanging } });
  });

  test('is accurate', async ({ url, pool }) => {
    const name = await createQueue(pool, { timeout_ms: 200, backoff_ms: 3_600_000 });
    const tookMs: number[] = [];
    await startWorker({
      url,
      queues: [
        work(name, (_job, { signal }) => {
          const startedAt = performance.now();
          return new Promise<void>((resolve) => {
            signal.addEventListener('abort', () => {
              tookMs.push(performance.now() - startedAt);
              resolve();
            });
          });
        }),
      ],
    });
    const ids = await enqueue(
      pool,
      name,
      Array.from({ length: 10 }, () => ({})),
    );
    for (const id of ids) await waitForState(pool, id, 'scheduled');
    // it counts from before the handler is called
    expect(Math.min(...tookMs)).toBeGreaterThan(150);
    expect(tookMs.sort((a, b) => a - b)[5]).toBeLessThan(260);
  });

  test('of null lets a job run as long as it likes; a late result still counts', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { timeout_ms: null });
    await startWorker({ url, lease: '1s', queues: [work(name, () => sleep(1_500))] });
    const [id] = await enqueue(pool, name);
    await waitForState(pool, id, 'completed');
    expect((await readJob(pool, id)).attempt).toBe(1);
  });
});
