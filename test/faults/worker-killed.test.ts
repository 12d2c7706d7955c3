import type pg from 'pg';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import {
  createCounts,
  type FaultWorker,
  makeGate,
  readRuns,
  startFaultWorker,
  waitForAllCompleted,
  waitForRuns,
  wrongEffects,
} from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, readJob, waitForState } from '../support/workers.js';

const LEASE_MS = 2_000;

/** Jobs that the worker with this process id holds by the database's word. */
async function heldBy(pool: pg.Pool, pid: number): Promise<string[]> {
  const { rows } = await pool.query(
    `select j.id from howdah._jobs j join howdah._leases l on l.id = j.lease_id
    where l.info ->> 'pid' = $1 order by j.id`,
    [String(pid)],
  );
  return rows.map(({ id }) => id);
}

/** Kills as kill -9 does, while it holds jobs. @returns those jobs */
async function killWithJobs(pool: pg.Pool, worker: FaultWorker): Promise<string[]> {
  await waitFor(async () => (await heldBy(pool, worker.pid)).length > 0, {
    what: 'the worker to hold a job',
  });
  worker.process.kill('SIGKILL');
  expect(await worker.process.exited).toEqual({ code: null, signal: 'SIGKILL' });
  return heldBy(pool, worker.pid);
}

describe('kill -9 of a worker that runs jobs', () => {
  test.for([
    { victim: 'a worker beside the leader', isLeading: false },
    { victim: 'the leader itself', isLeading: true },
  ])('$victim: they run elsewhere within a lease', async ({ isLeading }, { url, pool }) => {
    await createCounts(pool);
    const name = await createQueue(pool);
    const gate = await makeGate();
    const options = { url, queue: name, lease: LEASE_MS, binding: { concurrency: 8 } };
    const victim = await startFaultWorker({ ...options, maintain: isLeading });
    if (isLeading) await victim.heard('maintenance.leading');
    const ids = await enqueue(
      pool,
      name,
      Array.from({ length: 8 }, () => ({
        payload: { do: 'hold', again: 'effect', gate: gate.path },
      })),
    );
    await waitForRuns(pool, ids);
    const other = await startFaultWorker(options);
    if (!isLeading) await other.heard('maintenance.leading');

    const held = await killWithJobs(pool, victim);
    const killedAt = Date.now();
    expect(held).toEqual(ids);
    const runs = await waitForRuns(pool, ids, 16);
    const lastAt = Math.max(...runs.map(({ at }) => at.getTime()));
    expect(lastAt - killedAt).toBeLessThan(LEASE_MS + 2_000);

    expect(runs.slice(0, 8).every(({ pid }) => pid === victim.pid)).toBe(true);
    expect(runs.slice(8).every(({ pid, attempt }) => pid === other.pid && attempt === 2)).toBe(
      true,
    );
    await waitForAllCompleted(pool, ids);
    expect(await wrongEffects(pool, ids)).toEqual([]);
    expect(await readRuns(pool, ids)).toHaveLength(16);
    expect(await readJob(pool, ids[0])).toMatchObject({
      attempt: 2,
      errors: [
        { name: 'LeaseExpired', attempt: 1, message: expect.stringContaining(String(victim.pid)) },
      ],
    });
  });

  test('again and again: the job that kills its workers is dead in the end', async ({
    url,
    pool,
  }) => {
    await createCounts(pool);
    const name = await createQueue(pool, { max_crashes: 2 });
    const gate = await makeGate();
    const options = { url, queue: name, lease: 1_000 };
    const [id] = await enqueue(pool, name, [
      { payload: { do: 'hold', again: 'hold', gate: gate.path } },
    ]);
    for (const run of [1, 2]) {
      const worker = await startFaultWorker(options);
      await waitForRuns(pool, [id], run);
      await killWithJobs(pool, worker);
    }
    const last = await startFaultWorker(options);
    const { errors, reason } = await waitForState(pool, id, 'dead');
    expect(reason).toBe('crashed its worker');
    expect(errors?.map((error) => error.name)).toEqual(['LeaseExpired', 'LeaseExpired']);
    const [after] = await enqueue(pool, name, [{ payload: { do: 'done' } }]);
    await waitForState(pool, after, 'completed');
    expect(last.process.isRunning).toBe(true);
  });
});

test('a fleet of which one after another is killed loses nothing and does nothing twice', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  const KILLS = 3;
  await createCounts(pool);
  const name = await createQueue(pool, { max_attempts: 1_000, max_crashes: 1_000 });
  const options = { url, queue: name, lease: 1_000, binding: { concurrency: 4 } };
  const fleet = await Promise.all([1, 2].map(() => startFaultWorker(options)));
  const payload = { do: 'effect', again: 'effect', ms: 40, isQuiet: true };
  const ids: string[] = [];
  const hit = new Set<string>();
  for (let kill = 0; kill < KILLS; kill += 1) {
    const spare = startFaultWorker(options);
    ids.push(
      ...(await enqueue(
        pool,
        name,
        Array.from({ length: 100 }, () => ({ payload })),
      )),
    );
    const held = await killWithJobs(pool, fleet.shift() as FaultWorker);
    expect(held.length, `jobs that kill ${kill} hit`).toBeGreaterThan(0);
    for (const id of held) hit.add(id);
    fleet.push(await spare);
  }
  await waitForAllCompleted(pool, ids);
  expect(await wrongEffects(pool, ids)).toEqual([]);
  const { rows } = await pool.query(
    'select id from howdah.jobs where id = any ($1) and attempt > 1',
    [[...hit]],
  );
  expect(rows.length, 'jobs whose attempt was counted').toBe(hit.size);
});
