import { snooze, work } from 'howdah';
import { expect } from 'vitest';
import { test } from '../support/database.js';
import {
  countdown,
  createQueue,
  enqueue,
  readJob,
  startWorker,
  waitForState,
} from '../support/workers.js';

test('delayed jobs start on time, neither early nor late', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const lateMs: number[] = [];
  const all = countdown(100);
  await startWorker({
    url,
    queues: [
      work(name, ({ payload }) => {
        lateMs.push(Date.now() - (payload as number));
        all.tick();
      }),
    ],
  });
  const dueAt = Array.from({ length: 100 }, (_, n) => Date.now() + 300 + n * 20);
  await enqueue(
    pool,
    name,
    dueAt.map((at) => ({ payload: at, run_at: new Date(at).toISOString() })),
  );
  await all.done;
  lateMs.sort((a, b) => a - b);
  // the server and this process share a clock here; a millisecond is lost to rounding
  expect(lateMs[0]).toBeGreaterThanOrEqual(-1);
  // a bound for a loaded machine; bench/ measures how punctual it is
  expect(lateMs[50]).toBeLessThan(250);
});

test('a job enqueued to be due before what the promoter waits for is not late', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool);
  const order: unknown[] = [];
  await startWorker({ url, queues: [work(name, ({ payload }) => void order.push(payload))] });
  await enqueue(pool, name, [{ payload: 'later', delay_ms: 900 }]);
  const [id] = await enqueue(pool, name, [{ payload: 'sooner', delay_ms: 100 }]);
  await waitForState(pool, id, 'completed');
  expect(order).toEqual(['sooner']);
});

test('a snoozed job comes back and the attempt does not count', async ({ url, pool }) => {
  const name = await createQueue(pool);
  let calls = 0;
  const { worker, events } = await startWorker({
    url,
    queues: [
      work(name, () => {
        calls += 1;
        return calls < 3 ? snooze(50) : undefined;
      }),
    ],
  });
  const [id] = await enqueue(pool, name);
  const { attempt, errors } = await waitForState(pool, id, 'completed');
  expect(attempt).toBe(1);
  expect(errors).toBeNull();
  await worker.stop();
  expect(events.filter(({ type }) => type === 'job.snoozed')).toHaveLength(2);
});

test('a job that waits longer than its TTL expires and never runs', async ({ url, pool }) => {
  const name = await createQueue(pool, { ttl_ms: 50 });
  let calls = 0;
  const ids = await enqueue(pool, name, [{}, { delay_ms: 20 }]);
  const first = ids[0];
  await expect
    .poll(async () => {
      const { rows } = await pool.query(
        'select bool_and(expires_at < clock_timestamp()) as is_over from howdah.job_states where queue = $1',
        [name],
      );
      return rows[0].is_over;
    })
    .toBe(true);
  await startWorker({
    url,
    queues: [
      work(name, () => {
        calls += 1;
      }),
    ],
  });
  for (const id of ids) await waitForState(pool, id, 'expired');
  expect(calls).toBe(0);
  expect((await readJob(pool, first)).reason).toBe('waiting TTL');
});

test('a queue has a default delay', async ({ url, pool }) => {
  const name = await createQueue(pool, { delay_ms: 300 });
  const startedAt: number[] = [];
  await startWorker({ url, queues: [work(name, () => void startedAt.push(Date.now()))] });
  const before = Date.now();
  const [id] = await enqueue(pool, name);
  await waitForState(pool, id, 'completed');
  expect((startedAt[0] ?? 0) - before).toBeGreaterThanOrEqual(299);
});
