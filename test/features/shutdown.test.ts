import { work } from 'howdah';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import {
  countdown,
  createQueue,
  enqueue,
  heard,
  readJob,
  spawnWorker,
  startWorker,
} from '../support/workers.js';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('stopping a worker', () => {
  test('lets running jobs finish, gives the others back, says what became of each', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    let started = 0;
    const { worker } = await startWorker({
      url,
      queues: [
        work(
          name,
          async () => {
            started += 1;
            await sleep(200);
          },
          { concurrency: 2, prefetch: 5 },
        ),
      ],
    });
    const ids = await enqueue(
      pool,
      name,
      Array.from({ length: 10 }, () => ({})),
    );
    await waitFor(() => started === 2);
    const report = await worker.stop();
    expect(report).toEqual({ completed: 2, failed: 0, released: 5, aborted: 0, left: 0 });
    const jobs = await Promise.all(ids.map((id) => readJob(pool, id)));
    const states = jobs.map(({ state }) => state);
    expect(states.filter((state) => state === 'completed')).toHaveLength(2);
    expect(states.filter((state) => state === 'ready')).toHaveLength(8);
    expect(
      jobs.filter(({ state }) => state === 'ready').every(({ attempt }) => attempt === 0),
    ).toBe(true);
    const { rows } = await pool.query('select count(*)::int as n from howdah._leases');
    expect(rows[0].n).toBe(0);
  });

  test('aborts what does not finish within the grace; no attempt counts', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const reasons: unknown[] = [];
    const begun = countdown(1);
    const made = await startWorker({
      url,
      grace: 50,
      queues: [
        work(name, (_job, { signal }) => {
          begun.tick();
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
    await begun.done;
    expect(await made.worker.stop()).toEqual({
      completed: 0,
      failed: 0,
      released: 1,
      aborted: 1,
      left: 0,
    });
    expect(reasons).toMatchObject([{ code: 'HOWDAH_SHUTDOWN' }]);
    expect(await readJob(pool, id)).toMatchObject({ state: 'ready', attempt: 0, errors: null });
    await made.worker.stopped;
  });

  test('a handler that ignores its signal is left behind, its job given back', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    // the row says that the job runs before the worker has heard of it
    const begun = countdown(1);
    const handler = () => {
      begun.tick();
      return new Promise<void>(() => {});
    };
    const made = await startWorker({ url, queues: [work(name, handler)] });
    const [id] = await enqueue(pool, name);
    await begun.done;
    expect(await made.worker.stop({ grace: 0 })).toMatchObject({ released: 1, aborted: 1 });
    expect(await heard(made, 'handler.leaked')).toMatchObject({ job: { id } });
    expect(await readJob(pool, id)).toMatchObject({ state: 'ready', attempt: 0 });
  });

  test('a handler that finishes after it was told to stop has finished', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const begun = countdown(1);
    const { worker } = await startWorker({
      url,
      queues: [
        work(name, async () => {
          begun.tick();
          await sleep(700);
          return 'finished';
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    await begun.done;
    expect(await worker.stop({ grace: 0 })).toMatchObject({ completed: 1, aborted: 1 });
    expect(await readJob(pool, id)).toMatchObject({ state: 'completed', result: 'finished' });
  });

  test('stopping again hurries', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const begun = countdown(1);
    const { worker } = await startWorker({
      url,
      queues: [
        work(name, (_job, { signal }) => {
          begun.tick();
          return new Promise((_, reject) => signal.addEventListener('abort', reject));
        }),
      ],
    });
    await enqueue(pool, name);
    await begun.done;
    const startedAt = performance.now();
    const first = worker.stop({ grace: '1h' });
    const second = worker.stop();
    expect(await second).toMatchObject({ released: 1, aborted: 1 });
    expect(await first).toBe(await second);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  });

  test('a worker that never started stops at once', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = await startWorker({ url, queues: [work(name, () => undefined)] });
    await worker.stop();
    expect(await worker.stop()).toMatchObject({ completed: 0 });
  });
});

describe('a worker process', () => {
  test('ends by itself after SIGTERM, with nothing left in the database', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const child = await spawnWorker({
      url,
      queue: name,
      handler: 'patient',
      ms: 300,
      concurrency: 2,
    });
    const ids = await enqueue(
      pool,
      name,
      Array.from({ length: 6 }, () => ({})),
    );
    await waitFor(() => child.stdout.match(/^start/gm)?.length === 2);
    child.kill('SIGTERM');
    await child.waitForOutput('report');
    const exit = await child.exited;
    expect(exit).toEqual({ code: 0, signal: null });
    expect(JSON.parse(child.stdout.match(/^report (.*)$/m)?.[1] ?? '')).toMatchObject({
      completed: 2,
      failed: 0,
      aborted: 0,
    });
    const states = await Promise.all(ids.map(async (id) => (await readJob(pool, id)).state));
    expect(states.filter((state) => state === 'completed')).toHaveLength(2);
    expect(states.filter((state) => state === 'ready')).toHaveLength(4);
    const { rows } = await pool.query(
      "select count(*)::int as n from pg_stat_activity where application_name like 'howdah%' and datname = current_database()",
    );
    expect(rows[0].n).toBe(0);
  });

  test('a second signal hurries it', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const child = await spawnWorker({
      url,
      queue: name,
      handler: 'patient',
      ms: 600_000,
      grace: '1h',
      events: ['worker.stopping'],
    });
    const [id] = await enqueue(pool, name);
    await child.waitForOutput('start');
    child.kill('SIGTERM');
    await child.waitForOutput('worker.stopping');
    child.kill('SIGINT');
    await child.waitForOutput('report');
    expect(await readJob(pool, id)).toMatchObject({ state: 'ready', attempt: 0 });
  });
});
