import { type HowdahError, queue, work } from 'howdah';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { createQueue, enqueue, makeWorker, readJob } from '../support/workers.js';

describe('completeIn', () => {
  test('commits the effect, the completion and the result together', async ({ url, pool }) => {
    await pool.query('create table if not exists effects (job text)');
    const name = await createQueue(pool);
    const { worker, events } = makeWorker({
      url,
      queues: [
        work(name, async ({ id }, context) => {
          const client = await pool.connect();
          try {
            await client.query('begin');
            await client.query('insert into effects values ($1)', [id]);
            await context.completeIn(client, { done: true });
            expect((await readJob(pool, id)).state).toBe('running');
            await client.query('commit');
          } finally {
            client.release();
          }
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    expect(await worker.runOnce()).toMatchObject({ completed: 1, stale: 0, failed: 0 });
    expect(await readJob(pool, id)).toMatchObject({ state: 'completed', result: { done: true } });
    expect((await pool.query('select * from effects where job = $1', [id])).rowCount).toBe(1);
    expect(events.filter(({ type }) => type === 'job.completed')).toHaveLength(1);
  });

  test('a transaction that rolls back leaves neither, and the job runs again', async ({
    url,
    pool,
  }) => {
    await pool.query('create table if not exists effects (job text)');
    const name = await createQueue(pool, { backoff_ms: 0 });
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, async ({ id, attempt }, context) => {
          const client = await pool.connect();
          try {
            await client.query('begin');
            await client.query('insert into effects values ($1)', [id]);
            await context.completeIn(client);
            await client.query(attempt === 1 ? 'rollback' : 'commit');
          } finally {
            client.release();
          }
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    expect(await worker.runOnce()).toMatchObject({ completed: 1, failed: 1 });
    expect((await readJob(pool, id)).errors).toMatchObject([
      { message: expect.stringContaining('was not committed'), attempt: 1 },
    ]);
    expect((await pool.query('select * from effects where job = $1', [id])).rowCount).toBe(1);
  });

  test('an exception after it is the failure of the attempt', async ({ url, pool }) => {
    const name = await createQueue(pool, { backoff_ms: 3_600_000 });
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, async (_job, context) => {
          const client = await pool.connect();
          try {
            await client.query('begin');
            await context.completeIn(client);
            throw new Error('after completeIn');
          } finally {
            await client.query('rollback');
            client.release();
          }
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    expect(await worker.runOnce()).toMatchObject({ failed: 1 });
    expect((await readJob(pool, id)).errors).toMatchObject([{ message: 'after completeIn' }]);
  });

  test('a job that is no longer ours fails the transaction, even if the error is swallowed', async ({
    url,
    pool,
  }) => {
    await pool.query('create table if not exists effects (job text)');
    const name = await createQueue(pool);
    const codes: string[] = [];
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, async ({ id, attempt }, context) => {
          if (attempt > 1) return;
          // as the reaper does when the lease has ended
          await pool.query("update howdah._leases set expires_at = '-infinity'");
          await pool.query('select * from howdah.reap()');
          const client = await pool.connect();
          try {
            await client.query('begin');
            await client.query('insert into effects values ($1)', [id]);
            await context.completeIn(client).catch((error: HowdahError) => codes.push(error.code));
            await client.query('commit');
          } finally {
            client.release();
          }
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    await worker.runOnce();
    expect(codes).toEqual(['HOWDAH_SETTLE_STALE']);
    expect((await pool.query('select * from effects where job = $1', [id])).rowCount).toBe(0);
  });

  test('a rolled back completion whose job has been completed by another is stale, not completed', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { backoff_ms: 0 });
    const { worker, events } = makeWorker({
      url,
      queues: [
        work(name, async ({ id }, context) => {
          const client = await pool.connect();
          try {
            await client.query('begin');
            await context.completeIn(client, { by: 'first' });
            await client.query('rollback');
            // at once, so that this worker does not take it again
            await client.query('begin');
            // its lease lives, or a claim might tell it of the loss before it settles
            await client.query(
              'select howdah.release(lease_id, id, attempt) from howdah._jobs where id = $1',
              [id],
            );
            await client.query(
              `with lease as materialized (select howdah.open_lease('another', 60000) as id)
              select howdah.complete(l.id, c.id, c.attempt, '{"by": "another"}')
              from lease l, howdah.claim($1, l.id) c`,
              [name],
            );
            await client.query('commit');
          } finally {
            client.release();
          }
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    expect(await worker.runOnce()).toMatchObject({ completed: 0, stale: 1 });
    expect(await readJob(pool, id)).toMatchObject({ result: { by: 'another' } });
    expect(events.filter(({ type }) => type === 'job.completed')).toEqual([]);
  });

  test('a function that keeps the rows back is refused, and completes nothing', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { max_attempts: 1 });
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, async (_job, context) => {
          const client = await pool.connect();
          try {
            await client.query('begin');
            await context.completeIn(async (sql, params) => {
              await client.query(sql, params);
              return [];
            });
            await client.query('commit');
          } finally {
            await client.query('rollback');
            client.release();
          }
        }),
      ],
    });
    const [id] = await enqueue(pool, name);
    expect(await worker.runOnce()).toMatchObject({ completed: 0, dead: 1 });
    expect((await readJob(pool, id)).errors).toMatchObject([
      { code: 'HOWDAH_TRANSACTION_INVALID' },
    ]);
  });

  test('a pool, a client outside a transaction and a bad result are refused', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const codes: string[] = [];
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, async (_job, context) => {
          const note = (error: HowdahError) => void codes.push(error.code);
          await context.completeIn(pool as never).catch(note);
          const client = await pool.connect();
          await context.completeIn(client).catch(note);
          await client.query('begin');
          await context.completeIn(client, 'a\0b').catch(note);
          await client.query('rollback');
          client.release();
        }),
      ],
    });
    await enqueue(pool, name);
    expect(await worker.runOnce()).toMatchObject({ completed: 1 });
    expect(codes).toEqual([
      'HOWDAH_TRANSACTION_INVALID',
      'HOWDAH_TRANSACTION_INVALID',
      'HOWDAH_PAYLOAD_INVALID',
    ]);
  });

  test('completes a whole batch', async ({ url, pool }) => {
    const batch = queue('complete-in-batch');
    const { worker } = makeWorker({
      url,
      queues: [
        work(
          batch,
          async (_jobs, context) => {
            const client = await pool.connect();
            await client.query('begin');
            await context.completeIn(client, 'together');
            await client.query('commit');
            client.release();
          },
          { batch: { size: 10 } },
        ),
      ],
    });
    await pool.query("select howdah.create_queue('complete-in-batch')");
    const ids = await enqueue(pool, 'complete-in-batch', [{}, {}, {}]);
    expect(await worker.runOnce()).toMatchObject({ completed: 3, stale: 0 });
    for (const id of ids) expect((await readJob(pool, id)).result).toBe('together');
  });
});
