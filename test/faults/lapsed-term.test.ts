import { createClient, createWorker, queue, silentLogger, work } from 'howdah';
import type pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, heard, startWorker, waitForState } from '../support/workers.js';

const LEASE_MS = 1_000;
/** Longer than a term, which is a quarter of a lease, at least 500 ms. */
const BLOCKED_MS = 800;

test('a leader whose term lapsed while its event loop was blocked goes on with its duties', async ({
  url,
}) => {
  const delayed = queue('delayed');
  const client = createClient({ url });
  const done: unknown[] = [];
  const worker = createWorker({
    url,
    lease: LEASE_MS,
    logger: silentLogger,
    queues: [work(delayed, ({ payload }) => void done.push(payload))],
  });
  let leading = 0;
  worker.on('maintenance.leading', () => {
    leading += 1;
  });
  try {
    await worker.start();
    await waitFor(() => leading > 0, { what: 'the worker to lead' });
    await client.enqueue(delayed, 'before', { delay: 100 });
    await waitFor(() => done.length === 1, { what: 'a delayed job' });

    for (let round = 1; round <= 3; round += 1) {
      await client.enqueue(delayed, round, { delay: 300 }); // due while the loop is blocked
      const end = performance.now() + BLOCKED_MS;
      while (performance.now() < end);
      await waitFor(() => done.length === round + 1, { what: `delayed job ${round}` });
    }
    expect(done).toEqual(['before', 1, 2, 3]);
  } finally {
    await worker.stop({ grace: 0 });
    await client.close();
  }
});

test('a late answer to an election, while one duty waits for a lock, ends none of the duties', async ({
  url,
  pool,
}) => {
  const queue = await createQueue(pool);
  const made = await startWorker({ url, lease: LEASE_MS, queues: [work(queue, () => undefined)] });
  const { term } = await heard(made, 'maintenance.leading');

  const schedules = await lockTable(pool, '_schedules');
  await waitFor(() => schedules.keepsWaiting(0), { what: 'the duty of schedules to wait' });
  const leader = await lockTable(pool, '_leader');
  await waitFor(() => leader.keepsWaiting(BLOCKED_MS), { what: 'an election to come late' });
  await leader.release();
  const answered = await renewals(pool);
  await waitFor(async () => (await renewals(pool)) !== answered, { what: 'the next election' });
  await schedules.release();

  const [id] = await enqueue(pool, queue, [{ delay_ms: 100 }]);
  await waitForState(pool, id, 'completed');
  const { rows } = await pool.query('select term from howdah._leader');
  expect(rows).toEqual([{ term }]);
});

/** Locks a table against all others. */
async function lockTable(pool: pg.Pool, table: string) {
  const holder = await pool.connect();
  const release = async () => void (await holder.query('rollback'));
  onTestFinished(async () => {
    await release();
    holder.release();
  });
  await holder.query(`begin; lock table howdah.${table} in access exclusive mode`);
  return {
    release,
    /** Whether a statement has waited for this lock that long. */
    async keepsWaiting(ms: number): Promise<boolean> {
      const { rows } = await pool.query(
        `select from pg_locks l join pg_stat_activity a using (pid)
         where l.relation = $1::regclass and not l.granted
           and clock_timestamp() - a.query_start > $2 * interval '1 millisecond'`,
        [`howdah.${table}`, ms],
      );
      return rows.length > 0;
    },
  };
}

/** Changes with each election that is won. */
async function renewals(pool: pg.Pool): Promise<string> {
  const { rows } = await pool.query('select expires_at::text from howdah._leader');
  return rows[0].expires_at;
}
