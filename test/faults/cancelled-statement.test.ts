import { createClient } from 'howdah';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue } from '../support/workers.js';

test('an enqueue whose statement an operator cancels is tried again, and is there once', async ({
  url,
  pool,
}) => {
  const queue = await createQueue(pool);
  const client = createClient({ url });
  const holder = await pool.connect();
  onTestFinished(async () => {
    await holder.query('rollback');
    holder.release();
    await client.close();
  });
  await client.enqueue(queue, 'before');
  await holder.query('begin; lock table howdah.jobs in access exclusive mode');
  const enqueued = client.enqueue(queue, 'cancelled twice');
  let begunAt = '';
  for (let cancels = 0; cancels < 2; cancels += 1) {
    begunAt = await waitFor(
      async () => {
        const { rows } = await pool.query(
          `select a.xact_start::text as begun_at, pg_cancel_backend(a.pid)
           from pg_locks l join pg_stat_activity a using (pid)
           where l.relation = 'howdah.jobs'::regclass and not l.granted and a.xact_start::text <> $1`,
          [begunAt],
        );
        return rows[0]?.begun_at as string | undefined;
      },
      { what: 'a try that waits' },
    );
  }
  await holder.query('rollback');
  const { id } = await enqueued;
  const { rows } = await pool.query('select id, payload from howdah.jobs order by id');
  expect(rows).toEqual([
    { id: expect.any(String), payload: 'before' },
    { id, payload: 'cancelled twice' },
  ]);
});
