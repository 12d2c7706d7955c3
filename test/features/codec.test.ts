import { type Codec, createClient, PermanentError, work } from 'howdah';
import { describe, expect, onTestFinished } from 'vitest';
import { codeOf, errorOf, test } from '../support/client.js';
import { scrambling, sealing } from '../support/codecs.js';
import { createQueue, enqueue, heard, makeWorker, readJob } from '../support/workers.js';

const clientWith = (url: string, codec: Codec | readonly Codec[] = scrambling) => {
  const client = createClient({ url, codec });
  onTestFinished(() => client.close());
  return client;
};
const foreign = (queue: string) => ({ $howdah: 'foreign', queue, data: 'unreadable' });
const FAILS = { max_attempts: 2, backoff: 'fixed', backoff_ms: 0 };

describe('a job that cannot be decoded', () => {
  test('what was taken from another queue is not opened in this one, whatever it says of itself', async ({
    url,
    pool,
  }) => {
    const [secrets, name] = [await createQueue(pool), await createQueue(pool, FAILS)];
    const client = clientWith(url, sealing);
    const { id } = await client.enqueue(secrets, 'of another queue', { headers: { a: 'b' } });
    const { rows } = await pool.query('select payload, headers from howdah._jobs where id = $1', [
      id,
    ]);
    const { payload, headers } = rows[0];
    const [stolen, both, own] = await enqueue(pool, name, [
      { payload },
      { payload: 1, headers },
      { payload: { ...payload, queue: name } },
    ]);
    const seen: unknown[] = [];
    const { worker } = makeWorker({
      url,
      codec: sealing,
      queues: [work(name, (job) => void seen.push(job))],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 0, dead: 3 });
    expect(seen).toEqual([]);
    for (const each of [stolen, both, own]) {
      expect((await client.jobs.get(each as string))?.errors).toMatchObject([
        { code: 'HOWDAH_CODEC_FAILED' },
        { code: 'HOWDAH_CODEC_FAILED' },
      ]);
    }
    await enqueue(pool, name, [{ payload }]);
    expect(await client.receive(name, { max: 1 })).toEqual([]);
  });

  test('a bomb is dead at once, and its neighbours run', async ({ url, pool }) => {
    const name = await createQueue(pool, FAILS);
    const nesting: Codec = {
      id: 'nesting',
      encode: (text) => text,
      decode: (text) => (text === '"bomb"' ? '['.repeat(9_000) + ']'.repeat(9_000) : text),
    };
    const client = clientWith(url, nesting);
    const { ids } = await client.enqueueMany(name, [1, 'bomb', 2]);
    const { worker } = makeWorker({ url, codec: nesting, queues: [work(name, () => undefined)] });
    expect(await worker.runOnce()).toMatchObject({ completed: 2, dead: 1 });
    expect(await client.jobs.get(ids[1] as string)).toMatchObject({
      state: 'dead',
      undecoded: ['payload'],
      errors: [{ code: 'HOWDAH_CODEC_FAILED', attempt: 1 }],
    });
  });

  test('fails its attempt, is retried, then dead; its neighbours run', async ({ url, pool }) => {
    const name = await createQueue(pool, FAILS);
    const payloads = [1, foreign(name), 2];
    const ids = await enqueue(
      pool,
      name,
      payloads.map((payload) => ({ payload })),
    );
    const [headless] = await enqueue(pool, name, [{ payload: 3, headers: foreign(name) }]);
    const seen: unknown[] = [];
    const { worker } = makeWorker({
      url,
      codec: scrambling,
      queues: [work(name, ({ payload }) => void seen.push(payload))],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 2, failed: 2, dead: 2 });
    expect(seen).toEqual([1, 2]);
    const reader = clientWith(url);
    for (const id of [ids[1], headless]) {
      expect(await reader.jobs.get(id as string)).toMatchObject({
        state: 'dead',
        errors: [
          { code: 'HOWDAH_CODEC_UNKNOWN', attempt: 1 },
          { code: 'HOWDAH_CODEC_UNKNOWN', attempt: 2 },
        ],
      });
    }
  });

  test('in a batch it fails alone; a worker without a codec fails it, too', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { max_attempts: 1 });
    const [id] = await enqueue(pool, name, [{ payload: foreign(name) }, { payload: 2 }]);
    const seen: unknown[] = [];
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, (jobs) => void seen.push(jobs.map(({ payload }) => payload)), {
          batch: { size: 10 },
        }),
      ],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 1, dead: 1 });
    expect(seen).toEqual([[2]]);
    const { errors } = await readJob(pool, id);
    expect(errors).toMatchObject([{ code: 'HOWDAH_CODEC_UNKNOWN' }]);
  });

  test('a codec may say that no retry helps', async ({ url, pool }) => {
    const name = await createQueue(pool, FAILS);
    const client = clientWith(url);
    const { id } = await client.enqueue(name, 1);
    const torn: Codec = {
      ...scrambling,
      decode: () => {
        throw new PermanentError('torn');
      },
    };
    const { worker } = makeWorker({ url, codec: torn, queues: [work(name, () => undefined)] });
    expect(await worker.runOnce()).toMatchObject({ dead: 1, failed: 0 });
    expect(await client.jobs.get(id)).toMatchObject({ state: 'dead', reason: 'PermanentError' });
  });

  test('is not given out by receive, which goes on to the next', async ({ url, pool }) => {
    const name = await createQueue(pool, { max_attempts: 1 });
    const [bad, good] = await enqueue(pool, name, [{ payload: foreign(name) }, { payload: 2 }]);
    const client = clientWith(url);
    const jobs = await client.receive(name);
    expect(jobs.map(({ id }) => id)).toEqual([good]);
    expect(await client.jobs.get(bad as string)).toMatchObject({
      state: 'dead',
      errors: [{ code: 'HOWDAH_CODEC_UNKNOWN' }],
    });
    expect(await client.receive(name, { wait: 20 })).toEqual([]);
  });

  test('is shown as it is stored, and named', async ({ url, pool }) => {
    const name = await createQueue(pool, { max_attempts: 1 });
    const writer = clientWith(url);
    const { id } = await writer.enqueue(name, 1, { headers: { a: 1 } });
    const { worker } = makeWorker({
      url,
      codec: scrambling,
      queues: [
        work(name, () => {
          throw new Error('no');
        }),
      ],
    });
    await worker.runOnce();
    const stranger = createClient({ url });
    onTestFinished(() => stranger.close());
    expect(await stranger.jobs.get(id)).toMatchObject({
      payload: { $howdah: 'scrambling', queue: name },
      headers: { $howdah: 'scrambling' },
      errors: [{ name: 'Error', message: 'encoded by scrambling', attempt: 1 }],
      lastError: 'encoded by scrambling',
      undecoded: ['headers', 'error', 'payload'],
    });
    expect(await stranger.deadLetters.list({ queue: name })).toMatchObject([
      { undecoded: ['headers', 'error', 'payload'] },
    ]);
    expect(await stranger.jobs.list({ state: 'dead', limit: 1 })).toMatchObject([
      { lastError: 'encoded by scrambling' },
    ]);
  });
});

describe('a codec that throws', () => {
  const fussy: Codec = {
    ...scrambling,
    encode: (text, context) => {
      if (text.includes('unfit')) throw new Error('no key');
      return scrambling.encode(text, context);
    },
  };

  test('as a job is enqueued: that call is refused, and nothing stored', async ({
    url,
    pool,
    storedJobs,
  }) => {
    const name = await createQueue(pool);
    const client = clientWith(url, fussy);
    const calls = [client.enqueue(name, 1), errorOf(client.enqueue(name, 'unfit'))] as const;
    const [, error] = await Promise.all(calls);
    expect(error).toMatchObject({
      code: 'HOWDAH_CODEC_FAILED',
      cause: { message: 'no key' },
      details: { codec: 'scrambling', field: 'payload', way: 'encode' },
    });
    const headers = { a: 'unfit' };
    expect(await codeOf(client.enqueue(name, 1, { headers }))).toBe('HOWDAH_CODEC_FAILED');
    const report = await client.enqueueMany(name, [1, 'unfit'], { onError: 'report' });
    expect(report.rejections).toMatchObject([{ index: 1, error: { code: 'HOWDAH_CODEC_FAILED' } }]);
    expect(await storedJobs(name)).toHaveLength(2);
  });

  test('as a job ends: it ends all the same, and nothing is stored plain', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { max_attempts: 1 });
    const made = makeWorker({
      url,
      codec: fussy,
      queues: [
        work(name, ({ payload }) => {
          if (payload === 1) return 'unfit';
          throw new Error('unfit');
        }),
      ],
    });
    const [first, second] = await enqueue(pool, name, [{ payload: 1 }, { payload: 2 }]);
    expect(await made.worker.runOnce()).toMatchObject({ completed: 1, dead: 1 });
    expect(await readJob(pool, first)).toMatchObject({
      state: 'completed',
      result: { howdah: 'result not stored' },
    });
    expect(await heard(made, 'job.result-replaced')).toMatchObject({ job: { id: first } });
    const { errors } = await readJob(pool, second);
    expect(errors).toMatchObject([{ name: 'Error', code: 'HOWDAH_CODEC_FAILED' }]);
    expect(JSON.stringify(errors)).not.toContain('unfit');
  });

  test('as a received job is completed: that call is refused, the job still held', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    await enqueue(pool, name);
    const client = clientWith(url, fussy);
    const [job] = await client.receive(name);
    expect(await codeOf(job?.complete('unfit') as Promise<void>)).toBe('HOWDAH_CODEC_FAILED');
    await job?.complete('fit');
  });
});

test('a codec that is given up: what it stored is read, new values are stored plain', async ({
  url,
  pool,
  storedJobs,
}) => {
  const name = await createQueue(pool);
  await clientWith(url).enqueue(name, 'old');
  const plain: Codec = { id: 'plain', encode: () => undefined, decode: (text) => text };
  const client = clientWith(url, [plain, scrambling]);
  await client.enqueue(name, 'new');
  expect((await storedJobs(name))[1]?.payload).toBe('new');
  const jobs = await client.receive(name, { max: 2 });
  expect(jobs.map(({ payload }) => payload)).toEqual(['old', 'new']);
});

test('a receipt without a queue cannot carry what must be encoded', async ({ url, pool }) => {
  const name = await createQueue(pool);
  await enqueue(pool, name);
  const plain = createClient({ url });
  onTestFinished(() => plain.close());
  const [job] = await plain.receive(name);
  const held = clientWith(url).receipt(job?.receipt as string);
  expect(await codeOf(held.complete(1))).toBe('HOWDAH_OPTION_INVALID');
  await held.complete();
});

test.for([1, {}, { id: 'x' }, { ...scrambling, id: 'No' }])(
  'option codec %j is refused',
  (codec) => {
    const error = expect.objectContaining({ code: 'HOWDAH_OPTION_INVALID' });
    expect(() => createClient({ codec: codec as never })).toThrow(error);
    const queues = [work('q', () => undefined)];
    expect(() => makeWorker({ queues, codec: codec as never })).toThrow(error);
  },
);
