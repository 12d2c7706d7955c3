import { type Job, work } from 'howdah';
import { expect } from 'vitest';
import { test } from '../support/database.js';
import { createQueue, enqueue, startWorker, waitForState } from '../support/workers.js';

// a megabyte in the table and 24 MB as text: three of them do not fit into one answer
const COUNT = 80_000;
const NUMBERS = `[${Array(COUNT).fill('1e300')}]`;

test('jobs too large to be claimed together are claimed one at a time', {
  timeout: 120_000,
}, async ({ url, pool }) => {
  const name = await createQueue(pool);
  await pool.query('select howdah.alter_queue($1, $2)', [name, '{"payload_bytes_max": 67108864}']);
  await pool.query(
    `select howdah.enqueue(jsonb_agg(jsonb_build_object('queue', $1::text, 'payload', $2::jsonb)))
    from generate_series(1, 3)`,
    [name, NUMBERS],
  );
  const [last] = await enqueue(pool, name, [{ payload: [] }]);
  const lengths: number[] = [];
  const handler = ({ payload }: { payload: unknown }): void => {
    lengths.push((payload as unknown[]).length);
  };
  await startWorker({ url, queues: [work(name, handler, { concurrency: 10 })] });
  expect((await waitForState(pool, last, 'completed', 100_000)).attempt).toBe(1);
  expect(lengths).toEqual([COUNT, COUNT, COUNT, 0]);
});

test('payloads that travel apart reach their own jobs, whatever else comes with them', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool);
  const rows = Array.from({ length: 400 }, (_, n) => ({
    payload: { n, pad: 'x'.repeat(n % 7 === 0 ? 5 : 2_000) },
    headers: n % 5 === 0 ? { n } : undefined,
    priority: n % 3,
    group: n % 4 === 0 ? 'together' : undefined,
  }));
  const ids = await enqueue(pool, name, rows);
  const seen = new Map<string, unknown>();
  const handler = (job: Job): void => {
    const { n, pad } = job.payload as { n: number; pad: string };
    seen.set(job.id, [n, pad.length, job.headers.n, job.group]);
  };
  await startWorker({ url, queues: [work(name, handler, { concurrency: 10 })] });
  await expect.poll(() => seen.size, { timeout: 20_000 }).toBe(rows.length);
  expect(ids.map((id) => seen.get(id))).toEqual(
    rows.map(({ payload, headers, group }) => [
      payload.n,
      payload.pad.length,
      headers?.n,
      group ?? null,
    ]),
  );
});
