import { deadLetter, PermanentError, release, retry, work } from 'howdah';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import {
  createQueue,
  enqueue,
  heard,
  makeWorker,
  readJob,
  startWorker,
  waitForState,
} from '../support/workers.js';

describe('a job that fails', () => {
  test('runs again, sees its errors, and completes', async ({ url, pool }) => {
    const name = await createQueue(pool, { backoff: 'fixed', backoff_ms: 20, backoff_jitter: 0 });
    const seen: { attempt: number; errors: readonly { message: string }[] }[] = [];
    const made = await startWorker({
      url,
      queues: [
        work(name, ({ attempt, errors }) => {
          seen.push({ attempt, errors });
          if (attempt < 3) throw new TypeError(`failure ${attempt}`);
          return { attempts: attempt };
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    const { attempt, result, errors } = await waitForState(pool, id, 'completed');
    expect(attempt).toBe(3);
    expect(result).toEqual({ attempts: 3 });
    expect(seen.map((each) => each.errors.length)).toEqual([0, 1, 2]);
    expect(errors).toMatchObject([
      {
        name: 'TypeError',
        message: 'failure 1',
        attempt: 1,
        stack: expect.stringContaining('at '),
      },
      { name: 'TypeError', message: 'failure 2', attempt: 2 },
    ]);
    const failed = await heard(made, 'job.failed');
    expect(failed).toMatchObject({ job: { id, attempt: 1 }, error: { message: 'failure 1' } });
    expect(failed.runAt).toBeInstanceOf(Date);
  });

  test('out of attempts goes to the dead letters with its whole history', async ({ url, pool }) => {
    const name = await createQueue(pool, { max_attempts: 3, backoff_ms: 0 });
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, ({ attempt }) => {
          throw new Error(`no ${attempt}`);
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    expect(await worker.runOnce()).toMatchObject({ failed: 2, dead: 1, isDrained: true });
    const { state, errors, reason } = await readJob(pool, id);
    expect(state).toBe('dead');
    expect(reason).toBe('attempts exhausted');
    expect(errors?.map(({ message }) => message)).toEqual(['no 1', 'no 2', 'no 3']);
  });

  test('for good is not tried again', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, ({ payload }) => {
          if (payload === 'returned') return deadLetter('no such user');
          throw new PermanentError('no such address');
        }),
      ],
    });
    const [thrown, returned] = await enqueue(pool, name, [{}, { payload: 'returned' }]);
    expect(await worker.runOnce()).toMatchObject({ dead: 2, failed: 0 });
    expect(await readJob(pool, thrown)).toMatchObject({
      state: 'dead',
      reason: 'no such address',
      errors: [{ name: 'PermanentError', message: 'no such address', attempt: 1 }],
    });
    expect(await readJob(pool, returned)).toMatchObject({ state: 'dead', reason: 'no such user' });
  });

  test('asks for a delay of its own instead of the backoff', async ({ url, pool }) => {
    const name = await createQueue(pool, { backoff_ms: 3_600_000 });
    const { worker } = makeWorker({
      url,
      queues: [work(name, ({ attempt }) => (attempt === 1 ? retry(0, 'busy') : undefined))],
    });
    const [id] = await enqueue(pool, name);
    expect(await worker.runOnce()).toMatchObject({ failed: 1, completed: 1 });
    expect((await readJob(pool, id)).errors).toMatchObject([{ message: 'busy', attempt: 1 }]);
  });
});

test('the backoff doubles and is spread by its jitter', async ({ url, pool }) => {
  const policy = { backoff_ms: 10_000, backoff_max_ms: 15_000, backoff_jitter: 0.2 };
  const name = await createQueue(pool, policy);
  const { worker } = makeWorker({
    url,
    queues: [
      work(name, () => {
        throw new Error('again');
      }),
    ],
  });
  const ids = await enqueue(
    pool,
    name,
    Array.from({ length: 20 }, () => ({})),
  );
  const delays: number[] = [];
  for (const _ of [1, 2]) {
    const now = Date.now();
    await worker.runOnce();
    for (const id of ids) {
      const { run_at } = await readJob(pool, id);
      delays.push((run_at?.getTime() ?? 0) - now);
    }
    await pool.query('select howdah.run_now($1::bigint[])', [ids]);
  }
  const first = delays.slice(0, 20);
  const second = delays.slice(20);
  expect(Math.min(...first)).toBeGreaterThan(7_900);
  expect(Math.max(...first)).toBeLessThan(16_000);
  expect(new Set(first).size).toBeGreaterThan(10);
  expect(Math.min(...second)).toBeGreaterThan(11_900);
});

test('a job given back runs again at once and the attempt does not count', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool);
  let calls = 0;
  const { worker } = makeWorker({
    url,
    queues: [
      work(name, () => {
        calls += 1;
        return calls === 1 ? release() : undefined;
      }),
    ],
  });
  const [id] = await enqueue(pool, name);
  expect(await worker.runOnce()).toMatchObject({ released: 1, completed: 1 });
  expect((await readJob(pool, id)).attempt).toBe(1);
});
