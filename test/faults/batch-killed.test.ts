import { createClient } from 'howdah';
import type pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { type FaultWorker, startFaultWorker } from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue } from '../support/workers.js';

/** More by hand: `HOWDAH_BATCH_JOBS=100000`. */
const JOBS = Number(process.env.HOWDAH_BATCH_JOBS ?? 3_000);
/** So many workers are killed while it is filled; more while it is worked off, as long as that lasts. */
const KILLS_MIN = 4;

async function isHolding(pool: pg.Pool, { pid }: FaultWorker): Promise<boolean> {
  const { rows } = await pool.query(
    `select from howdah._jobs j join howdah._leases l on l.id = j.lease_id
    where l.info ->> 'pid' = $1 limit 1`,
    [String(pid)],
  );
  return rows.length > 0;
}

test(`a batch of ${JOBS} jobs is followed once, whatever workers are killed`, {
  timeout: 900_000,
}, async ({ url, pool }) => {
  const client = createClient({ url });
  onTestFinished(() => client.close());
  const [jobs, after] = [await createQueue(pool), await createQueue(pool)];
  const job = { do: 'done', isQuiet: true };
  const batch = await client.batches.open({ onComplete: { queue: after, payload: job } });
  const options = { url, queue: jobs, lease: 1_000, poll: 200, binding: { concurrency: 20 } };
  const start = () => startFaultWorker({ ...options, extraQueues: [after] });
  const isOver = async () => (await batch.info())?.state !== 'closed';
  /** Kills a worker as soon as it has jobs. @returns whether it got any */
  const killOne = async (isDone: () => Promise<boolean>): Promise<boolean> => {
    const victim = await start();
    let hadJobs = false;
    await waitFor(
      async () => {
        hadJobs = await isHolding(pool, victim);
        return hadJobs || (await isDone());
      },
      { timeoutMs: 120_000, what: 'a victim with jobs' },
    );
    victim.process.kill('SIGKILL');
    await victim.process.exited;
    return hadJobs;
  };

  for (let kill = 0; kill < KILLS_MIN; kill++) {
    const part = Array.from({ length: JOBS / KILLS_MIN }, () => job);
    const [hadJobs] = await Promise.all([
      killOne(async () => false),
      batch.enqueueMany(jobs, part),
    ]);
    expect(hadJobs).toBe(true);
  }
  await batch.close();
  const survivor = await start();
  let kills = KILLS_MIN;
  while (!(await isOver())) kills += Number(await killOne(isOver));
  const info = await batch.info();
  expect(info).toMatchObject({ total: JOBS, pending: 0 });
  expect(Number(info?.completed) + Number(info?.failed)).toBe(JOBS);
  await waitFor(async () => (await client.jobs.get(String(info?.jobId)))?.state === 'completed', {
    timeoutMs: 30_000,
    what: 'the job that follows to run',
  });
  const [{ enqueued } = { enqueued: 0 }] = await client.queues.stats(after);
  expect(enqueued).toBe(1);
  const { rows } = await pool.query(
    'select count(*)::int as left from howdah._jobs where batch_id = $1 and dead_at is null',
    [batch.id],
  );
  expect(rows).toEqual([{ left: 0 }]);
  console.info(`${JOBS} jobs, ${kills} workers killed with jobs, ${info?.failed} failed`);
  survivor.process.kill('SIGTERM');
  await survivor.process.exited;
});
