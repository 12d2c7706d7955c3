import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type AttemptMiddleware,
  createClient,
  PermanentError,
  snooze,
  type WorkerOptions,
  work,
} from 'howdah';
import type pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/client.js';
import { scrambling } from '../support/codecs.js';
import { createQueue, enqueue, makeWorker, readJob } from '../support/workers.js';

const FILE = new URL('../support/scripts/file-handler.mjs', import.meta.url);
const KINDS = [
  { kind: 'thread', size: { threads: 1 } },
  { kind: 'process', size: { processes: 1 } },
] as const;

describe.each(KINDS)('middleware around a handler file run in a $kind', ({ size }) => {
  /** Runs one job that does this, with middleware around. */
  async function runWith(
    { url, pool }: { url: string; pool: pg.Pool },
    payload: object,
    middleware: readonly AttemptMiddleware[],
    options: Partial<WorkerOptions> = {},
  ) {
    const name = await createQueue(pool, { max_attempts: 1 });
    const [id] = await enqueue(pool, name, [{ payload }]);
    const made = makeWorker({
      url,
      middleware,
      queues: [work(name, { file: FILE, ...size })],
      ...options,
    });
    await made.worker.runOnce();
    return { ...made, job: await readJob(pool, id) };
  }

  test('sees what it returned, in the async context of the others, and may replace it', async ({
    url,
    pool,
  }) => {
    const tenant = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const outer: AttemptMiddleware = (_input, _context, next) => tenant.run('acme', next);
    const inner: AttemptMiddleware = async (input, context, next) => {
      seen.push(tenant.getStore(), [input].flat()[0]?.payload, context.signal.aborted);
      context.progress(50);
      seen.push(await next());
    };
    const payload = { do: 'returns', value: { n: [1] } };
    const { job } = await runWith({ url, pool }, payload, [outer, inner]);
    expect(seen).toEqual(['acme', payload, false, { n: [1] }]);
    expect(job).toMatchObject({ state: 'completed', result: { n: [1] } });
    for (const [value, instead] of [
      [5, { decision: 'mine' }],
      [{ n: 1 }, null],
      [null, 7],
    ]) {
      const replaced = await runWith({ url, pool }, { do: 'returns', value }, [
        async (_input, _context, next) => {
          expect(await next()).toEqual(value);
          return instead;
        },
      ]);
      expect(replaced.job).toMatchObject({ state: 'completed', result: instead });
    }
  });

  test('sees what it threw; swallowed it has failed all the same, unless a value is returned', async ({
    url,
    pool,
  }) => {
    const seen: unknown[] = [];
    const looks: AttemptMiddleware = (_input, _context, next) =>
      next().then(
        () => undefined,
        (error) => void seen.push(error),
      );
    const swallowed = await runWith({ url, pool }, { do: 'throws' }, [looks]);
    expect(swallowed.job.errors).toMatchObject([
      { name: 'TypeError', message: 'broken', code: 'E_BROKEN' },
    ]);
    expect(seen).toMatchObject([{ name: 'TypeError', message: 'broken', code: 'E_BROKEN' }]);
    expect((seen[0] as Error).stack).toContain('file-handler.mjs');
    const permanent = await runWith({ url, pool }, { do: 'throwsPermanent' }, [looks]);
    expect(seen[1]).toBeInstanceOf(PermanentError);
    expect(permanent.job).toMatchObject({ state: 'dead', reason: 'never' });
    const saved = await runWith({ url, pool }, { do: 'throws' }, [
      (_input, _context, next) => next().catch(() => null),
    ]);
    expect(saved.job).toMatchObject({ state: 'completed', result: null });
    const wrapped = await runWith({ url, pool }, { do: 'throws' }, [
      (_input, _context, next) =>
        next().catch((cause) => {
          throw new RangeError(`wrapped: ${cause.message}`);
        }),
    ]);
    expect(wrapped.job.errors).toMatchObject([{ name: 'RangeError', message: 'wrapped: broken' }]);
  });

  test('an outcome passes through it; its own goes instead, and without next nothing runs', async ({
    url,
    pool,
  }) => {
    const passed = await runWith({ url, pool }, { do: 'snoozes' }, [
      async (_input, _context, next) => next(),
    ]);
    expect(passed.job).toMatchObject({ state: 'scheduled', attempt: 0 });
    const own = await runWith({ url, pool }, { do: 'exits' }, [() => snooze('1h')]);
    expect(own.job).toMatchObject({ state: 'scheduled', attempt: 0 });
    expect(own.events.map(({ type }) => type)).not.toContain('handler.crashed');
    const silent = await runWith({ url, pool }, { do: 'exits' }, [() => undefined]);
    expect(silent.job.errors).toMatchObject([{ code: 'HOWDAH_MIDDLEWARE_INVALID' }]);
  });

  test('a crash is told, even where it is made a success', async ({ url, pool }) => {
    const { job, events } = await runWith({ url, pool }, { do: 'exits' }, [
      (_input, _context, next) => next().catch(({ code }) => ({ code })),
    ]);
    expect(job).toMatchObject({ state: 'completed', result: { code: 'HOWDAH_HANDLER_CRASHED' } });
    expect(events.map(({ type }) => type)).toContain('handler.crashed');
  });

  test('a transaction around it completes the job, or has failed where it does not commit', async ({
    url,
    pool,
  }) => {
    const around =
      (end: 'commit' | 'rollback'): AttemptMiddleware =>
      async (_input, context, next) => {
        const tx = await pool.connect();
        try {
          await tx.query('begin');
          await context.completeIn(tx, (await next()) as never);
          await tx.query(end);
        } finally {
          tx.release();
        }
      };
    const payload = { do: 'returns', value: 3 };
    const committed = await runWith({ url, pool }, payload, [around('commit')]);
    expect(committed.job).toMatchObject({ state: 'completed', result: 3 });
    const undone = await runWith({ url, pool }, payload, [around('rollback')]);
    expect(undone.job).toMatchObject({
      state: 'dead',
      errors: [{ code: 'HOWDAH_TRANSACTION_INVALID' }],
    });
  });

  test('with a codec: all of it is decoded on the way in and encoded on the way out', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const client = createClient({ url, codec: scrambling });
    onTestFinished(() => client.close());
    const handle = await client.enqueue(name, { do: 'returns', value: 'xyzzy' });
    const logging = await client.enqueue(name, { do: 'logs' }, { headers: { a: 'xyzzy' } });
    const seen: unknown[] = [];
    const { worker } = makeWorker({
      url,
      codec: scrambling,
      middleware: [async (_input, _context, next) => void seen.push(await next())],
      queues: [work(name, { file: FILE, ...size })],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 2 });
    expect(seen).toContain('xyzzy');
    expect(await handle.result()).toBe('xyzzy');
    const { logs } = (await client.jobs.get(logging.id)) ?? {};
    expect(logs?.[0]).toMatchObject({ message: 'from afar', fields: { answer: 42 } });
    const { rows } = await pool.query(
      `select h::text from howdah._history h where h::text like '%xyzzy%' union all
      select l::text from howdah._report_lines l where l::text like '%from afar%'`,
    );
    expect(rows).toEqual([]);
  });
});
