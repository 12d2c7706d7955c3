import { work } from 'howdah';
import { expect } from 'vitest';
import { test } from '../support/database.js';
import { createQueue, enqueue, startWorker, waitForState } from '../support/workers.js';

// a kilobyte in the table and 24 MB as text: three of them do not fit into one answer
const NUMBERS = `[${Array(240).fill('1e100000')}]`;

test('jobs too large to be claimed together are claimed apart', async ({ url, pool }) => {
  const name = await createQueue(pool);
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
  expect((await waitForState(pool, last, 'completed', 25_000)).attempt).toBe(1);
  expect(lengths).toEqual([240, 240, 240, 0]);
});
