import type pg from 'pg';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import {
  createCounts,
  type FaultWorker,
  type Gate,
  makeGate,
  readRuns,
  startFaultWorker,
  waitForRuns,
  wrongEffects,
} from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, readJob, waitForState } from '../support/workers.js';

const LEASE_MS = 2_000;

/** What a handler may say of its job, and how the zombie's settlement of it is called. */
const ENTRIES = {
  complete: 'complete',
  nothing: 'complete',
  fail: 'fail',
  snooze: 'snooze',
  release: 'release',
  deadLetter: 'dead_letter',
  cancel: 'cancel',
} as const;

interface Zombie {
  readonly zombie: FaultWorker;
  readonly other: FaultWorker;
  readonly ids: string[];
  /** Lets the handlers of the zombie go on. */
  readonly gate: Gate;
  /** Lets the second runs end. */
  readonly second: Gate;
}

/**
 * Freezes a worker while it runs these jobs, until its lease is gone and another worker runs them
 * all: then it is alive, believes in its lease, and is wrong.
 */
async function makeZombie(
  { url, pool }: { url: string; pool: pg.Pool },
  payloads: readonly object[],
  { batch, isBlocking = false }: { batch?: { size: number }; isBlocking?: boolean } = {},
): Promise<Zombie> {
  await createCounts(pool);
  const name = await createQueue(pool);
  const [gate, second] = [await makeGate(), await makeGate()];
  const options = { url, queue: name, lease: LEASE_MS, maintain: false };
  const zombie = await startFaultWorker({
    ...options,
    binding: batch ? { concurrency: 1, batch } : { concurrency: 20 },
  });
  const ids = await enqueue(
    pool,
    name,
    payloads.map((payload) => ({ payload: { ...payload, gate: gate.path } })),
  );
  await waitForRuns(pool, ids);
  // its first act after the pause is then to settle, before it can notice anything
  if (isBlocking) await zombie.process.waitForOutput('"blocking"');
  zombie.process.kill('SIGSTOP');
  await pool.query(
    "update howdah._jobs set payload = payload || jsonb_build_object('gate', $2::text) where id = any ($1)",
    [ids, second.path],
  );
  const other = await startFaultWorker({
    ...options,
    maintain: true,
    // suspects run together by a quarter of what fits: all of them here
    binding: { concurrency: 40 },
  });
  const runs = await waitForRuns(pool, ids, ids.length * 2);
  expect(runs.slice(ids.length).map(({ pid, attempt }) => [pid, attempt])).toEqual(
    ids.map(() => [other.pid, 2]),
  );
  return { zombie, other, ids, gate, second };
}

/** Ends the second runs and makes sure that they, and nothing else, are what counts. */
async function expectSecondRunsCount(pool: pg.Pool, made: Zombie): Promise<void> {
  const { other, ids, second } = made;
  for (const id of ids) {
    expect(await readJob(pool, id)).toMatchObject({ state: 'running', attempt: 2 });
  }
  second.open();
  for (const id of ids) {
    expect(await waitForState(pool, id, 'completed')).toMatchObject({
      attempt: 2,
      result: { pid: other.pid },
      errors: [{ name: 'LeaseExpired' }],
    });
  }
  expect(await readRuns(pool, ids)).toHaveLength(ids.length * 2);
}

/** The zombie has noticed, and works on under another lease. */
async function expectWorksOn(pool: pg.Pool, { zombie, other }: Zombie): Promise<void> {
  const before = await zombie.heard('worker.started');
  await zombie.heard('lease.lost');
  const { leaseId } = await zombie.heard('lease.opened', 2);
  expect(leaseId).not.toBe(before.leaseId);
  other.process.kill('SIGTERM');
  await other.process.exited;
  const { rows } = await pool.query('select info from howdah._leases where id = $1', [leaseId]);
  expect(rows).toMatchObject([{ info: { pid: zombie.pid } }]);
  const [id] = await enqueue(pool, rows[0].info.queues[0], [
    { payload: { do: 'done', entry: 'nothing' } },
  ]);
  await waitForState(pool, id, 'completed');
  expect(await readRuns(pool, [id])).toMatchObject([{ pid: zombie.pid }]);
}

describe('a worker that was frozen past its lease, and goes on', () => {
  test('every outcome that it reports is refused', async ({ url, pool }) => {
    const entries = Object.keys(ENTRIES);
    const made = await makeZombie(
      { url, pool },
      entries.map((entry) => ({ how: 'block', entry, again: 'hold' })),
      { batch: { size: entries.length }, isBlocking: true },
    );
    const { zombie, ids, gate } = made;
    gate.open();
    zombie.process.kill('SIGCONT');
    await zombie.heard('job.stale', ids.length);
    const stale = new Map(zombie.of('job.stale').map(({ job, outcome }) => [job?.id, outcome]));
    expect(ids.map((id) => stale.get(id))).toEqual(Object.values(ENTRIES));
    for (const type of ['job.completed', 'job.failed', 'job.dead', 'job.released'] as const) {
      expect(zombie.of(type)).toEqual([]);
    }
    await expectSecondRunsCount(pool, made);
    await expectWorksOn(pool, made);
  });

  test('its transaction with completeIn aborts, and its effect with it', async ({ url, pool }) => {
    const made = await makeZombie({ url, pool }, [{ do: 'effectBlocked', again: 'effectHeld' }], {
      isBlocking: true,
    });
    const { zombie, ids, gate } = made;
    const held = `select count(*)::int as n from pg_stat_activity
      where datname = current_database() and state = 'idle in transaction'`;
    await waitFor(async () => (await pool.query(held)).rows[0].n === 2, {
      what: 'both transactions to be open',
    });
    gate.open();
    zombie.process.kill('SIGCONT');
    await waitFor(async () => (await pool.query(held)).rows[0].n === 1, {
      what: "the zombie's transaction to end",
    });
    expect((await pool.query('select * from effects')).rows).toEqual([]);
    await expectSecondRunsCount(pool, made);
    expect(await wrongEffects(pool, ids)).toEqual([]);
    await expectWorksOn(pool, made);
  });

  test('handlers that still wait are told, and what they say is ignored', async ({ url, pool }) => {
    const made = await makeZombie({ url, pool }, [
      { do: 'holdUntilAborted', again: 'hold' },
      { do: 'hold', again: 'hold' },
    ]);
    const { zombie, gate } = made;
    zombie.process.kill('SIGCONT');
    await zombie.heard('lease.lost');
    gate.open();
    await expectSecondRunsCount(pool, made);
    await expectWorksOn(pool, made);
    const ended = ['job.completed', 'job.failed', 'job.released'] as const;
    expect(ended.flatMap((type) => zombie.of(type))).toHaveLength(1); // the job that came later
  });
});

test('a pause shorter than the lease costs nothing', async ({ url, pool }) => {
  await createCounts(pool);
  const name = await createQueue(pool);
  const gate = await makeGate();
  const worker = await startFaultWorker({ url, queue: name, lease: 10_000, heartbeat: 500 });
  const [id] = await enqueue(pool, name, [{ payload: { do: 'hold', gate: gate.path } }]);
  await waitForRuns(pool, [id]);
  const renewals = () =>
    pool
      .query('select expires_at::text from howdah._leases where info ->> $1 = $2', [
        'pid',
        String(worker.pid),
      ])
      .then(({ rows }) => rows[0]?.expires_at as string);
  worker.process.kill('SIGSTOP');
  let last = await renewals();
  let same = 0;
  // six heartbeats do not come
  await waitFor(
    async () => {
      const now = await renewals();
      same = now === last ? same + 1 : 0;
      last = now;
      return same >= 30;
    },
    { intervalMs: 100, what: 'the heartbeats to stop' },
  );
  worker.process.kill('SIGCONT');
  await waitFor(async () => (await renewals()) !== last, { what: 'a heartbeat' });
  gate.open();
  expect(await waitForState(pool, id, 'completed')).toMatchObject({ attempt: 1 });
  expect(worker.of('lease.lost')).toEqual([]);
});
