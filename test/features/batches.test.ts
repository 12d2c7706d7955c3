import {
  type Client,
  createClient,
  HowdahError,
  PermanentError,
  queue,
  snooze,
  work,
} from 'howdah';
import type pg from 'pg';
import { describe, expect } from 'vitest';
import { codeOf, errorOf, test } from '../support/client.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, makeWorker, startWorker } from '../support/workers.js';

/** A batch whose jobs and whose follower have a queue of their own each. */
async function openBatch(client: Client, pool: pg.Pool, policy: object = {}) {
  const [jobs, after] = [await createQueue(pool, policy), await createQueue(pool)];
  const batch = await client.batches.open({
    onComplete: { queue: after, payload: { from: jobs } },
  });
  return { jobs, after, batch };
}

describe('a batch', () => {
  test('is filled, closed and followed by a job that knows how it went', async ({
    client,
    pool,
    url,
  }) => {
    const { jobs, after, batch } = await openBatch(client, pool, { max_attempts: 1 });
    await batch.enqueue(jobs, 'good');
    await client.enqueue(jobs, 'bad', { batch });
    async function* more() {
      for (let n = 0; n < 2500; n++) yield 'good';
    }
    expect(await batch.enqueueMany(jobs, more(), { batchSize: 500 })).toMatchObject({
      accepted: 2500,
    });
    expect(await batch.info()).toMatchObject({ state: 'open', total: 2502, pending: 2502 });
    expect(await batch.close()).toBe('closed');

    const followers: unknown[] = [];
    await startWorker({
      url,
      queues: [
        work(jobs, ({ payload }) => {
          if (payload === 'bad') throw new Error('bad');
        }),
        work(after, ({ payload, headers }) => void followers.push({ payload, ...headers })),
      ],
    });
    await waitFor(() => followers.length > 0);
    expect(followers).toEqual([
      {
        payload: { from: jobs },
        'howdah-batch': { id: batch.id, total: 2502, completed: 2501, failed: 1 },
      },
    ]);
    expect(await batch.info()).toMatchObject({
      state: 'failed',
      pending: 0,
      failed: 1,
      onCompleteQueue: after,
      jobId: expect.stringMatching(/^\d+$/),
      problem: null,
      finishedAt: expect.any(Date),
    });
    expect(await client.batches.list({ state: 'failed', limit: 1 })).toMatchObject([
      { id: batch.id },
    ]);
    expect(await client.batches.list({ state: 'open', after: batch.id })).toEqual([]);
  });

  test('is opened, filled and closed in a transaction, or not at all', async ({ client, pool }) => {
    const name = await createQueue(pool);
    const declared = queue<number>(`${name}-after`); // declared as the batch is opened
    const connection = await pool.connect();
    const fill = async () => {
      await connection.query('begin');
      const batch = await client.batches.open({
        name: 'in a transaction',
        onComplete: { queue: declared, payload: 1, priority: 3 },
        tx: connection,
      });
      await batch.enqueueMany(name, [1, 2, 3], { tx: connection });
      expect(await batch.close({ tx: connection })).toBe('closed');
      return batch;
    };
    const gone = await fill();
    await connection.query('rollback');
    expect(await gone.info()).toBeUndefined();
    const batch = await fill();
    await connection.query('commit');
    connection.release();
    expect(await batch.info()).toMatchObject({ name: 'in a transaction', total: 3, pending: 3 });
  });

  test('is filled by the handlers of its own jobs', async ({ client, pool, url }) => {
    const { jobs, after, batch } = await openBatch(client, pool);
    await batch.enqueue(jobs, 3);
    const { worker } = makeWorker({
      url,
      queues: [
        work(jobs, async ({ payload }) => {
          const left = Number(payload);
          if (left > 0) await client.batches.of(batch.id).enqueue(jobs, left - 1);
          else await client.batches.of(batch.id).close();
        }),
        work(after, () => undefined),
      ],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 5 });
    expect(await batch.info()).toMatchObject({ state: 'completed', total: 4, completed: 4 });
  });

  test('ends in the transaction of the handler that ends its last job', async ({
    client,
    pool,
    url,
  }) => {
    const { jobs, after, batch } = await openBatch(client, pool);
    await batch.enqueue(jobs, null);
    await batch.close();
    const seen: unknown[] = [];
    const { worker } = makeWorker({
      url,
      queues: [
        work(jobs, async (_job, context) => {
          const connection = await pool.connect();
          try {
            await connection.query('begin');
            await context.completeIn(connection);
            seen.push((await batch.info())?.state);
            await connection.query('commit');
          } finally {
            connection.release();
          }
          seen.push((await batch.info())?.state);
        }),
        work(after, () => undefined),
      ],
    });
    await worker.runOnce();
    expect(seen).toEqual(['closed', 'completed']);
  });

  test('that is empty stays open, unless it may be: then it is followed at once', async ({
    client,
    pool,
    storedJobs,
  }) => {
    const { jobs, after, batch } = await openBatch(client, pool);
    const error = await errorOf(batch.close());
    expect(error.code).toBe('HOWDAH_BATCH_EMPTY');
    expect(error.remedy).toContain('allowEmpty');
    expect(await batch.info()).toMatchObject({ state: 'open', closedAt: null });
    expect(await storedJobs(after)).toEqual([]);
    await batch.enqueue(jobs, 1); // nothing is lost: it goes on as if nobody had tried
    expect(await batch.close()).toBe('closed');

    const none = await openBatch(client, pool);
    expect(await codeOf(none.batch.close({ allowEmpty: 1 as never }))).toBe('HOWDAH_BATCH_INVALID');
    expect(await none.batch.close({ allowEmpty: true })).toBe('completed');
    expect(await none.batch.close()).toBe('completed');
    expect(await storedJobs(none.after)).toHaveLength(1);
    const inTransaction = await client.batches.open();
    const connection = await pool.connect();
    await connection.query('begin');
    expect(await codeOf(inTransaction.close({ tx: connection }))).toBe('HOWDAH_BATCH_EMPTY');
    await connection.query('rollback');
    await connection.query('begin');
    const closed = await inTransaction.close({ tx: connection, allowEmpty: true });
    await connection.query('rollback');
    expect(closed).toBe('completed');
    connection.release();
    expect((await inTransaction.info())?.state).toBe('open');
  });

  test('has jobs that are listed with their states, page by page', async ({
    client,
    pool,
    url,
  }) => {
    const { jobs, batch } = await openBatch(client, pool);
    const codes = await batch.enqueueMany(jobs, [1, 2, 3, 4, 5]);
    const ids = codes.ids as string[];
    await client.enqueue(jobs, 'of no batch');
    await client.jobs.cancel(ids[3] as string);
    const { worker } = makeWorker({
      url,
      queues: [
        work(jobs, ({ payload }) => {
          if (payload === 2) throw new PermanentError('no');
          return payload === 5 ? snooze('1h') : undefined;
        }),
      ],
    });
    await worker.runOnce();
    const stateOf = ({ id, state }: { id: string; state: string }) => [ids.indexOf(id) + 1, state];
    expect((await batch.jobs()).map(stateOf)).toEqual([
      [5, 'scheduled'],
      [4, 'cancelled'],
      [3, 'completed'],
      [2, 'dead'],
      [1, 'completed'],
    ]);
    const first = await batch.jobs({ limit: 2 });
    const second = await batch.jobs({ limit: 2, after: first[1]?.id });
    expect([...first, ...second].map(({ id }) => ids.indexOf(id) + 1)).toEqual([5, 4, 3, 2]);
    expect((await batch.jobs({ state: 'completed' })).map(stateOf)).toHaveLength(2);
    expect((await batch.jobs({ state: ['dead', 'scheduled'] })).map(stateOf)).toHaveLength(2);
    expect((await batch.jobs({ state: ['dead', 'completed'] })).map(stateOf)).toHaveLength(3);
    expect(await batch.jobs({ state: 'expired' })).toEqual([]);
    expect(await client.jobs.list({ batch, queue: jobs })).toHaveLength(4); // the dead one lies elsewhere
    expect(await client.jobs.get(ids[0] as string)).toMatchObject({ batch: batch.id });
    expect(await codeOf(client.batches.of('99999').jobs())).toBe('HOWDAH_BATCH_UNKNOWN');
    expect(await codeOf(batch.jobs({ limit: 5000 }))).toBe('HOWDAH_OPTION_INVALID');
    expect(await codeOf(client.jobs.list({ batch: 'x' }))).toBe('HOWDAH_BATCH_UNKNOWN');
  });

  test('refuses what cannot be', async ({ client, pool }) => {
    const { jobs, batch } = await openBatch(client, pool);
    await batch.close({ allowEmpty: true });
    expect(await codeOf(batch.enqueue(jobs, 1))).toBe('HOWDAH_BATCH_CLOSED');
    expect(await codeOf(batch.enqueueMany(jobs, [1, 2]))).toBe('HOWDAH_BATCH_CLOSED');
    const report = await batch.enqueueMany(jobs, [1, 2], { onError: 'report' });
    expect(report).toMatchObject({ accepted: 0, rejected: 2 });
    expect(report.rejections[0]?.error).toBeInstanceOf(HowdahError);
    const results = await Promise.allSettled([batch.enqueue(jobs, 1), client.enqueue(jobs, 2)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);

    for (const bad of ['x', '', 7, {}, null]) {
      expect(await codeOf(client.enqueue(jobs, 1, { batch: bad as string }))).toBe(
        'HOWDAH_BATCH_UNKNOWN',
      );
    }
    expect(await codeOf(client.enqueue(jobs, 1, { batch: '99999' }))).toBe('HOWDAH_BATCH_UNKNOWN');
    expect(await codeOf(client.batches.of('99999').close())).toBe('HOWDAH_BATCH_UNKNOWN');
    expect(() => client.batches.of('x')).toThrow(/is not a batch/);
    expect(await client.batches.of('99999').info()).toBeUndefined();

    const open = (options: object) => codeOf(client.batches.open(options));
    expect(await open({ name: '' })).toBe('HOWDAH_BATCH_INVALID');
    expect(await open({ name: 'x'.repeat(201) })).toBe('HOWDAH_BATCH_INVALID');
    expect(await open({ onComplete: 'reports' })).toBe('HOWDAH_BATCH_INVALID');
    expect(await open({ onComplete: { queue: 'nowhere', payload: 1 } })).toBe(
      'HOWDAH_QUEUE_UNKNOWN',
    );
    expect(await open({ onComplete: { queue: jobs } })).toBe('HOWDAH_PAYLOAD_INVALID');
    expect(await open({ onComplete: { queue: jobs, payload: 1, priority: 1000 } })).toBe(
      'HOWDAH_PRIORITY_INVALID',
    );
    expect(await open({ onComplete: { queue: jobs, payload: 1, batch: batch.id } })).toBe(
      'HOWDAH_BATCH_INVALID',
    );
    expect(await codeOf(client.batches.list({ state: 'done' as 'open' }))).toBe(
      'HOWDAH_FILTER_INVALID',
    );
    const closed = createClient({ url: 'postgres://nowhere' });
    await closed.close();
    expect(await codeOf(closed.batches.open())).toBe('HOWDAH_CLIENT_CLOSED');
  });
});
