import { createWorker, silentLogger, work } from 'howdah';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { createQueue, enqueue, makeWorker, readJob } from '../support/workers.js';

const NONE = {
  completed: 0,
  failed: 0,
  dead: 0,
  snoozed: 0,
  released: 0,
  cancelled: 0,
  expired: 0,
  stale: 0,
};

describe('runOnce', () => {
  test('drains what is ready, what that enqueues, and what is due again', async ({ url, pool }) => {
    const [parents, children] = [
      await createQueue(pool, { backoff_ms: 0 }),
      await createQueue(pool),
    ];
    const { worker } = makeWorker({
      url,
      queues: [
        work(parents, async ({ attempt }) => {
          if (attempt === 1) throw new Error('again');
          await enqueue(pool, children);
        }),
        work(children, () => undefined),
      ],
    });
    await enqueue(
      pool,
      parents,
      Array.from({ length: 20 }, () => ({})),
    );
    const [later] = await enqueue(pool, parents, [{ delay_ms: 3_600_000 }]);
    expect(await worker.runOnce()).toEqual({ ...NONE, completed: 40, failed: 20, isDrained: true });
    expect((await readJob(pool, later)).state).toBe('scheduled');
  });

  test('leaves no lease and no connection, and can be called again', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = makeWorker({ url, queues: [work(name, () => undefined)] });
    expect(await worker.runOnce()).toEqual({ ...NONE, isDrained: true });
    await enqueue(pool, name);
    expect(await worker.runOnce()).toEqual({ ...NONE, completed: 1, isDrained: true });
    const leases = await pool.query('select * from howdah._leases');
    expect(leases.rows).toEqual([]);
    const { rows } = await pool.query(
      "select application_name from pg_stat_activity where application_name like 'howdah%' and datname = current_database()",
    );
    expect(rows).toEqual([]);
  });

  test('ends at its deadline: what runs is aborted and given back', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = makeWorker({
      url,
      queues: [
        work(
          name,
          (_job, { signal }) => {
            return new Promise((_, reject) => {
              signal.addEventListener('abort', () => reject(signal.reason));
            });
          },
          { concurrency: 1 },
        ),
      ],
    });
    const ids = await enqueue(pool, name, [{}, {}, {}]);
    const startedAt = performance.now();
    const report = await worker.runOnce({ deadline: '500ms' });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect(report).toMatchObject({ isDrained: false, completed: 0, failed: 0 });
    for (const id of ids) {
      expect(await readJob(pool, id)).toMatchObject({ state: 'ready', attempt: 0 });
    }
  });

  test('runs jobs that take longer than the lease', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = makeWorker({
      url,
      lease: '1s',
      queues: [work(name, () => new Promise((resolve) => setTimeout(resolve, 2_500)))],
    });
    const [id] = await enqueue(pool, name);
    expect(await worker.runOnce()).toMatchObject({ completed: 1, stale: 0 });
    expect((await readJob(pool, id)).attempt).toBe(1);
  });

  test('fails when the database is not there', async () => {
    const worker = createWorker({
      url: 'postgres://nobody@127.0.0.1:1/x',
      logger: silentLogger,
      queues: [work('any', () => undefined)],
    });
    await expect(worker.runOnce()).rejects.toMatchObject({ code: 'HOWDAH_DATABASE_UNAVAILABLE' });
  });
});
