import { snooze, work } from 'howdah';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import {
  createQueue,
  enqueue,
  makeWorker,
  readJob,
  startWorker,
  waitForState,
} from '../support/workers.js';

describe('a batch handler', () => {
  test('gets many jobs in one call', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const sizes: number[] = [];
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, (jobs) => void sizes.push(jobs.length), { batch: { size: 10 }, concurrency: 1 }),
      ],
    });
    await enqueue(
      pool,
      name,
      Array.from({ length: 25 }, () => ({})),
    );
    expect(await worker.runOnce()).toMatchObject({ completed: 25 });
    expect(sizes.reduce((sum, size) => sum + size)).toBe(25);
    expect(Math.max(...sizes)).toBe(10);
  });

  test('waits for its batch to fill, but not for ever', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const sizes: number[] = [];
    await startWorker({
      url,
      queues: [
        work(name, (jobs) => void sizes.push(jobs.length), {
          batch: { size: 10, wait: '400ms' },
          concurrency: 1,
        }),
      ],
    });
    const ids: (string | undefined)[] = [];
    for (let n = 0; n < 4; n++) ids.push(...(await enqueue(pool, name)));
    for (const id of ids) await waitForState(pool, id, 'completed');
    expect(sizes).toEqual([4]);
  });

  test('says of each job what became of it, as an array', async ({ url, pool }) => {
    const name = await createQueue(pool, { backoff_ms: 3_600_000 });
    const { worker } = makeWorker({
      url,
      queues: [
        work(
          name,
          (jobs) =>
            jobs.map(({ payload }) => {
              if (payload === 'fails') return new Error('not this one');
              if (payload === 'later') return snooze('1h');
              return payload === 'result' ? { ok: 1 } : undefined;
            }),
          { batch: { size: 10 } },
        ),
      ],
    });
    const [a, b, c, d] = await enqueue(
      pool,
      name,
      ['fails', 'later', 'result', 'fine'].map((payload) => ({ payload })),
    );
    expect(await worker.runOnce()).toMatchObject({ failed: 1, snoozed: 1, completed: 2 });
    expect(await readJob(pool, a)).toMatchObject({
      state: 'scheduled',
      errors: [{ message: 'not this one' }],
    });
    expect((await readJob(pool, b)).state).toBe('scheduled');
    expect(await readJob(pool, c)).toMatchObject({ state: 'completed', result: { ok: 1 } });
    expect(await readJob(pool, d)).toMatchObject({ state: 'completed', result: null });
  });

  test('or as a Map by id; what is not in it is complete', async ({ url, pool }) => {
    const name = await createQueue(pool, { backoff_ms: 3_600_000 });
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, (jobs) => new Map(jobs.slice(0, 1).map(({ id }) => [id, new Error('no')])), {
          batch: { size: 10 },
        }),
      ],
    });
    await enqueue(pool, name, [{}, {}, {}]);
    expect(await worker.runOnce()).toMatchObject({ failed: 1, completed: 2 });
  });

  test.for([
    ['an array of the wrong length', () => [undefined]],
    ['anything else', () => ({ ok: true })],
    [
      'an exception',
      () => {
        throw new Error('all');
      },
    ],
  ])('%s fails them all', async ([, handler], { url, pool }) => {
    const name = await createQueue(pool, { backoff_ms: 3_600_000 });
    const { worker } = makeWorker({
      url,
      queues: [work(name, handler as never, { batch: { size: 10 } })],
    });
    await enqueue(pool, name, [{}, {}, {}]);
    expect(await worker.runOnce()).toMatchObject({ failed: 3, completed: 0 });
  });

  test('a time-out fails them all and tells the signal', async ({ url, pool }) => {
    const name = await createQueue(pool, { timeout_ms: 100, backoff_ms: 3_600_000 });
    let isAborted = false;
    const { worker } = makeWorker({
      url,
      queues: [
        work(
          name,
          (_jobs, { signal }) =>
            new Promise((_, reject) => {
              signal.addEventListener('abort', () => {
                isAborted = true;
                reject(signal.reason);
              });
            }),
          { batch: { size: 10 } },
        ),
      ],
    });
    const [id] = await enqueue(pool, name, [{}, {}, {}]);
    expect(await worker.runOnce()).toMatchObject({ failed: 3 });
    await waitFor(() => isAborted);
    expect((await readJob(pool, id)).errors).toMatchObject([{ code: 'HOWDAH_JOB_TIMEOUT' }]);
  });

  test('on demand gets jobs of one group key only, in order', async ({ url, pool }) => {
    const name = await createQueue(pool, { group_concurrency: 10 });
    const calls: unknown[][] = [];
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, (jobs) => void calls.push(jobs.map(({ payload }) => payload)), {
          batch: { size: 4, byGroup: true },
          concurrency: 1,
        }),
      ],
    });
    const keys = ['a', 'b', undefined, 'a', 'b', 'a', undefined, 'a', 'a', 'b'];
    await enqueue(
      pool,
      name,
      keys.map((group, n) => ({ group, payload: `${group ?? '-'}${n}` })),
    );
    expect(await worker.runOnce()).toMatchObject({ completed: 10 });
    const ofKey = (key: string) => calls.filter(([first]) => String(first).startsWith(key));
    expect(ofKey('a')).toEqual([['a0', 'a3', 'a5', 'a7'], ['a8']]);
    expect(ofKey('b')).toEqual([['b1', 'b4', 'b9']]);
    expect(ofKey('-')).toEqual([['-2', '-6']]);
  });

  test('waits for each group by itself', async ({ url, pool }) => {
    const name = await createQueue(pool, { group_concurrency: 10 });
    const calls: string[] = [];
    await startWorker({
      url,
      queues: [
        work(name, (jobs) => void calls.push(jobs.map(({ payload }) => payload).join()), {
          batch: { size: 3, wait: '4s', byGroup: true },
          concurrency: 1,
        }),
      ],
    });
    const [slow] = await enqueue(pool, name, [{ group: 'slow', payload: 's' }]);
    const full = await enqueue(
      pool,
      name,
      [1, 2, 3].map((payload) => ({ group: 'full', payload })),
    );
    for (const id of full) await waitForState(pool, id, 'completed');
    expect(calls).toEqual(['1,2,3']); // did not wait, and did not take the other along
    await waitForState(pool, slow, 'completed');
    expect(calls).toEqual(['1,2,3', 's']);
  });

  test('a group that fails in part goes on with the rest, and with what failed', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { group_concurrency: 5, backoff_ms: 0, max_attempts: 2 });
    const calls: string[] = [];
    const { worker } = makeWorker({
      url,
      queues: [
        work(
          name,
          (jobs) => {
            calls.push(jobs.map(({ payload }) => payload).join());
            return jobs.map(({ payload, attempt }) =>
              payload === 2 && attempt === 1 ? new Error('not yet') : undefined,
            );
          },
          { batch: { size: 5, byGroup: true }, concurrency: 1 },
        ),
      ],
    });
    await enqueue(
      pool,
      name,
      [1, 2, 3, 4, 5].map((payload) => ({ group: 'g', payload })),
    );
    expect(await worker.runOnce()).toMatchObject({ completed: 5, failed: 1 });
    expect(calls).toEqual(['1,2,3,4,5', '2']);
  });

  test('takes a strict group in turns, in order, through failures', async ({ url, pool }) => {
    const name = await createQueue(pool, { backoff_ms: 0, max_attempts: 2 });
    const calls: string[] = [];
    let fails = 1;
    const { worker } = makeWorker({
      url,
      queues: [
        work(
          name,
          (jobs) => {
            calls.push(jobs.map(({ payload, attempt }) => `${payload}.${attempt}`).join());
            if (fails-- > 0) throw new Error('all of them');
            return jobs.map(({ payload, attempt }) =>
              payload === 6 && attempt === 1 ? new Error('this one') : undefined,
            );
          },
          { batch: { size: 4, byGroup: true }, concurrency: 2 },
        ),
      ],
    });
    const ids = await enqueue(
      pool,
      name,
      [1, 2, 3, 4, 5, 6, 7].map((payload) => ({ group: 'g', payload })),
    );
    expect(await worker.runOnce()).toMatchObject({ completed: 7, failed: 2 });
    expect(calls).toEqual(['1.1,2.1,3.1,4.1', '1.2,2.1,3.1,4.1', '5.1,6.1,7.1', '6.2']);
    for (const id of ids) await waitForState(pool, id, 'completed');
    expect((await pool.query('select * from howdah.check_groups()')).rows).toEqual([]);
  });

  test.for([
    [{ size: 0 }, 'batch.size'],
    [{ size: 10_001 }, 'batch.size'],
    [{ size: 10, wait: '2h' }, 'batch.wait'],
    [{ size: 10, byGroup: 'yes' }, 'batch.byGroup'],
    [{ size: 10, perGroup: true }, 'batch.perGroup'],
  ] as const)('%o is refused, naming %s', ([batch, option]) => {
    expect(() => work('q', () => undefined, { batch: batch as never })).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/^HOWDAH_(OPTION|DURATION)_INVALID$/),
        message: expect.stringContaining(option),
      }),
    );
  });
});
