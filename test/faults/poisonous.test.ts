import type pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import {
  createCounts,
  FaultWorker,
  type FaultWorkerOptions,
  makeGate,
  startFaultWorker,
  waitForAllCompleted,
  waitForRuns,
  wrongEffects,
} from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, readJob, waitForState } from '../support/workers.js';

/** Keeps so many workers running: one that ends is replaced, as a supervisor would do. */
class Fleet {
  readonly #options: FaultWorkerOptions;
  #isOver = false;
  /** How many have died. */
  deaths = 0;

  constructor(options: FaultWorkerOptions, size: number) {
    this.#options = options;
    onTestFinished(() => this.end());
    for (let each = 0; each < size; each += 1) void this.#keepOne();
  }

  end(): void {
    this.#isOver = true;
  }

  async #keepOne(): Promise<void> {
    while (!this.#isOver) {
      await new FaultWorker(this.#options, ['--max-old-space-size=100']).process.exited;
      this.deaths += 1;
    }
  }
}

async function waitForDead(pool: pg.Pool, ids: readonly string[]): Promise<void> {
  await waitFor(
    async () => {
      const { rows } = await pool.query(`select from howdah.dead_letters where id = any ($1)`, [
        ids,
      ]);
      return rows.length === ids.length;
    },
    { timeoutMs: 220_000, what: 'all poison to be dead' },
  );
}

test('1 % of the jobs kill their worker: each is dead within three crashes, nobody else is harmed', {
  timeout: 240_000,
}, async ({ url, pool }) => {
  const HOW = ['exits', 'aborts', 'exhausts', 'exits', 'spins'];
  await createCounts(pool);
  const queue = await createQueue(pool, { timeout_ms: 1_000, backoff_ms: 10 });
  // a spinning one times out, its lease ends, and the process is killed by whoever watches over it
  const payloads = Array.from({ length: 500 }, (_, i) => ({
    payload:
      i % 100 === 50
        ? { do: HOW[(i - 50) / 100], again: HOW[(i - 50) / 100] }
        : { do: 'effect', again: 'effect', isQuiet: true },
  }));
  const ids = await enqueue(pool, queue, payloads);
  const poison = ids.filter((_, i) => i % 100 === 50);
  const others = ids.filter((id) => !poison.includes(id));
  const fleet = new Fleet({ url, queue, lease: 1_000, binding: { concurrency: 10 } }, 2);

  await waitForDead(pool, poison);
  await waitForAllCompleted(pool, others);
  fleet.end();
  expect(await wrongEffects(pool, others)).toEqual([]);
  for (const id of poison) {
    const { reason, errors } = await readJob(pool, id);
    expect(reason).toBe('crashed its worker');
    expect(errors?.map(({ name }) => name)).toEqual(Array(3).fill('LeaseExpired'));
    expect(errors?.at(-1)?.message).toContain('while it ran this job alone');
  }
  // one at a time, so never more deaths than crashes
  expect(fleet.deaths).toBeLessThanOrEqual(3 * poison.length);
});

test('a suspect waits until what runs has ended; if the worker dies meanwhile it has not crashed', async ({
  url,
  pool,
}) => {
  await createCounts(pool);
  const queue = await createQueue(pool);
  const gate = await makeGate();
  const options = { url, queue, lease: 1_000, binding: { concurrency: 4 } };
  const [suspect] = await enqueue(pool, queue, [{ payload: { do: 'exits', again: 'done' } }]);
  const first = await startFaultWorker({ ...options, maintain: false });
  await first.process.exited;

  // before the suspect is given back, the next worker is busy
  const [busy] = await enqueue(pool, queue, [
    { payload: { do: 'hold', again: 'done', gate: gate.path } },
  ]);
  const second = await startFaultWorker({ ...options, heartbeat: 100 });
  await waitForRuns(pool, [busy], 1);
  const aside = async () => {
    const { rows } = await pool.query('select aside from howdah._leases where aside is not null');
    return rows[0]?.aside;
  };
  await waitFor(aside, { what: 'the suspect to be set aside' });
  expect(await aside()).toEqual([suspect]);
  second.process.kill('SIGKILL');
  await second.process.exited;

  const third = await startFaultWorker(options);
  await waitForState(pool, suspect, 'completed');
  await waitForState(pool, busy, 'completed');
  expect((await readJob(pool, suspect)).errors).toHaveLength(1);
  expect((await readJob(pool, suspect)).attempt).toBe(2);
  expect((await readJob(pool, busy)).errors).toHaveLength(1);
  expect(third.of('job.suspected').flatMap(({ ids }) => ids)).toContain(suspect);
});

test('the many jobs that a killed worker held do not run one by one', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  const HELD = 10_000;
  await createCounts(pool);
  const queue = await createQueue(pool, { retention_ms: 0 });
  const gate = await makeGate();
  const options = { url, queue, lease: 1_000 };
  await enqueue(pool, queue, [{ payload: { do: 'hold', again: 'done', gate: gate.path } }]);
  await enqueue(
    pool,
    queue,
    Array.from({ length: HELD - 1 }, () => ({ payload: { do: 'done', isQuiet: true } })),
  );
  const running = async () => {
    const { rows } = await pool.query('select running from howdah.queue_stats where queue = $1', [
      queue,
    ]);
    return Number(rows[0].running);
  };
  const victim = await startFaultWorker({
    ...options,
    binding: { concurrency: 1, prefetch: HELD },
  });
  await waitFor(async () => (await running()) === HELD, { what: 'the worker to hold all' });
  victim.process.kill('SIGKILL');
  await victim.process.exited;
  await startFaultWorker(options);
  const size = async () => {
    const { rows } = await pool.query('select count(*)::int as n from howdah._jobs');
    return rows[0].n as number;
  };
  const jobs = await size();
  await waitFor(async () => (await size()) < jobs, { timeoutMs: 20_000, what: 'the first to end' });
  const begunAt = performance.now();
  await waitFor(async () => (await size()) <= jobs - HELD, {
    timeoutMs: 40_000,
    what: 'all to end',
  });
  expect(performance.now() - begunAt).toBeLessThan(20_000);
});
