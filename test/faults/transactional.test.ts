import { expect } from 'vitest';
import { test } from '../support/database.js';
import {
  createCounts,
  readRuns,
  startFaultWorker,
  waitForAllCompleted,
  waitForRuns,
  wrongEffects,
} from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, readJob } from '../support/workers.js';

const TRANSACTIONAL = { transactional: true, concurrency: 4 };

test('kill -9 between the end of the handler and COMMIT: nothing was done, and it is done once', async ({
  url,
  pool,
}) => {
  await createCounts(pool);
  const queue = await createQueue(pool);
  const options = { url, queue, lease: 1_000, binding: TRANSACTIONAL };
  const ids = await enqueue(pool, queue, [
    { payload: { do: 'effectThenKilled', again: 'effectInTx' } },
  ]);
  const victim = await startFaultWorker(options);
  expect(await victim.process.exited).toEqual({ code: null, signal: 'SIGKILL' });
  expect(await readRuns(pool, ids)).toHaveLength(1);
  const { rows } = await pool.query('select from effects where job_id = any ($1)', [ids]);
  expect(rows).toHaveLength(0);

  await startFaultWorker(options);
  await waitForAllCompleted(pool, ids);
  expect(await wrongEffects(pool, ids)).toEqual([]);
  expect((await readJob(pool, ids[0])).attempt).toBe(2);
});

test('kill -9 while the server commits: it is done once, whatever becomes of the COMMIT', async ({
  url,
  pool,
}) => {
  await createCounts(pool);
  const queue = await createQueue(pool);
  // COMMIT waits for a lock that the test holds
  await pool.query(`create function wait_at_commit() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock_shared(4711); return null; end $$`);
  await pool.query(`create constraint trigger wait_at_commit after insert on effects
    deferrable initially deferred for each row execute function wait_at_commit()`);
  const gate = await pool.connect();
  await gate.query('select pg_advisory_lock(4711)');
  const options = { url, queue, lease: 1_000, binding: TRANSACTIONAL };
  const ids = await enqueue(
    pool,
    queue,
    Array.from({ length: 4 }, () => ({ payload: { do: 'effectInTx', again: 'effectInTx' } })),
  );
  const victim = await startFaultWorker(options);
  await waitForRuns(pool, ids);
  const committing = async () => {
    const { rows } = await pool.query(
      "select from pg_stat_activity where wait_event_type = 'Lock' and query = 'commit' and datname = current_database()",
    );
    return rows.length === ids.length;
  };
  await waitFor(committing, { what: 'all to wait in COMMIT' });
  victim.process.kill('SIGKILL');
  await victim.process.exited;
  await gate.query('select pg_advisory_unlock_all()');
  gate.release();

  await startFaultWorker(options);
  await waitForAllCompleted(pool, ids);
  expect(await wrongEffects(pool, ids)).toEqual([]);
});
