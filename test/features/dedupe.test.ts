import { createClient, type HowdahError, queue, work } from 'howdah';
import { describe, expect } from 'vitest';
import { codeOf, test } from '../support/client.js';
import { waitFor } from '../support/wait-for.js';
import { startWorker } from '../support/workers.js';

describe('a dedupe key makes one job per window', () => {
  test('the duplicate gets the first id, and another payload can be told', async ({
    client,
    storedJobs,
  }) => {
    await client.queues.create('orders');
    const dedupe = { key: 'order-7', window: '1d' } as const;
    const first = await client.enqueue('orders', { a: 1, b: 2 }, { dedupe });
    expect(first).toEqual({ id: expect.any(String), created: true });
    expect(await client.enqueue('orders', { b: 2, a: 1 }, { dedupe })).toEqual({
      id: first.id,
      created: false,
      same: true,
    });
    expect(await client.enqueue('orders', { a: 2 }, { dedupe })).toEqual({
      id: first.id,
      created: false,
      same: false,
    });
    expect(await storedJobs('orders')).toHaveLength(1);
  });

  test('64 callers of four clients, 6,400 tries at once', async ({ client, url, storedJobs }) => {
    await client.queues.create('storm');
    const others = Array.from({ length: 3 }, () => createClient({ url }));
    const clients = [client, ...others];
    let created = 0;
    await Promise.all(
      Array.from({ length: 64 }, async (_, caller) => {
        for (let i = 0; i < 100; i++) {
          const by = clients[caller % 4] ?? client;
          const made = await by.enqueue('storm', caller, { dedupe: { key: 'k' } });
          if (made.created) created++;
        }
      }),
    );
    await Promise.all(others.map((other) => other.close()));
    expect(created).toBe(1);
    expect(await storedJobs('storm')).toHaveLength(1);
  });

  test('in a transaction: rolled back, no key is left', async ({ client, pool }) => {
    await client.queues.create('tx');
    const tx = await pool.connect();
    await tx.query('begin');
    const options = { dedupe: { key: 'k' } };
    expect((await client.enqueue('tx', 1, { ...options, tx })).created).toBe(true);
    expect((await client.enqueue('tx', 1, { ...options, tx })).created).toBe(false);
    await tx.query('rollback');
    tx.release();
    expect((await client.enqueue('tx', 1, options)).created).toBe(true);
  });

  test('enqueueMany: a key for each payload', async ({ client, storedJobs }) => {
    const rows = queue<{ id: number }>('rows');
    const payloads = Array.from({ length: 3000 }, (_, n) => ({ id: n % 100 }));
    const dedupe = { key: ({ id }: { id: number }) => `row-${id}` };
    const result = await client.enqueueMany(rows, payloads, { dedupe });
    expect(result).toMatchObject({ accepted: 3000, duplicates: 2900, rejected: 0 });
    expect(new Set(result.ids).size).toBe(100);
    expect(await storedJobs('rows')).toHaveLength(100);
    const reported = await client.enqueueMany(rows, payloads, { dedupe, onError: 'report' });
    expect(reported).toMatchObject({ accepted: 3000, duplicates: 3000, rejected: 0 });
  });

  test('latest: one runs, one waits, and the newest payload is the one that runs next', async ({
    client,
    url,
  }) => {
    await client.queues.create('latest');
    const ran: unknown[] = [];
    let running = 0;
    let most = 0;
    let letGo = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    await startWorker({
      url,
      queues: [
        work(
          'latest',
          async ({ payload }) => {
            most = Math.max(most, ++running);
            ran.push(payload);
            await gate;
            running--;
          },
          { concurrency: 4 },
        ),
      ],
    });
    const dedupe = { key: 'k', mode: 'latest' } as const;
    await client.enqueue('latest', 1, { dedupe });
    await waitFor(() => ran.length === 1, { what: 'the first to run' });
    for (const payload of [2, 3, 4]) await client.enqueue('latest', payload, { dedupe });
    letGo();
    await waitFor(() => ran.length === 2, { what: 'the newest to run' });
    expect(ran).toEqual([1, 4]);
    expect(most).toBe(1);
  });

  test('bad input is refused before a round trip', async ({ client }) => {
    const bad = [
      { key: '' },
      { key: 'x'.repeat(10_240) },
      { key: 7 as never },
      { key: '\u0000' },
      { key: 'k', window: 0 },
      { key: 'k', window: -1 },
      { key: 'k', window: '11000d' as const },
      { key: 'k', mode: 'merge' as never },
      { key: 'k', ttl: 7 } as never,
      'k' as never,
      null as never,
    ];
    for (const dedupe of bad) {
      expect(await codeOf(client.enqueue('nowhere', 1, { dedupe })), JSON.stringify(dedupe)).toBe(
        'HOWDAH_DEDUPE_INVALID',
      );
    }
  });
});

describe('producers that enqueue one key all the time do not keep its job from beginning', () => {
  for (const [mode, delay] of [
    ['latest', 0],
    ['latest', 200],
    ['throttle', 200],
    ['replace', 0],
  ] as const) {
    test(`mode ${mode}, delay ${delay} ms`, { timeout: 90_000 }, async ({ client, url }) => {
      const hot = queue<number>('hot');
      const runs: number[] = [];
      let running = 0;
      let together = 0;
      await startWorker({
        url,
        queues: [
          work(hot, async ({ payload }) => {
            together = Math.max(together, ++running);
            runs.push(payload);
            await new Promise((resolve) => setTimeout(resolve, 20));
            running--;
          }),
        ],
      });
      const producers = Array.from({ length: 4 }, () => createClient({ url }));
      let sent = 0;
      let isOver = false;
      const sending = Promise.all(
        producers.map(async (producer) => {
          const options = { delay, dedupe: { key: 'k', window: '10m', mode } } as const;
          let last = 0;
          while (!isOver) {
            last = ++sent;
            await producer.enqueue(hot, last, options);
          }
          return last;
        }),
      );
      await waitFor(() => runs.length >= 12, {
        what: 'runs while producers go on',
        timeoutMs: 40_000,
      });
      isOver = true;
      const last = await sending;
      const isIdle = async () => {
        const [stats] = await client.queues.stats(hot);
        return stats?.ready === 0 && stats.scheduled === 0 && stats.running === 0;
      };
      await waitFor(isIdle, { what: 'the end of the last one' });
      // the newest is never lost: it is the last of one of the producers
      expect(last.some((payload) => runs.includes(payload))).toBe(true);
      if (mode === 'latest') expect(together).toBe(1);
      expect(sent).toBeGreaterThan(runs.length);
      await Promise.all(producers.map((producer) => producer.close()));
    });
  }

  test('edits in a loop', { timeout: 90_000 }, async ({ client, url }) => {
    const hot = queue<number>('edited');
    const runs: number[] = [];
    await client.queues.create(hot);
    await client.queues.pause(hot);
    const { id } = await client.enqueue(hot, 0);
    const editors = Array.from({ length: 3 }, () => createClient({ url }));
    let edits = 0;
    const editing = Promise.all(
      editors.map(async (editor) => {
        for (;;) {
          try {
            await editor.jobs.edit(id, { payload: ++edits });
          } catch (error) {
            return (error as HowdahError).code;
          }
        }
      }),
    );
    await startWorker({ url, queues: [work(hot, ({ payload }) => void runs.push(payload))] });
    await waitFor(() => edits > 20, { what: 'edits under way' });
    await client.queues.resume(hot);
    await waitFor(() => runs.length > 0, { what: 'the job to begin', timeoutMs: 30_000 });
    for (const code of await editing) {
      expect(['HOWDAH_JOB_RUNNING', 'HOWDAH_JOB_ENDED']).toContain(code);
    }
    await Promise.all(editors.map((editor) => editor.close()));
  });
});
