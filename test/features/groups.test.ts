import { work } from 'howdah';
import type pg from 'pg';
import { describe, expect } from 'vitest';
import { test } from '../support/client.js';
import {
  createCounts,
  type FaultWorker,
  startFaultWorker,
  waitForAllCompleted,
  wrongEffects,
} from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, heard, startWorker } from '../support/workers.js';

describe('the jobs of a group run in the order in which they were enqueued', () => {
  test('one after another, while groups run side by side', async ({ client, url }) => {
    await client.queues.create('orders');
    const running = new Map<string, number>();
    const order = new Map<string, number[]>();
    let most = 0;
    for (let n = 0; n < 8; n += 1) {
      for (const group of ['a', 'b', 'c']) {
        await client.enqueue('orders', { group, n }, { group, priority: n });
      }
    }
    const worker = await startWorker({
      url,
      queues: [
        work(
          'orders',
          async ({ payload }) => {
            const { group, n } = payload as { group: string; n: number };
            expect(running.get(group) ?? 0).toBe(0);
            running.set(group, 1);
            most = Math.max(most, [...running.values()].filter((count) => count > 0).length);
            await new Promise((resolve) => setTimeout(resolve, 5));
            running.set(group, 0);
            order.set(group, [...(order.get(group) ?? []), n]);
          },
          { concurrency: 10 },
        ),
      ],
    });
    await waitFor(async () => (await client.queues.stats('orders'))[0]?.completed === 24, {
      what: 'all to be completed',
    });
    expect(worker.events.filter(({ type }) => type === 'job.failed')).toEqual([]);
    for (const group of ['a', 'b', 'c']) expect(order.get(group)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(most).toBeGreaterThan(1);
  });

  test('a head that fails blocks its group until it succeeds, and is listed with the reason', async ({
    client,
    url,
  }) => {
    await client.queues.create('stubborn', { backoff: { delay: '1h' } });
    const { id } = await client.enqueue('stubborn', 'head', { group: 'g' });
    const after = await client.enqueue('stubborn', 'next', { group: 'g' });
    const ran: unknown[] = [];
    let isBroken = true;
    const worker = await startWorker({
      url,
      queues: [
        work('stubborn', ({ payload }) => {
          if (isBroken) throw new Error('not today');
          ran.push(payload);
        }),
      ],
    });
    await heard(worker, 'job.failed');
    await waitFor(async () => (await client.jobs.get(id))?.state === 'scheduled', {
      what: 'backoff',
    });
    expect(await client.jobs.get(after.id)).toMatchObject({ state: 'blocked', group: 'g' });
    expect(await client.jobs.list({ queue: 'stubborn', state: 'blocked' })).toHaveLength(1);
    expect((await client.queues.stats('stubborn'))[0]).toMatchObject({ scheduled: 1, blocked: 1 });
    expect(await client.groups.blocked('stubborn')).toEqual([
      {
        queue: 'stubborn',
        group: 'g',
        waiting: 1,
        admitted: 1,
        headId: id,
        headState: 'scheduled',
        reason: expect.stringMatching(/^head backs off until \d{4}-/),
        since: expect.any(Date),
      },
    ]);
    isBroken = false;
    expect(await client.jobs.runNow([id, after.id])).toEqual([
      { id, outcome: 'ready' },
      { id: after.id, outcome: 'blocked' },
    ]);
    await waitFor(() => ran.length === 2, { what: 'both to run' });
    expect(ran).toEqual(['head', 'next']);
    expect(await client.groups.blocked('stubborn')).toEqual([]);
  });

  test('runOnce drains groups to the end', async ({ client, url }) => {
    await client.queues.create('drained', { groupConcurrency: 2 });
    await client.enqueueMany('drained', [1, 2, 3, 4, 5, 6, 7], { group: 'only' });
    const { createWorker, silentLogger } = await import('howdah');
    const worker = createWorker({
      url,
      logger: silentLogger,
      queues: [work('drained', () => undefined)],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 7, isDrained: true });
  });
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

/** Handlers that began before an earlier member of their group had ended. */
async function violations(pool: pg.Pool, queue: string): Promise<unknown[]> {
  const { rows } = await pool.query(
    `select * from (
      select id, group_key, (select min(r.at) from runs r where r.job_id = id) as began,
        lag(id) over w as previous, lag(finished_at) over w as previous_end
      from howdah.jobs where queue = $1
      window w as (partition by group_key order by id)) x
    where previous_end is null and previous is not null or began < previous_end limit 5`,
    [queue],
  );
  return rows;
}

test('many groups, several workers of which one after another is killed: no order violated, none lost', {
  timeout: 90_000,
}, async ({ url, pool }) => {
  const [groups, kills] = [40, 3];
  await createCounts(pool);
  const policy = { max_attempts: 1_000, max_crashes: 1_000, backoff_ms: 1, backoff_jitter: 0 };
  const queue = await createQueue(pool, policy);
  const options = { url, queue, lease: 1_000, binding: { concurrency: 4 } };
  const fleet = await Promise.all([1, 2, 3].map(() => startFaultWorker(options)));
  const ids: string[] = [];
  let hit = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    const spare = startFaultWorker(options);
    const jobs = Array.from({ length: groups * 5 }, (_, i) => ({
      payload: {
        do: i % 17 === 0 ? 'holdThenThrow' : 'effect',
        again: 'effect',
        gate: '/',
        ms: 20,
      },
      group: `g${i % groups}`,
    }));
    ids.push(...(await enqueue(pool, queue, jobs)));
    const victim = fleet.shift() as FaultWorker;
    await waitFor(async () => (await heldBy(pool, victim)) > 0, { what: 'a job to be held' });
    victim.process.kill('SIGKILL');
    await victim.process.exited;
    hit += await heldBy(pool, victim);
    fleet.push(await spare);
  }
  await waitForAllCompleted(pool, ids);
  expect(hit, 'jobs that were running when their worker was killed').toBeGreaterThan(0);
  expect(await wrongEffects(pool, ids)).toEqual([]);
  expect(await violations(pool, queue)).toEqual([]);
  // the handlers' own account: no run of a member after one of a later member
  const { rows } = await pool.query(
    `select a.job_id, b.job_id as later from runs a join runs b on b.at < a.at and b.job_id > a.job_id
    join howdah.jobs x on x.id = a.job_id join howdah.jobs y on y.id = b.job_id
    where x.group_key = y.group_key and x.queue = $1 and y.queue = $1 limit 5`,
    [queue],
  );
  expect(rows).toEqual([]);
  expect((await pool.query('select * from howdah.check_groups()')).rows).toEqual([]);
});
