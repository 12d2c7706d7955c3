import { work } from 'howdah';
import { expect } from 'vitest';
import { test } from '../support/database.js';
import { createQueue, enqueue, heard, makeWorker, readJob } from '../support/workers.js';

test('what a handler returns is its result', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const { worker } = makeWorker({
    url,
    queues: [work(name, ({ payload }) => payload as string)],
  });
  const values = [{ a: [1, 'é', null] }, [], 0, false, '', 'text', null];
  const ids = await enqueue(
    pool,
    name,
    values.map((payload) => ({ payload })),
  );
  expect(await worker.runOnce()).toMatchObject({ completed: values.length });
  const results = await Promise.all(ids.map(async (id) => (await readJob(pool, id)).result));
  expect(results).toEqual(values);
});

test('nothing returned is no result', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const { worker } = makeWorker({ url, queues: [work(name, async () => undefined)] });
  const [id] = await enqueue(pool, name);
  await worker.runOnce();
  expect((await readJob(pool, id)).result).toBeNull();
});

test('a result that cannot be stored is replaced, and the job is complete', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool);
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const results: unknown[] = [
    10n,
    cycle,
    'a\0b',
    '\ud800',
    () => 1,
    'x'.repeat(2_000_000),
    Number.NaN,
    Array(140_000).fill(1e300), // 43 MB as the database writes it out
  ];
  const made = makeWorker({
    url,
    queues: [work(name, (({ payload }: { payload: number }) => results[payload]) as never)],
  });
  const ids = await enqueue(
    pool,
    name,
    results.map((_, payload) => ({ payload })),
  );
  expect(await made.worker.runOnce()).toMatchObject({ completed: results.length, failed: 0 });
  for (const id of ids) {
    expect(await readJob(pool, id)).toMatchObject({
      state: 'completed',
      result: { howdah: 'result not stored', problem: expect.any(String) },
    });
  }
  expect(await heard(made, 'job.result-replaced')).toMatchObject({
    problem: expect.stringContaining('BigInt'),
  });
  // before they share a statement: what the database has to measure delays all others
  expect(made.events.filter(({ type }) => type === 'job.result-replaced')).toHaveLength(
    results.length,
  );
});
