import { HowdahError, queue, work } from 'howdah';
import { describe, expect } from 'vitest';
import { z } from 'zod';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import {
  countdown,
  createQueue,
  enqueue,
  heard,
  makeWorker,
  readJob,
  startWorker,
  waitForState,
} from '../support/workers.js';

describe('a worker', () => {
  test('runs jobs and hands them over as they were enqueued', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const jobs: unknown[] = [];
    await startWorker({ url, queues: [work(name, (job) => void jobs.push(job))] });
    const [id] = await enqueue(pool, name, [
      { payload: { n: 1 }, priority: 7, headers: { trace: 'abc' }, max_attempts: 3 },
    ]);
    const { attempt, worker } = await waitForState(pool, id, 'completed');
    expect(attempt).toBe(1);
    expect(worker).toContain(String(process.pid));
    expect(jobs).toEqual([
      {
        id,
        queue: name,
        payload: { n: 1 },
        headers: { trace: 'abc' },
        attempt: 1,
        maxAttempts: 3,
        priority: 7,
        enqueuedAt: expect.any(Date),
        group: null,
        errors: [],
      },
    ]);
    const { enqueuedAt } = jobs[0] as { enqueuedAt: Date };
    expect(Math.abs(Date.now() - enqueuedAt.getTime())).toBeLessThan(60_000);
  });

  test('runs 5,000 jobs, each once, at most as many at once as it may', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const ids = await enqueue(
      pool,
      name,
      Array.from({ length: 5_000 }, () => ({})),
    );
    const seen = new Map<string, number>();
    const all = countdown(5_000);
    let running = 0;
    let most = 0;
    const handler = async ({ id }: { id: string }) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      seen.set(id, (seen.get(id) ?? 0) + 1);
      all.tick();
    };
    await startWorker({ url, queues: [work(name, handler, { concurrency: 7 })] });
    await all.done;
    expect(most).toBe(7);
    expect([...seen.keys()].sort()).toEqual([...ids].sort());
    expect([...seen.values()].every((times) => times === 1)).toBe(true);
    await waitFor(async () => {
      const { rows } = await pool.query(
        'select count(*)::int as n from howdah.history where queue = $1',
        [name],
      );
      return rows[0].n === 5_000;
    });
  });

  test('higher priority runs first, equal priority in order', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const order: number[] = [];
    const jobs = [0, 5, -3, 5, 0].map((priority, n) => ({ payload: n, priority }));
    await enqueue(pool, name, jobs);
    const handler = ({ payload }: { payload: unknown }) => void order.push(payload as number);
    const { worker } = makeWorker({ url, queues: [work(name, handler, { concurrency: 1 })] });
    await worker.runOnce();
    expect(order).toEqual([1, 3, 0, 4, 2]);
  });

  test('several queues beside each other', async ({ url, pool }) => {
    const names = [await createQueue(pool), await createQueue(pool), await createQueue(pool)];
    const ran: string[] = [];
    await startWorker({
      url,
      queues: names.map((name) => work(name, (job) => void ran.push(job.queue))),
    });
    const ids = (await Promise.all(names.map((name) => enqueue(pool, name)))).flat();
    for (const id of ids) await waitForState(pool, id, 'completed');
    expect(ran.sort()).toEqual([...names].sort());
  });

  test('two workers share a queue and no job runs twice', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const ran: string[] = [];
    const all = countdown(400);
    const handler = async ({ id }: { id: string }) => {
      ran.push(id);
      all.tick();
      await new Promise((resolve) => setTimeout(resolve, 1));
    };
    const queues = [work(name, handler, { concurrency: 5 })];
    await Promise.all([startWorker({ url, queues }), startWorker({ url, queues })]);
    await enqueue(
      pool,
      name,
      Array.from({ length: 400 }, () => ({})),
    );
    await all.done;
    expect(new Set(ran).size).toBe(400);
    expect(ran.length).toBe(400);
  });

  test('is shown in the views while it runs, and leaves none behind', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = await startWorker({
      url,
      name: 'shown-in-views',
      queues: [work(name, () => undefined)],
    });
    const shown = "select * from howdah.workers where worker = 'shown-in-views'";
    expect((await pool.query(shown)).rows).toMatchObject([{ alive: true, lease_ms: 30_000 }]);
    await worker.stop();
    expect((await pool.query(shown)).rows).toEqual([]);
    // the server's side of a connection ends a moment after ours
    const left =
      "select from pg_stat_activity where application_name like 'howdah%' and datname = current_database()";
    await waitFor(async () => (await pool.query(left)).rowCount === 0, { what: 'no connection' });
  });
});

describe('a declared queue', () => {
  test('is created by the worker, its payloads are checked before the handler sees them', async ({
    url,
    pool,
  }) => {
    const email = queue('declared-email', {
      schema: z.object({ to: z.email(), sendAt: z.coerce.date().optional() }),
      attempts: 4,
    });
    const seen: unknown[] = [];
    const { events } = await startWorker({
      url,
      queues: [work(email, ({ payload }) => void seen.push(payload))],
    });
    const [good, bad] = await enqueue(pool, 'declared-email', [
      { payload: { to: 'a@b.example', sendAt: '2026-01-01T00:00:00Z', extra: 1 } },
      { payload: { to: 'nobody' } },
    ]);
    await waitForState(pool, good, 'completed');
    expect(seen).toEqual([{ to: 'a@b.example', sendAt: new Date('2026-01-01T00:00:00Z') }]);
    const { errors, attempt } = await waitForState(pool, bad, 'dead');
    expect(attempt).toBe(1);
    expect(errors).toMatchObject([
      { code: 'HOWDAH_PAYLOAD_INVALID', message: expect.stringContaining('to: '), attempt: 1 },
    ]);
    // the worker hears of it a moment after the database shows it
    await waitFor(() => events.some(({ type }) => type === 'job.dead'));
    expect(events.filter(({ type }) => type === 'job.dead')).toHaveLength(1);
  });

  test('an asynchronous schema works the same', async ({ url, pool }) => {
    const checked = queue('declared-async', {
      schema: z.object({ n: z.number() }).refine(async ({ n }) => n > 0, 'must be positive'),
    });
    const seen: unknown[] = [];
    const { worker } = makeWorker({
      url,
      queues: [work(checked, ({ payload }) => void seen.push(payload))],
    });
    await pool.query("select howdah.create_queue('declared-async')");
    const [good, bad] = await enqueue(pool, 'declared-async', [
      { payload: { n: 1 } },
      { payload: { n: -1 } },
    ]);
    expect(await worker.runOnce()).toMatchObject({ completed: 1, dead: 1, isDrained: true });
    expect(seen).toEqual([{ n: 1 }]);
    expect((await readJob(pool, good)).state).toBe('completed');
    expect((await readJob(pool, bad)).errors?.[0]?.message).toContain('must be positive');
  });
});

describe('what cannot work is refused at the start', () => {
  test('a queue that does not exist', async ({ url }) => {
    const { worker } = makeWorker({ url, queues: [work('no-such-queue', () => undefined)] });
    await expect(worker.start()).rejects.toMatchObject({ code: 'HOWDAH_QUEUE_UNKNOWN' });
    await worker.stopped;
  });

  test('a database without the schema', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    const { worker } = makeWorker({ url, queues: [work('any', () => undefined)] });
    await expect(worker.start()).rejects.toMatchObject({ code: 'HOWDAH_SCHEMA_MISSING' });
  });

  test('a server that is not there', async () => {
    const { worker } = makeWorker({
      url: 'postgres://nobody:secret-word@127.0.0.1:1/x',
      queues: [work('any', () => undefined)],
    });
    const error = await worker.start().catch((thrown) => thrown);
    expect(error).toBeInstanceOf(HowdahError);
    expect(error.code).toBe('HOWDAH_DATABASE_UNAVAILABLE');
    expect(error.message).not.toContain('secret-word');
  });

  test('starting twice is one start, starting after a stop is an error', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = makeWorker({ url, queues: [work(name, () => undefined)] });
    await Promise.all([worker.start(), worker.start()]);
    await expect(worker.runOnce()).rejects.toMatchObject({ code: 'HOWDAH_OPTION_INVALID' });
    await worker.stop();
    await expect(worker.start()).rejects.toMatchObject({ code: 'HOWDAH_SHUTDOWN' });
  });
});

test('a listener that throws does not disturb the worker', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const made = await startWorker({ url, queues: [work(name, () => undefined)] });
  made.worker.on('job.completed', () => {
    throw new Error('listener');
  });
  const [id] = await enqueue(pool, name);
  await waitForState(pool, id, 'completed');
  expect((await heard(made, 'job.completed')).job).toEqual({ id, queue: name, attempt: 1 });
});

test('a queue deleted under a worker is reported, found again, and disturbs no other', async ({
  url,
  pool,
}) => {
  const [gone, other] = [await createQueue(pool), await createQueue(pool)];
  const made = await startWorker({
    url,
    poll: '100ms',
    queues: [work(gone, () => undefined), work(other, () => undefined)],
  });
  await pool.query('select howdah.delete_queue($1, true)', [gone]);
  expect(await heard(made, 'queue.missing')).toMatchObject({ queue: gone });
  const [id] = await enqueue(pool, other);
  await waitForState(pool, id, 'completed');
  await pool.query('select howdah.create_queue($1)', [gone]);
  const [again] = await enqueue(pool, gone);
  await waitForState(pool, again, 'completed');
  expect(await heard(made, 'queue.found')).toMatchObject({ queue: gone });
});

test('a paused queue rests, a resumed one goes on at once', async ({ url, pool }) => {
  const name = await createQueue(pool);
  await pool.query("select howdah.pause_queue($1, 'because')", [name]);
  await startWorker({ url, poll: '10s', queues: [work(name, () => undefined)] });
  const [id] = await enqueue(pool, name);
  await waitFor(async () => {
    const { rows } = await pool.query('select count(*)::int as n from howdah._sleepers');
    return rows[0].n === 1;
  });
  expect((await readJob(pool, id)).state).toBe('ready');
  await pool.query('select howdah.resume_queue($1)', [name]);
  await waitForState(pool, id, 'completed', 5_000);
});
