import {
  createClient,
  HowdahError,
  type JobReport,
  type Json,
  queue,
  silentLogger,
  work,
} from 'howdah';
import { describe, expect, onTestFinished } from 'vitest';
import { codeOf, test } from '../support/client.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, heard, makeWorker, startWorker, waitForState } from '../support/workers.js';

/** A promise and what resolves it. */
function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

describe('progress', () => {
  test('is seen by who watches, and the last one before the end', async ({ client, url, pool }) => {
    const name = await createQueue(pool);
    const half = gate();
    await startWorker({
      url,
      queues: [
        work(name, async (_, context) => {
          context.progress({ done: 50 });
          await half.opened;
          for (let done = 51; done <= 100; done += 1) context.progress({ done });
          return 'all';
        }),
      ],
    });
    const handle = await client.enqueue(name, 1);
    const seen: JobReport[] = [];
    for await (const report of handle.watch()) {
      seen.push(report);
      if ((report.progress as { done?: number } | null)?.done === 50) half.open();
    }
    expect(seen.at(-1)).toMatchObject({
      id: handle.id,
      state: 'completed',
      attempt: 1,
      progress: { done: 100 },
      progressAt: expect.any(Date),
    });
    expect(seen.some(({ state }) => state === 'running')).toBe(true);
    expect(await handle.result()).toBe('all');
    const later: JobReport[] = [];
    for await (const report of client.watch(handle.id)) later.push(report);
    expect(later).toHaveLength(1);
    await expect(client.watch('99999999').next()).rejects.toMatchObject({
      code: 'HOWDAH_JOB_UNKNOWN',
    });
  });

  test('is told to listeners, which may stop and may throw; the last one always', async ({
    url,
    pool,
  }) => {
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (message: string) => void errors.push(message) };
    const client = createClient({ url, logger });
    onTestFinished(() => client.close());
    const name = await createQueue(pool);
    const first = gate();
    await startWorker({
      url,
      queues: [
        work(name, async (_, { progress }) => {
          progress(1);
          await first.opened;
          for (let n = 2; n <= 100; n += 1) progress(n);
        }),
      ],
    });
    const handle = await client.enqueue(name, 1);
    const heardBy: Json[][] = [[], [], []];
    handle.onProgress(({ progress, progressAt }) => {
      expect(progressAt).toBeInstanceOf(Date);
      heardBy[0]?.push(progress);
      first.open();
    });
    const stop = handle.onProgress(({ progress }) => {
      heardBy[1]?.push(progress);
      stop();
    });
    handle.onProgress(async ({ progress }) => {
      heardBy[2]?.push(progress);
      throw new Error('a listener');
    });
    await handle.result();
    await waitFor(() => heardBy[0]?.at(-1) === 100 && heardBy[2]?.at(-1) === 100);
    expect(heardBy[0]?.[0]).toBe(1);
    expect(heardBy[1]).toEqual([1]);
    expect(new Set(errors)).toEqual(new Set(['listener.threw']));
    const late: Json[] = [];
    handle.onProgress(({ progress }) => void late.push(progress));
    await waitFor(() => late.length === 1);
    expect(late).toEqual([100]);
    expect(() => handle.onProgress('x' as never)).toThrow('listener');
  });

  test('a thousand calls a second cost at most ten writes a second', async ({
    client,
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const writes = async (): Promise<number> => {
      const { rows } = await pool.query(
        `select coalesce(sum(lines), 0)::int as n from howdah._reports where job_id = $1`,
        [handle.id],
      );
      return rows[0].n;
    };
    await pool.query(
      // each write of a row of reports is counted in a column that this job does not use
      `create function howdah.count_writes() returns trigger language plpgsql as
        'begin new.lines := new.lines + 1; return new; end'`,
    );
    await pool.query(
      `create trigger count_writes before update on howdah._reports
      for each row execute function howdah.count_writes()`,
    );
    onTestFinished(async () => {
      await pool.query('drop function howdah.count_writes() cascade');
    });
    let calls = 0;
    let tookMs = 0;
    await startWorker({
      url,
      queues: [
        work(name, async (_, context) => {
          const start = performance.now();
          while (performance.now() - start < 2_000) {
            for (let i = 0; i < 10; i += 1) context.progress(++calls);
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
          tookMs = performance.now() - start;
        }),
      ],
    });
    const handle = await client.enqueue(name, 1);
    await handle.result({ timeout: '20s' });
    expect(calls).toBeGreaterThan(500);
    expect((await client.jobs.get(handle.id))?.progress).toBe(calls);
    // and the last one, at the end
    expect(await writes()).toBeLessThanOrEqual((10 * tookMs) / 1000 + 1);
    expect(await writes()).toBeGreaterThan(2);
  });

  test('of a batch is that of each of its jobs; with completeIn it is there before the end', async ({
    client,
    url,
    pool,
  }) => {
    const [batch, single] = [await createQueue(pool), await createQueue(pool)];
    const { worker } = makeWorker({
      url,
      queues: [
        work(batch, async (jobs, context) => context.progress(jobs.length), {
          batch: { size: 10 },
        }),
        work(single, async (_, context) => {
          context.progress('nearly');
          const tx = await pool.connect();
          await tx.query('begin');
          await context.completeIn(tx);
          await tx.query('commit');
          tx.release();
        }),
      ],
    });
    const ids = (await client.enqueueMany(batch, [1, 2])).ids.map(String);
    const { id } = await client.enqueue(single, 1);
    expect(await worker.runOnce()).toMatchObject({ completed: 3 });
    const jobs = await Promise.all([...ids, id].map((each) => client.jobs.get(each)));
    expect(jobs.map((job) => job?.progress)).toEqual([2, 2, 'nearly']);
  });

  test('of a transactional handler: the last one is there before the end', async ({
    client,
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const { worker } = makeWorker({
      url,
      queues: [
        work(
          name,
          async ({ id }, { progress, log }) => {
            progress('begun');
            await waitFor(async () => (await client.jobs.get(id))?.progress === 'begun');
            // the next write is not due before the transaction has long been committed
            progress('done');
            log.info('the last line');
          },
          { transactional: true },
        ),
      ],
    });
    const { id } = await client.enqueue(name, 1);
    expect(await worker.runOnce()).toMatchObject({ completed: 1 });
    expect(await client.jobs.get(id)).toMatchObject({
      progress: 'done',
      logs: [{ message: 'the last line' }],
    });
  });

  test('what is no JSON or too large is refused to the handler', async ({ client, url, pool }) => {
    const name = await createQueue(pool);
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    const codes: unknown[] = [];
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, (_, context) => {
          for (const value of [1n, cycle, 'a\0b', 'x'.repeat(5_000)]) {
            try {
              context.progress(value as Json);
            } catch (error) {
              codes.push((error as HowdahError).code);
            }
          }
        }),
      ],
    });
    const { id } = await client.enqueue(name, 1);
    expect(await worker.runOnce()).toMatchObject({ completed: 1 });
    expect(codes).toEqual([
      ...Array.from({ length: 3 }, () => 'HOWDAH_PAYLOAD_INVALID'),
      'HOWDAH_REPORT_INVALID',
    ]);
    expect((await client.jobs.get(id))?.progress).toBeNull();
  });

  test('after the end is ignored, with a typed error in an event', async ({
    client,
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const after = gate();
    const said = gate();
    const made = await startWorker({
      url,
      queues: [
        work(name, (_, context) => {
          void after.opened.then(() => {
            context.progress('too late');
            context.log.info('too late');
            said.open();
          });
          context.progress('in time');
        }),
      ],
    });
    const handle = await client.enqueue(name, 1);
    await handle.result({ timeout: '10s' });
    after.open();
    await said.opened;
    const { error, job } = await heard(made, 'job.report-ignored');
    expect(error).toBeInstanceOf(HowdahError);
    expect([error.code, job.id]).toEqual(['HOWDAH_SETTLE_STALE', handle.id]);
    expect(await client.jobs.get(handle.id)).toMatchObject({ progress: 'in time', logs: [] });
    expect(made.events.filter(({ type }) => type === 'job.report-ignored')).toHaveLength(1);
  });
});

describe('log lines', () => {
  test('are kept with the job, beyond its end, and shown with it', async ({
    client,
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, ({ attempt }, { log }) => {
          log.debug('not kept');
          log.info('begun', { attempt });
          log.warn('odd \0 text', { text: 'a\0b', error: new Error('x'), big: 5n });
          log.error('no JSON', cycle);
          log.info('x'.repeat(10_000));
          if (attempt === 1) throw new Error('again');
        }),
      ],
    });
    const { id } = await client.enqueue(name, 1, { attempts: 2 });
    await worker.runOnce();
    await client.jobs.runNow(id);
    await worker.runOnce();
    const job = await client.jobs.get(id);
    expect(job?.state).toBe('completed');
    expect(job?.logs.map(({ level, attempt }) => `${attempt} ${level}`)).toEqual([
      ...['info', 'warn', 'error', 'info'].map((level) => `1 ${level}`),
      ...['info', 'warn', 'error', 'info'].map((level) => `2 ${level}`),
    ]);
    expect(job?.logs.slice(0, 3)).toMatchObject([
      { message: 'begun', fields: { attempt: 1 }, at: expect.any(Date) },
      {
        message: 'odd \uFFFD text',
        fields: { text: 'a\uFFFDb', error: { message: 'x' }, big: '5' },
      },
      { message: 'no JSON', fields: { howdah: 'fields that are no JSON not kept' } },
    ]);
    expect(job?.logs[3]?.message).toHaveLength(4096);
    const times = job?.logs.map(({ at }) => at.getTime()) ?? [];
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });

  test('are not kept where the binding says so', async ({ client, url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = makeWorker({
      url,
      queues: [work(name, (_, { log }) => log.info('hello'), { keepLogs: false })],
    });
    const { id } = await client.enqueue(name, 1);
    await worker.runOnce();
    expect((await client.jobs.get(id))?.logs).toEqual([]);
    expect(() => work(name, () => undefined, { keepLogs: 1 as never })).toThrow('keepLogs');
  });

  test('a database that is away costs reports, never the job', async ({ url, pool, client }) => {
    const name = await createQueue(pool);
    const proxy = await FaultProxy.start(url);
    onTestFinished(() => proxy.stop());
    const cut = gate();
    const made = await startWorker({
      url: proxy.url,
      queues: [
        work(name, async (_, context) => {
          context.progress('before');
          await cut.opened;
          context.progress('after');
          context.log.info('after');
          return 'done';
        }),
      ],
    });
    const handle = await client.enqueue(name, 1);
    await waitForState(pool, handle.id, 'running');
    await waitFor(async () => (await client.jobs.get(handle.id))?.progress === 'before', {
      what: 'the first progress',
    });
    proxy.cut();
    cut.open();
    expect(await handle.result({ timeout: '30s' })).toBe('done');
    expect(made.events.some(({ type }) => type === 'lease.lost')).toBe(false);
  });
});

describe('cancel of what runs', () => {
  test('the signal aborts within 100 ms of the commit', async ({ client, url, pool }) => {
    const name = await createQueue(pool);
    const abortedAt = new Map<string, number>();
    await startWorker({
      url,
      queues: [
        work(name, async ({ id }, { signal }) => {
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          abortedAt.set(id, performance.now());
          signal.throwIfAborted();
        }),
      ],
    });
    const took: number[] = [];
    for (let i = 0; i < 7; i += 1) {
      const handle = await client.enqueue(name, i);
      await waitForState(pool, handle.id, 'running');
      expect(await client.jobs.cancelWhere({ queue: name, state: 'running' })).toMatchObject({
        requested: 1,
      });
      const committedAt = performance.now();
      expect(await codeOf(handle.result({ timeout: '10s' }))).toBe('HOWDAH_JOB_CANCELLED');
      took.push((abortedAt.get(handle.id) ?? Number.POSITIVE_INFINITY) - committedAt);
    }
    took.sort((a, b) => a - b);
    if (process.env.HOWDAH_FIGURES) console.log({ abortedAfterMs: took });
    expect(took[3]).toBeLessThan(100);
  });

  test('within the poll when the ring is lost', async ({ client, url, pool }) => {
    const name = await createQueue(pool);
    const proxy = await FaultProxy.start(url);
    onTestFinished(() => proxy.stop());
    const started = gate();
    const made = await startWorker({
      url: proxy.url,
      poll: 300,
      heartbeat: '10s',
      queues: [
        work(name, async (_, { signal }) => {
          started.open();
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          signal.throwIfAborted();
        }),
      ],
    });
    await heard(made, 'listener.hearing');
    const { id } = await client.enqueue(name, 1);
    await started.opened;
    proxy.dropNotifications();
    await client.jobs.cancel(id);
    const committedAt = performance.now();
    await heard(made, 'job.cancelled', 5_000);
    // neither the heartbeat nor the listener that finds itself deaf would be so soon
    expect(performance.now() - committedAt).toBeLessThan(2_500);
  });

  test('a cancelled head lets its group go on', async ({ client, url }) => {
    const fifo = queue<number>('fifo-cancel');
    const ran: number[] = [];
    await startWorker({
      url,
      queues: [
        work(fifo, async ({ payload }, { signal }) => {
          ran.push(payload);
          if (payload > 0) return;
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          signal.throwIfAborted();
        }),
      ],
    });
    const head = await client.enqueue(fifo, 0, { group: 'g' });
    const next = await client.enqueue(fifo, 1, { group: 'g' });
    await waitFor(() => ran.length === 1, { what: 'the head to run' });
    await client.jobs.cancel(head.id);
    await next.result({ timeout: '10s' });
    expect(ran).toEqual([0, 1]);
  });
});
