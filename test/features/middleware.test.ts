import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type AttemptMiddleware,
  type ClientEvents,
  type ClientOptions,
  createClient,
  type EnqueueCall,
  type EnqueueMiddleware,
  type EventOf,
  type HandlerReturn,
  PermanentError,
  queue,
  silentLogger,
  snooze,
  type WorkerOptions,
  work,
} from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { codeOf, test } from '../support/client.js';
import { createQueue, enqueue, makeWorker, readJob } from '../support/workers.js';

const TAKEN = { dedupe: { key: 'k' } };

function clientWith(options: ClientOptions) {
  const client = createClient(options);
  onTestFinished(() => client.close());
  return client;
}

describe('around enqueue', () => {
  test('headers, options and payload may be changed, the first middleware outermost', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const seen: unknown[] = [];
    const outer: EnqueueMiddleware = async (call, next) => {
      seen.push(['outer', call.queue, call.payload]);
      const answer = await next(call.withHeaders({ tenant: 'a' }).withOptions({ priority: 7 }));
      seen.push(answer);
    };
    const inner: EnqueueMiddleware = async (call, next) => {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(['inner', call.options.headers]);
      return next(call.withPayloads((payload) => ({ wrapped: payload })));
    };
    const client = clientWith({ url, middleware: [outer, inner] });
    const enqueued = await client.enqueue(name, 1, { headers: { trace: 't' } });
    expect(seen).toEqual([['outer', name, 1], ['inner', { trace: 't', tenant: 'a' }], enqueued]);
    expect(await client.jobs.get(enqueued.id)).toMatchObject({
      payload: { wrapped: 1 },
      headers: { trace: 't', tenant: 'a' },
      priority: 7,
    });
  });

  test('once for an enqueueMany, whatever it is given', async ({ url, pool, storedJobs }) => {
    const name = await createQueue(pool);
    const calls: EnqueueCall[] = [];
    const client = clientWith({
      url,
      middleware: [
        (call, next) => {
          calls.push(call);
          return next(call.withPayloads((n) => (n as number) + 100));
        },
      ],
    });
    async function* stream() {
      yield* [5, 6];
    }
    const { ids } = await client.enqueueMany(name, [1, 2]);
    expect(ids).toHaveLength(2);
    await client.enqueueMany(name, new Set([3, 4]));
    await client.enqueueMany(name, stream());
    expect(calls.map(({ isMany }) => isMany)).toEqual([true, true, true]);
    const payloads = (await storedJobs(name)).map(({ payload }) => payload);
    expect(payloads).toEqual([101, 102, 103, 104, 105, 106]);
    expect(await codeOf(client.enqueueMany(name, 7 as never))).toBe('HOWDAH_OPTION_INVALID');
  });

  test('in a transaction of the caller', async ({ url, pool, storedJobs }) => {
    const name = await createQueue(pool);
    const client = clientWith({
      url,
      middleware: [(call, next) => next(call.withHeaders({ a: 1 }))],
    });
    const tx = new pg.Client(url);
    await tx.connect();
    onTestFinished(() => tx.end());
    await tx.query('begin');
    await client.enqueue(name, 1, { tx });
    await tx.query('rollback');
    expect(await storedJobs(name)).toEqual([]);
  });

  test('around a publication and the job that follows a batch', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const calls: unknown[] = [];
    const client = clientWith({
      url,
      middleware: [
        async (call, next) => {
          calls.push([call.via, call.queue, call.payload, call.isMany]);
          const changed = call.withHeaders({ tenant: 'a' }).withPayloads((payload) => [payload]);
          calls.push(await next(changed.withOptions({ priority: 7 })));
        },
      ],
    });
    const events: EventOf<ClientEvents>[] = [];
    client.onEvent((event) => events.push(event));
    await client.topics.subscribe('surrounded', name);
    const [published] = await client.publish('surrounded', 1, { headers: { trace: 't' } });
    expect(await client.jobs.get(published?.id as string)).toMatchObject({
      payload: [1],
      priority: 7,
      headers: { tenant: 'a', trace: 't', 'howdah-topic': 'surrounded' },
    });
    const batch = await client.batches.open({
      onComplete: { queue: name, payload: 2, attempts: 3 },
    });
    await batch.close({ allowEmpty: true });
    const { jobId } = (await batch.info()) ?? {};
    expect(await client.jobs.get(jobId as string)).toMatchObject({
      payload: [2],
      priority: 7,
      headers: { tenant: 'a', 'howdah-batch': { total: 0 } },
    });
    await client.batches.open({ name: 'nothing follows' });
    expect(calls).toEqual([
      ['publish', 'surrounded', 1, false],
      [published],
      ['batch', name, 2, false],
      batch.id,
    ]);
    const job = { id: published?.id, queue: name };
    expect(events).toEqual([{ type: 'job.enqueued', job, isCommitted: true }]);
  });

  test('a publication or batch whose middleware throws or is silent makes nothing', async ({
    url,
    pool,
    storedJobs,
  }) => {
    const name = await createQueue(pool);
    let behave: EnqueueMiddleware = () => undefined;
    const client = clientWith({ url, middleware: [(call, next) => behave(call, next)] });
    await client.topics.subscribe('silent', name);
    const onComplete = { queue: name, payload: 1 };
    const before = await client.batches.list();
    for (const call of [
      () => client.publish('silent', 1),
      () => client.batches.open({ onComplete }),
    ]) {
      behave = () => undefined;
      expect(await codeOf(call())).toBe('HOWDAH_MIDDLEWARE_INVALID');
      behave = () => {
        throw new RangeError('not this one');
      };
      await expect(call()).rejects.toThrow(RangeError);
    }
    expect(await storedJobs(name)).toEqual([]);
    expect(await client.batches.list()).toEqual(before);
    behave = (call, next) => next(call.withOptions({ batchSize: 5 }));
    expect(await codeOf(client.publish('silent', 1))).toBe('HOWDAH_OPTION_INVALID');
  });

  test('one that throws rejects its own call only, with its own error', async ({
    url,
    pool,
    storedJobs,
  }) => {
    const name = await createQueue(pool);
    const client = clientWith({
      url,
      middleware: [
        (call, next) => {
          if (call.payload === 'bad') throw new RangeError('not this one');
          return next();
        },
      ],
    });
    const calls = ['good', 'bad', 'fine'].map((payload) => client.enqueue(name, payload));
    const [good, bad, fine] = await Promise.allSettled(calls);
    expect([good?.status, fine?.status]).toEqual(['fulfilled', 'fulfilled']);
    expect((bad as PromiseRejectedResult).reason).toBeInstanceOf(RangeError);
    expect((await storedJobs(name)).map(({ payload }) => payload)).toEqual(['good', 'fine']);
  });

  test('one that never calls next, calls it twice, or swallows the error', async ({
    url,
    pool,
    storedJobs,
  }) => {
    const name = await createQueue(pool);
    let behave: EnqueueMiddleware = () => 'ignored';
    const client = clientWith({ url, middleware: [(call, next) => behave(call, next)] });
    expect(await codeOf(client.enqueue(name, 1))).toBe('HOWDAH_MIDDLEWARE_INVALID');
    expect(await codeOf(client.enqueueMany(name, [1]))).toBe('HOWDAH_MIDDLEWARE_INVALID');
    behave = async (_, next) => {
      await next();
      await next();
    };
    expect(await codeOf(client.enqueue(name, 2))).toBe('HOWDAH_MIDDLEWARE_INVALID');
    behave = (_, next) => next().catch(() => 'swallowed');
    expect(await codeOf(client.enqueue('unknown', 3))).toBe('HOWDAH_QUEUE_UNKNOWN');
    expect(await codeOf(client.enqueue(name, 3n))).toBe('HOWDAH_PAYLOAD_INVALID');
    behave = (_, next) => void next(); // does not wait
    expect(await client.enqueue(name, 4)).toMatchObject({ created: true });
    expect((await storedJobs(name)).map(({ payload }) => payload)).toEqual([2, 4]);
  });

  test('a client that closes does not wait for middleware; its call is refused', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    let go = (): void => {};
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    const client = clientWith({ url, middleware: [(_, next) => held.then(() => next())] });
    const code = codeOf(client.enqueue(name, 1));
    await client.close();
    go();
    expect(await code).toBe('HOWDAH_CLIENT_CLOSED');
  });

  test.for([[1], ['x'], {}, 'x'])('option middleware %j is refused', (middleware) => {
    expect(() => createClient({ middleware: middleware as never })).toThrow(
      expect.objectContaining({ code: 'HOWDAH_OPTION_INVALID' }),
    );
  });
});

/** Runs jobs of one queue with middleware of the worker. */
async function runWith(
  { url, pool }: { url: string; pool: pg.Pool },
  middleware: readonly AttemptMiddleware[],
  handler: () => HandlerReturn | Promise<HandlerReturn> = () => 'handled',
  policy: object = { max_attempts: 1 },
) {
  const name = await createQueue(pool, policy);
  const [id] = await enqueue(pool, name, [{ payload: { n: 1 } }]);
  const made = makeWorker({ url, middleware, queues: [work(name, handler)] });
  const counts = await made.worker.runOnce();
  return { ...made, counts, job: await readJob(pool, id) };
}

describe('around attempts', () => {
  test('the worker outside, the binding inside; context is shared by async local storage', async ({
    url,
    pool,
  }) => {
    const tenant = new AsyncLocalStorage<string>();
    const mail = queue<{ n: number }>(await createQueue(pool));
    const order: string[] = [];
    const outer: AttemptMiddleware = async (input, context, next) => {
      order.push(`outer ${[input].flat().length} ${context.signal.aborted}`);
      const result = await tenant.run('acme', next);
      order.push(`outer ${JSON.stringify(result)}`);
    };
    const client = clientWith({ url });
    const { id } = await client.enqueue(mail, { n: 5 });
    const { worker } = makeWorker({
      url,
      middleware: [outer],
      queues: [
        work(mail, ({ payload }) => `${payload.n} of ${tenant.getStore()}`, {
          middleware: [
            async (job, _context, next) => {
              order.push(`inner ${job.payload.n}`);
              return `<${await next()}>`;
            },
          ],
        }),
      ],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 1 });
    expect(order).toEqual(['outer 1 false', 'inner 5', 'outer "<5 of acme>"']);
    expect(await client.jobs.get(id)).toMatchObject({ result: '<5 of acme>' });
  });

  test('once a call of a batch handler, with all its jobs', async ({ url, pool }) => {
    const name = await createQueue(pool, { max_attempts: 1 });
    await enqueue(pool, name, [{ payload: 1 }, { payload: 2 }, { payload: 3 }]);
    const seen: unknown[] = [];
    const { worker } = makeWorker({
      url,
      middleware: [
        (input, _context, next) => {
          seen.push([input].flat().map(({ payload }) => payload));
          return next();
        },
      ],
      queues: [
        work(
          name,
          (jobs) => jobs.map(({ payload }) => (payload === 2 ? new Error('no') : undefined)),
          {
            batch: { size: 10 },
            middleware: [
              (jobs, _context, next) => {
                seen.push(jobs.length);
                return next();
              },
            ],
          },
        ),
      ],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 2, dead: 1 });
    expect(seen).toEqual([[1, 2, 3], 3]);
  });

  test('a transaction around the handler, completed with the job', async ({ url, pool }) => {
    await pool.query('create table if not exists sums (n integer)');
    const name = await createQueue(pool, { max_attempts: 1 });
    await enqueue(pool, name, [{ payload: 1 }, { payload: -1 }]);
    const current = new AsyncLocalStorage<pg.PoolClient>();
    const transactional: AttemptMiddleware = async (_input, context, next) => {
      const tx = await pool.connect();
      try {
        await tx.query('begin');
        await current.run(tx, next);
        await context.completeIn(tx);
        await tx.query('commit');
      } catch (error) {
        await tx.query('rollback');
        throw error;
      } finally {
        tx.release();
      }
    };
    const { worker } = makeWorker({
      url,
      queues: [
        work(
          name,
          async ({ payload }) => {
            await current.getStore()?.query('insert into sums values ($1)', [payload]);
            if (payload === -1) throw new Error('negative');
          },
          { middleware: [transactional] },
        ),
      ],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 1, dead: 1 });
    expect((await pool.query('select n from sums')).rows).toEqual([{ n: 1 }]);
  });

  test('one that throws has failed the attempt, as a handler does', async ({ url, pool }) => {
    const failing = await runWith({ url, pool }, [
      () => {
        throw new RangeError('before');
      },
    ]);
    expect(failing.job).toMatchObject({
      state: 'dead',
      errors: [{ name: 'RangeError', message: 'before' }],
    });
    const after = await runWith(
      { url, pool },
      [
        async (_input, _context, next) => {
          await next();
          throw new PermanentError('after');
        },
      ],
      undefined,
      { max_attempts: 5 },
    );
    expect(after.job).toMatchObject({ state: 'dead', reason: 'after', errors: [{ attempt: 1 }] });
  });

  test('one that never calls next: a fault, or an outcome of its own', async ({ url, pool }) => {
    let calls = 0;
    const count = () => {
      calls += 1;
      return undefined;
    };
    const silent = await runWith({ url, pool }, [() => undefined], count);
    expect(silent.job.errors?.[0]).toMatchObject({ code: 'HOWDAH_MIDDLEWARE_INVALID' });
    const snoozing = await runWith({ url, pool }, [() => snooze('1h')], count);
    expect(snoozing.job).toMatchObject({ state: 'scheduled', attempt: 0 });
    expect(calls).toBe(0);
  });

  test('one that calls next twice runs the handler once', async ({ url, pool }) => {
    let calls = 0;
    const twice = await runWith(
      { url, pool },
      [
        async (_input, _context, next) => {
          await next();
          return next();
        },
      ],
      () => {
        calls += 1;
        return undefined;
      },
    );
    expect(twice.job.errors?.[0]).toMatchObject({ code: 'HOWDAH_MIDDLEWARE_INVALID' });
    expect(calls).toBe(1);
  });

  test('one that swallows the error changes nothing unless it returns a value', async ({
    url,
    pool,
  }) => {
    const fail = () => {
      throw new Error('lost?');
    };
    const swallowed = await runWith(
      { url, pool },
      [
        (_input, _context, next) =>
          next().then(
            () => undefined,
            () => undefined,
          ),
      ],
      fail,
    );
    expect(swallowed.job).toMatchObject({ state: 'dead', errors: [{ message: 'lost?' }] });
    const replaced = await runWith(
      { url, pool },
      [(_input, _context, next) => next().catch(() => ({ instead: true }))],
      fail,
    );
    expect(replaced.job).toMatchObject({ state: 'completed', result: { instead: true } });
  });

  test('one that returns before its handler is waited for; one that never returns times out', async ({
    url,
    pool,
  }) => {
    let isOver = false;
    const early = await runWith(
      { url, pool },
      [
        (_input, _context, next) => {
          void next();
          return 'early';
        },
      ],
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 30));
        isOver = true;
      },
    );
    expect(isOver).toBe(true);
    expect(early.job).toMatchObject({ state: 'completed', result: 'early' });
    const late = await runWith({ url, pool }, [() => new Promise(() => undefined)], undefined, {
      max_attempts: 1,
      timeout_ms: 50,
    });
    expect(late.job.errors?.[0]).toMatchObject({ code: 'HOWDAH_JOB_TIMEOUT' });
  });

  test.for([[1], {}, 'x', [null]])('option middleware %j is refused', (middleware) => {
    const error = expect.objectContaining({ code: 'HOWDAH_OPTION_INVALID' });
    const options = { middleware } as never;
    expect(() => work('q', () => undefined, options)).toThrow(error);
    const queues = [work('q', () => undefined)];
    expect(() => makeWorker({ queues, ...(options as object) } as WorkerOptions)).toThrow(error);
  });
});

describe('events', () => {
  test('of a worker: one for each transition', async ({ url, pool }) => {
    const name = await createQueue(pool, { max_attempts: 2, backoff_ms: 0 });
    const [id] = await enqueue(pool, name);
    const { worker, events } = makeWorker({
      url,
      queues: [
        work(name, ({ attempt, errors }) => {
          if (attempt === 1 && errors.length === 0) throw new Error('once');
        }),
      ],
    });
    await worker.runOnce();
    const own = events.filter((event) => 'job' in event && event.job.id === id);
    expect(own.map(({ type }) => type)).toEqual([
      'job.claimed',
      'job.started',
      'job.failed',
      'job.claimed',
      'job.started',
      'job.completed',
    ]);
  });

  test('of a client: enqueued, deduplicated, received, settled', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const client = clientWith({ url });
    const events: EventOf<ClientEvents>[] = [];
    client.onEvent((event) => events.push(event));
    const ids: string[] = [];
    client.on('job.enqueued', ({ job }) => ids.push(job.id));
    const first = await client.enqueue(name, 1, TAKEN);
    await client.enqueue(name, 1, TAKEN);
    const many = await client.enqueueMany(name, [2, 3], TAKEN);
    const tx = new pg.Client(url);
    await tx.connect();
    onTestFinished(() => tx.end());
    await tx.query('begin');
    const uncommitted = await client.enqueue(name, 4, { tx });
    await tx.query('rollback');
    const [job] = await client.receive(name);
    await job?.fail(new Error('no'), { delay: '1h' });
    await expect(job?.complete()).rejects.toThrow();
    const ref = { id: first.id, queue: name };
    expect(many.ids).toEqual([first.id, first.id]);
    expect(events).toEqual([
      { type: 'job.enqueued', job: ref, isCommitted: true },
      { type: 'job.deduplicated', job: ref, isCommitted: true },
      { type: 'job.deduplicated', job: ref, isCommitted: true },
      { type: 'job.deduplicated', job: ref, isCommitted: true },
      { type: 'job.enqueued', job: { id: uncommitted.id, queue: name }, isCommitted: false },
      { type: 'job.received', job: { ...ref, attempt: 1 } },
      { type: 'job.settled', job: { id: first.id, queue: undefined }, outcome: 'scheduled' },
    ]);
    expect(ids).toEqual([first.id, uncommitted.id]);
  });

  test('of an operator: cancelled, redriven, discarded; what is only previewed is none', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const client = clientWith({ url });
    const ids = (await client.enqueueMany(name, [1, 2, 3, 4, 5])).ids as string[];
    const events: EventOf<ClientEvents>[] = [];
    const jobs = await client.receive(name, { max: 3 });
    for (const job of jobs.slice(0, 2)) await job.deadLetter('on purpose');
    client.onEvent((event) => events.push(event));
    const [first, second, third, fourth] = ids as [string, string, string, string];
    await client.jobs.cancel([third, fourth, '999999'], 'not wanted');
    await client.jobs.cancelWhere({ queue: name, state: 'ready' }, { preview: true });
    await client.jobs.cancelWhere({ queue: name, state: 'ready' }, { reason: 'none' });
    await client.jobs.cancelWhere({ queue: name, state: 'ready' });
    await client.deadLetters.redrive({ ids: [first] }, { preview: true });
    await client.deadLetters.redrive({ ids: [first] });
    await client.deadLetters.discard({ ids: [second] }, { preview: true });
    await client.deadLetters.discard({ ids: [second] });
    expect(events).toEqual([
      { type: 'job.cancel-requested', job: { id: third }, reason: 'not wanted' },
      { type: 'job.cancelled', job: { id: fourth }, reason: 'not wanted' },
      { type: 'jobs.cancelled', cancelled: 1, requested: 0, reason: 'none' },
      { type: 'job.redriven', job: { id: first, queue: name }, from: 'dead-letters' },
      { type: 'job.discarded', job: { id: second, queue: name } },
    ]);
  });

  test('a listener that throws is reported and ignored', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const told: unknown[] = [];
    const logger = { ...silentLogger, error: (...line: unknown[]) => told.push(line) };
    const client = clientWith({ url, logger });
    client.on('job.enqueued', () => {
      throw new Error('my fault');
    });
    await client.enqueue(name, 1);
    await client.enqueueMany(name, [2]);
    const line = ['listener.threw', { error: expect.objectContaining({ message: 'my fault' }) }];
    expect(told).toEqual([line, line]);
    const made = makeWorker({ url, logger, queues: [work(name, () => undefined)] });
    made.worker.on('job.started', () => {
      throw new Error('my fault');
    });
    expect(await made.worker.runOnce()).toMatchObject({ completed: 2 });
    expect(told).toHaveLength(4);
  });
});
