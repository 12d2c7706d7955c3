import { createClient } from 'howdah';
import { describe, expect } from 'vitest';
import { codeOf, errorOf, test } from '../support/client.js';
import { Engine } from '../support/engine.js';
import { waitFor } from '../support/wait-for.js';

/** Finishes that many jobs of a queue. */
async function finish(db: Engine, queue: string, count: number): Promise<void> {
  const lease = await db.openLease();
  await db.complete(lease, await db.claim(queue, lease, count));
  await db.closeLease(lease);
}

describe('a bounded queue refuses what it cannot hold', () => {
  test('with the depth, the bound and how long to wait', async ({ client }) => {
    await client.queues.create('full', { maxDepth: 2 });
    await client.enqueue('full', 1);
    await client.enqueue('full', 2);
    const error = await errorOf(client.enqueue('full', 3));
    expect(error).toMatchObject({ code: 'HOWDAH_QUEUE_FULL', isRetryable: true });
    expect(error.details).toMatchObject({ unit: 'jobs', depth: 2, bound: 2, retryAfterMs: 1000 });
    const stats = await client.queues.stats('full');
    expect(stats).toMatchObject([{ ready: 2, maxDepth: 2, maxBytes: null, waitingBytes: 2 }]);
  });

  test('concurrent single calls share statements, and only some are refused', async ({
    client,
  }) => {
    await client.queues.create('shared', { maxDepth: 10 });
    const results = await Promise.allSettled(
      Array.from({ length: 30 }, (_, n) => client.enqueue('shared', n)),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
  });

  test('in a transaction one refused job leaves it usable; many need a savepoint', async ({
    client,
    pool,
    storedJobs,
  }) => {
    await client.queues.create('tx', { maxDepth: 1 });
    const tx = await pool.connect();
    await tx.query('begin');
    await client.enqueue('tx', 'kept', { tx });
    expect(await codeOf(client.enqueue('tx', 2, { tx }))).toBe('HOWDAH_QUEUE_FULL');
    expect((await tx.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await tx.query('savepoint before');
    expect(await codeOf(client.enqueueMany('tx', [3, 4], { tx }))).toBe('HOWDAH_QUEUE_FULL');
    await expect(tx.query('select 1')).rejects.toThrow('aborted');
    await tx.query('rollback to before');
    const report = await client.enqueueMany('tx', [5, 6], { tx, onError: 'report' });
    expect(report).toMatchObject({ accepted: 0, rejected: 2 });
    expect(await codeOf(client.enqueue('tx', 7, { tx, onFull: 'wait' }))).toBe(
      'HOWDAH_OPTION_INVALID',
    );
    await tx.query('commit');
    tx.release();
    expect((await storedJobs('tx')).map(({ payload }) => payload)).toEqual(['kept']);
  });
});

describe("onFull: 'wait'", () => {
  test('goes on as soon as there is room', async ({ client, pool }) => {
    await client.queues.create('wait', { maxDepth: 1 });
    await client.enqueue('wait', 1);
    let isIn = false;
    const waiting = client.enqueue('wait', 2, { onFull: 'wait' }).then((made) => {
      isIn = true;
      return made;
    });
    expect(await codeOf(client.enqueue('wait', 3))).toBe('HOWDAH_QUEUE_FULL');
    expect(isIn).toBe(false);
    await finish(new Engine(pool), 'wait', 1);
    expect((await waiting).created).toBe(true);
  });

  test('ends at its deadline, and when the signal aborts', async ({ client }) => {
    await client.queues.create('patience', { maxDepth: 1 });
    await client.enqueue('patience', 1);
    const late = await errorOf(client.enqueue('patience', 2, { onFull: 'wait', waitMax: '100ms' }));
    expect(late.code).toBe('HOWDAH_QUEUE_FULL');
    expect(late.details.waitedMs).toBeGreaterThanOrEqual(99);
    expect(late.details).toMatchObject({ bound: 1, isAborted: false });
    const controller = new AbortController();
    const aborted = errorOf(
      client.enqueue('patience', 2, { onFull: 'wait', signal: controller.signal }),
    );
    controller.abort(new Error('no longer wanted'));
    expect(await aborted).toMatchObject({
      code: 'HOWDAH_QUEUE_FULL',
      details: { isAborted: true },
      cause: expect.objectContaining({ message: 'no longer wanted' }),
    });
  });

  for (const onError of ['throw', 'report'] as const) {
    test(`enqueueMany reads no faster than there is room (${onError})`, async ({ url, pool }) => {
      const client = createClient({ url, onFull: 'wait', waitMax: '20s' });
      const name = `many-${onError}`;
      await client.queues.create(name, { maxDepth: 50, retention: 0 });
      let isOver = false;
      const all = client
        .enqueueMany(
          name,
          Array.from({ length: 200 }, (_, n) => n),
          { batchSize: 40, onError },
        )
        .finally(() => {
          isOver = true;
        });
      const db = new Engine(pool);
      let most = 0;
      await waitFor(
        async () => {
          const [stats] = await client.queues.stats(name);
          most = Math.max(most, stats?.ready ?? 0);
          await finish(db, name, 20);
          return isOver;
        },
        { what: 'all to be enqueued', timeoutMs: 30_000 },
      );
      expect(await all).toMatchObject({ accepted: 200, rejected: 0 });
      expect(most).toBeLessThanOrEqual(50);
      await client.close();
    });
  }
});

describe("onFull: 'drop-oldest'", () => {
  test('records what it dropped, by call or for the whole client', async ({
    url,
    client,
    storedJobs,
  }) => {
    await client.queues.create('drop', { maxDepth: 2 });
    const first = await client.enqueue('drop', 1);
    await client.enqueue('drop', 2);
    await client.enqueue('drop', 3, { onFull: 'drop-oldest' });
    expect(await client.jobs.get(first.id)).toMatchObject({
      state: 'discarded',
      reason: 'dropped: the queue was full',
    });
    const dropping = createClient({ url, onFull: 'drop-oldest' });
    await dropping.enqueue('drop', 4);
    expect(await codeOf(dropping.enqueue('drop', 5, { onFull: 'throw' }))).toBe(
      'HOWDAH_QUEUE_FULL',
    );
    await dropping.close();
    expect((await storedJobs('drop')).map(({ payload, state }) => [payload, state])).toEqual([
      [1, 'discarded'],
      [2, 'discarded'],
      [3, 'ready'],
      [4, 'ready'],
    ]);
  });
});

describe('a closed queue takes no new jobs', () => {
  test('and works off those it has; closing and opening twice is fine', async ({
    client,
    pool,
  }) => {
    await client.queues.create('closing');
    const { id } = await client.enqueue('closing', 1);
    await client.queues.close('closing');
    await client.queues.close('closing', 'moved; ask ops');
    const error = await errorOf(client.enqueue('closing', 2));
    expect(error).toMatchObject({ code: 'HOWDAH_QUEUE_CLOSED', isRetryable: false });
    expect(error.details).toMatchObject({ reason: 'moved; ask ops' });
    expect(error.remedy).toBe('Open it with open_queue() or `howdah queues open`.');
    expect(await codeOf(client.enqueueMany('closing', [1, 2]))).toBe('HOWDAH_QUEUE_CLOSED');
    expect(await client.queues.stats('closing')).toMatchObject([
      { closed: true, closedReason: 'moved; ask ops' },
    ]);
    await finish(new Engine(pool), 'closing', 1);
    expect(await client.jobs.get(id)).toMatchObject({ state: 'completed' });
    await client.queues.open('closing');
    await client.queues.open('closing');
    expect((await client.enqueue('closing', 3)).created).toBe(true);
  });
});

describe('bad input', () => {
  test('bounds and policies that cannot be', async ({ client }) => {
    for (const maxDepth of [-1, 0, 1.5, Number.NaN, 'many' as never]) {
      expect(await codeOf(client.queues.create('bad', { maxDepth }))).toBe('HOWDAH_OPTION_INVALID');
      expect(await codeOf(client.queues.create('bad', { maxBytes: maxDepth }))).toBe(
        'HOWDAH_OPTION_INVALID',
      );
    }
    for (const options of [
      { onFull: 'explode' as never },
      { onFull: 'wait' as const, waitMax: 0 },
      { onFull: 'wait' as const, signal: {} as never },
    ]) {
      expect(await codeOf(client.enqueue('bad', 1, options))).toBe('HOWDAH_OPTION_INVALID');
    }
    expect(await codeOf(client.queues.close('nowhere'))).toBe('HOWDAH_QUEUE_UNKNOWN');
  });
});
