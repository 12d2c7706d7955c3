import { type JobContext, work } from 'howdah';
import type pg from 'pg';
import { describe, expect } from 'vitest';
import { test } from '../support/client.js';
import {
  createCounts,
  type FaultWorker,
  startFaultWorker,
  waitForAllCompleted,
} from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, startWorker } from '../support/workers.js';

async function expectBooks(pool: pg.Pool): Promise<void> {
  expect((await pool.query('select * from howdah.check_groups()')).rows).toEqual([]);
}

/** Members of the group `g`, numbered, so many. */
function numbers(count: number, from = 0): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

async function untilCompleted(pool: pg.Pool, queue: string, count: number): Promise<void> {
  const text = 'select completed::int as n from howdah.queue_stats where queue = $1';
  const done = async () => (await pool.query(text, [queue])).rows[0].n === count;
  await waitFor(done, { what: `${count} to be completed`, timeoutMs: 60_000 });
}

describe('a worker takes several members of a group of short jobs at once', () => {
  test('and runs them in order, each after the one before it is settled', async ({
    client,
    pool,
    url,
  }) => {
    await client.queues.create('short');
    await client.enqueueMany('short', numbers(400), { group: 'g' });
    const ran: unknown[] = [];
    let running = 0;
    const handler = async ({ payload }: { payload: unknown }) => {
      running += 1;
      expect(running).toBe(1);
      await undefined;
      running -= 1;
      ran.push(payload);
    };
    await startWorker({ url, queues: [work('short', handler, { concurrency: 10 })] });
    await untilCompleted(pool, 'short', 400);
    expect(ran).toEqual(numbers(400));
    const { rows } = await pool.query(
      `select count(distinct claimed_at)::int as claims from howdah.history where queue = 'short'`,
    );
    expect(rows[0].claims).toBeLessThan(200);
    await expectBooks(pool);
  });

  test('what fails in the middle keeps the others behind it', async ({ client, pool, url }) => {
    await client.queues.create('middle', { backoff: { type: 'fixed', delay: 200, jitter: 0 } });
    await client.enqueueMany('middle', numbers(100), { group: 'g' });
    const ran: unknown[] = [];
    const worker = await startWorker({
      url,
      queues: [
        work('middle', ({ payload, attempt }) => {
          ran.push(payload);
          if ((payload as number) % 30 === 20 && attempt === 1) throw new Error('not yet');
        }),
      ],
    });
    await untilCompleted(pool, 'middle', 100);
    const twice = numbers(100).flatMap((n) => (n % 30 === 20 ? [n, n] : [n]));
    expect(ran).toEqual(twice);
    expect(worker.events.filter(({ type }) => type === 'job.failed')).toHaveLength(3);
    const { rows } = await pool.query(
      `select max(attempt) as most from howdah.history
      where queue = 'middle' and (payload::int) % 30 <> 20`,
    );
    expect(rows[0].most).toBe(1);
    await expectBooks(pool);
  });

  test('stopped in the middle of a turn it gives the rest back, in order and uncounted', async ({
    client,
    pool,
    url,
  }) => {
    await client.queues.create('stopped');
    await client.enqueueMany('stopped', numbers(60), { group: 'g' });
    const ran: unknown[] = [];
    let free = (): void => undefined;
    const freed = new Promise<void>((resolve) => {
      free = resolve;
    });
    const binding = work('stopped', async ({ payload }) => {
      ran.push(payload);
      if (payload === 40) await freed;
    });
    const first = await startWorker({ url, queues: [binding] });
    await waitFor(() => ran.includes(40), { what: 'the fortieth to run' });
    const stop = first.worker.stop();
    free();
    await stop;
    expect(ran).toEqual(numbers(41));
    await expectBooks(pool);
    await startWorker({ url, queues: [binding] });
    await untilCompleted(pool, 'stopped', 60);
    expect(ran).toEqual(numbers(60));
    const { rows } = await pool.query(
      `select max(attempt) as most from howdah.history where queue = 'stopped'`,
    );
    expect(rows[0].most).toBe(1);
  });

  test('cancelled while it waits behind another, it never runs', async ({ client, pool, url }) => {
    await client.queues.create('cancelled');
    const { ids } = await client.enqueueMany('cancelled', numbers(60), { group: 'g' });
    const ran: unknown[] = [];
    let free = (): void => undefined;
    const freed = new Promise<void>((resolve) => {
      free = resolve;
    });
    await startWorker({
      url,
      queues: [
        work('cancelled', async ({ payload }) => {
          ran.push(payload);
          if (payload === 40) await freed;
        }),
      ],
    });
    await waitFor(() => ran.includes(40), { what: 'the fortieth to run' });
    await client.jobs.cancel([ids[41] ?? '', ids[50] ?? '']);
    await waitFor(async () => (await client.jobs.get(ids[41] ?? ''))?.state === 'cancelled', {
      what: 'the next to be cancelled',
    });
    free();
    await untilCompleted(pool, 'cancelled', 58);
    expect(ran).toEqual(numbers(60).filter((n) => n !== 41 && n !== 50));
    await expectBooks(pool);
  });

  test('paused, what waits behind a slow one is given back within about a second', async ({
    client,
    pool,
    url,
  }) => {
    await client.queues.create('paused');
    await client.enqueueMany('paused', numbers(60), { group: 'g' });
    const ran: unknown[] = [];
    let context: JobContext | undefined;
    let free = (): void => undefined;
    const freed = new Promise<void>((resolve) => {
      free = resolve;
    });
    await startWorker({
      url,
      queues: [
        work('paused', async ({ payload }, given) => {
          ran.push(payload);
          if (payload !== 40) return;
          context = given;
          await freed;
        }),
      ],
    });
    await waitFor(() => ran.includes(40), { what: 'the fortieth to run' });
    await client.queues.pause('paused');
    const running = async () => (await client.queues.stats('paused'))[0]?.running;
    await waitFor(async () => (await running()) === 1, { what: 'the others to be given back' });
    free();
    await untilCompleted(pool, 'paused', 41);
    expect(context?.signal.aborted).toBe(false);
    expect(ran).toEqual(numbers(41));
    await client.queues.resume('paused');
    await untilCompleted(pool, 'paused', 60);
    expect(ran).toEqual(numbers(60));
    await expectBooks(pool);
  });
});

test('fair: a job of a new key does not wait for 10,000 of another longer than for two turns', async ({
  client,
  url,
}) => {
  await client.queues.create('fair', { retention: 0 });
  await client.enqueueMany('fair', numbers(10_000), { group: 'whale' });
  let whales = 0;
  let seen: number | undefined;
  await startWorker({
    url,
    queues: [
      work(
        'fair',
        ({ payload }) => {
          if (payload === 'shrimp') seen = whales;
          else whales += 1;
        },
        { concurrency: 1 },
      ),
    ],
  });
  for (let round = 1; round <= 3; round += 1) {
    await waitFor(() => whales > round * 100, { what: 'the whale to run', intervalMs: 1 });
    seen = undefined;
    await client.enqueue('fair', 'shrimp', { group: `shrimp-${round}` });
    const before = whales;
    await waitFor(() => seen !== undefined, { what: 'the shrimp to run', intervalMs: 1 });
    expect((seen ?? 0) - before).toBeLessThanOrEqual(64);
  }
});

/** How many jobs a worker holds by the database's word. */
async function heldBy(pool: pg.Pool, worker: FaultWorker): Promise<number> {
  const { rows } = await pool.query(
    `select count(*)::int as n from howdah._jobs j join howdah._leases l on l.id = j.lease_id
    where l.info ->> 'pid' = $1`,
    [String(worker.pid)],
  );
  return rows[0].n;
}

test('200 groups x 20 jobs, workers killed in the middle of turns: no order violated, none lost', {
  timeout: 180_000,
}, async ({ url, pool }) => {
  await createCounts(pool);
  const queue = await createQueue(pool, { max_attempts: 1_000, max_crashes: 1_000 });
  const options = { url, queue, lease: 1_000, binding: { concurrency: 4 } };
  const fleet = await Promise.all([1, 2].map(() => startFaultWorker(options)));
  const jobs = Array.from({ length: 4_000 }, (_, i) => ({
    payload: { do: 'done' },
    group: `g${i % 200}`,
  }));
  const ids = await enqueue(pool, queue, jobs);
  let hit = 0;
  for (let kill = 0; kill < 3; kill += 1) {
    const spare = startFaultWorker(options);
    const victim = fleet.shift() as FaultWorker;
    await waitFor(async () => (await heldBy(pool, victim)) > 1, { what: 'jobs to be held' });
    victim.process.kill('SIGKILL');
    await victim.process.exited;
    hit += await heldBy(pool, victim);
    fleet.push(await spare);
  }
  await waitForAllCompleted(pool, ids, 150_000);
  expect(hit, 'jobs held by workers when they were killed').toBeGreaterThan(0);
  // by the handlers' own account: no run of a member after one of a later member
  const { rows } = await pool.query(
    `select * from (
      select x.group_key, r.job_id, max(r.job_id) over (partition by x.group_key order by r.at
        rows between unbounded preceding and 1 preceding) as latest_before
      from runs r join howdah.jobs x on x.id = r.job_id where x.queue = $1) o
    where job_id < latest_before limit 5`,
    [queue],
  );
  expect(rows).toEqual([]);
  await expectBooks(pool);
});

describe('a rate per key', () => {
  test('spaces the jobs of each key, whatever the others do', async ({ client, pool, url }) => {
    await client.queues.create('paced', { groupRate: { max: 20, per: '1s', burst: 2 } });
    for (const group of ['a', 'b']) await client.enqueueMany('paced', numbers(8), { group });
    await client.enqueue('paced', 0, { group: 'c' });
    const starts = new Map<string, number[]>();
    const worker = await startWorker({
      url,
      queues: [
        work('paced', async ({ id }) => {
          const group = (await client.jobs.get(id))?.group ?? '';
          starts.set(group, [...(starts.get(group) ?? []), performance.now()]);
        }),
      ],
    });
    await untilCompleted(pool, 'paced', 17);
    for (const group of ['a', 'b']) {
      const times = starts.get(group) ?? [];
      expect(times).toHaveLength(8);
      // two at once, the six others 50 ms apart
      expect((times[7] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(250);
    }
    expect(worker.events.filter(({ type }) => type === 'job.failed')).toEqual([]);
    await expectBooks(pool);
  });

  test.for([
    { max: 0 },
    { max: -1 },
    { max: 1.5 },
    { per: '1s' },
    { max: 1, burst: 0 },
    { max: 1, per: 0 },
    { max: 1, limit: 2 },
    7,
  ])('%j is refused', async (groupRate, { client }) => {
    await expect(client.queues.create('refused', { groupRate } as never)).rejects.toMatchObject({
      code: 'HOWDAH_OPTION_INVALID',
      message: expect.stringContaining('groupRate'),
    });
  });
});
