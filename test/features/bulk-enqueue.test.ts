import { type EnqueuedBatch, queue } from 'howdah';
import { describe, expect } from 'vitest';
import { z } from 'zod';
import { errorOf, test } from '../support/client.js';
import { WorkerProcess } from '../support/worker-process.js';

function* upTo(n: number, onReturn = () => {}): Generator<number> {
  try {
    for (let i = 0; i < n; i++) yield i;
  } finally {
    onReturn();
  }
}

async function* later(n: number): AsyncGenerator<number> {
  yield* upTo(n);
}

const first = (n: number) => Array.from({ length: n }, (_, i) => i);

describe('input', () => {
  test.for([
    ['an array', () => first(2345)],
    ['a generator', () => upTo(2345)],
    ['an async generator', () => later(2345)],
    ['a set', () => new Set(first(2345))],
  ] as const)('%s, in its order', async ([name, payloads], { client, storedJobs }) => {
    const target = queue<number>(`input/${name.replaceAll(' ', '-')}`);
    const result = await client.enqueueMany(target, payloads());
    expect(result).toMatchObject({ accepted: 2345, rejected: 0, rejections: [] });
    expect((await storedJobs(target.name)).map((job) => job.payload)).toEqual(first(2345));
  });

  test('an empty one makes no jobs', async ({ client }) => {
    await client.queues.create('empty');
    expect(await client.enqueueMany('empty', [])).toEqual({
      accepted: 0,
      duplicates: 0,
      rejected: 0,
      rejections: [],
      ids: [],
    });
  });

  test('ids of an array are in its order', async ({ client, storedJobs }) => {
    const { ids } = await client.enqueueMany(queue('ids'), ['a', 'b', 'c'], { batchSize: 2 });
    const jobs = await storedJobs('ids');
    expect(jobs.map((job) => [job.id, job.payload])).toEqual([
      [ids[0], 'a'],
      [ids[1], 'b'],
      [ids[2], 'c'],
    ]);
  });

  test('options hold for every job', async ({ client, pool }) => {
    const options = { priority: -5, delay: '1h', attempts: 2, headers: { run: 'x' } } as const;
    await client.enqueueMany(queue('options'), [1, 2], options);
    const { rows } = await pool.query(
      `select priority, state, max_attempts, headers, payload from howdah.job_states
      where queue = 'options' order by id`,
    );
    const same = { priority: -5, state: 'scheduled', max_attempts: 2, headers: { run: 'x' } };
    expect(rows).toEqual([
      { ...same, payload: 1 },
      { ...same, payload: 2 },
    ]);
  });

  test('payloads of any size, cut into statements of bounded size', async ({
    client,
    storedJobs,
  }) => {
    await client.queues.create('sizes', { payloadBytesMax: 3_000_000 });
    const sizes = [5, 400_000, 400_000, 400_000, 2_500_000, 7, 9];
    const batches: number[] = [];
    await client.enqueueMany(
      'sizes',
      sizes.map((size) => 'x'.repeat(size)),
      {
        onBatch: ({ jobs }) => void batches.push(jobs.length),
      },
    );
    expect(batches).toEqual([3, 1, 1, 2]);
    expect((await storedJobs('sizes')).map((job) => String(job.payload).length)).toEqual(sizes);
  });

  test.for([[null], ['text'], [5], [{}]])('refuses %j', async ([payloads], { client }) => {
    const error = await errorOf(client.enqueueMany('any', payloads as unknown as unknown[]));
    expect(error.code).toBe('HOWDAH_OPTION_INVALID');
  });

  test('options that cannot be are refused before the input is read', async ({ client }) => {
    let isRead = false;
    const payloads = {
      *[Symbol.iterator]() {
        isRead = true;
        yield 1;
      },
    };
    for (const options of [
      { batchSize: 0 },
      { batchSize: 5000 },
      { onError: 'skip' },
      { delay: -1 },
    ]) {
      await errorOf(client.enqueueMany('any', payloads, options as object));
    }
    expect(isRead).toBe(false);
  });
});

describe("onError: 'throw'", () => {
  test('enqueues everything before the first bad payload and nothing after it', async ({
    client,
    storedJobs,
  }) => {
    const target = queue('throws', { schema: z.number().max(1500) });
    let isClosed = false;
    const payloads = upTo(5000, () => {
      isClosed = true;
    });
    const error = await errorOf(client.enqueueMany(target, payloads));
    expect(error.code).toBe('HOWDAH_PAYLOAD_INVALID');
    expect(error.details).toMatchObject({ index: 1501, accepted: 1501 });
    expect(error.message).toContain('payload 1501; 1501 were enqueued before it');
    expect(isClosed).toBe(true);
    expect((await storedJobs('throws')).map((job) => job.payload)).toEqual(first(1501));
  });

  test('also when only the database can tell', async ({ client, storedJobs }) => {
    await client.queues.create('db-throws', { payloadBytesMax: 50 });
    const payloads = [...first(1234), 'x'.repeat(100), ...first(3000)];
    const error = await errorOf(client.enqueueMany('db-throws', payloads));
    expect(error.code).toBe('HOWDAH_PAYLOAD_TOO_LARGE');
    expect(error.details).toMatchObject({ index: 1234, accepted: 1234 });
    expect((await storedJobs('db-throws')).map((job) => job.payload)).toEqual(first(1234));
  });

  test('an unknown queue is found at the first statement', async ({ client }) => {
    const error = await errorOf(client.enqueueMany('no-such', upTo(3000)));
    expect(error.code).toBe('HOWDAH_QUEUE_UNKNOWN');
    expect(error.details).toMatchObject({ index: 0, accepted: 0 });
  });

  test('an input that fails keeps its own error, and what it gave is enqueued', async ({
    client,
    storedJobs,
  }) => {
    const broken = async function* () {
      yield* upTo(1500);
      throw new RangeError('disk gone');
    };
    await expect(client.enqueueMany(queue('broken'), broken())).rejects.toThrow(RangeError);
    expect(await storedJobs('broken')).toHaveLength(1500);
  });

  test('a lost connection says what is certain and what is not', async ({
    client: direct,
    faulty: { client, proxy },
    storedJobs,
  }) => {
    await direct.queues.create('cut');
    proxy.loseReplyTo('\x1e2500\x1e');
    const error = await errorOf(client.enqueueMany('cut', upTo(10_000)));
    expect(error.code).toBe('HOWDAH_COMMIT_UNKNOWN');
    expect(error.details).toMatchObject({ index: 2000, accepted: 2000, unknown: 1000 });
    expect(proxy.repliesLost).toBe(1);
    expect(await storedJobs('cut')).toHaveLength(3000);
  });
});

describe("onError: 'report'", () => {
  test('goes on and accounts for every payload', async ({ client, storedJobs }) => {
    await client.queues.create('reports', { payloadBytesMax: 50 });
    const payloads = first(2500).map((i) =>
      i % 500 === 7 ? 'x'.repeat(100) : i % 500 === 9 ? undefined : i,
    );
    const batches: EnqueuedBatch[] = [];
    const result = await client.enqueueMany('reports', payloads, {
      onError: 'report',
      onBatch: (batch) => void batches.push(batch),
    });
    expect(result).toMatchObject({ accepted: 2490, rejected: 10 });
    const rejected = new Map(result.rejections.map(({ index, error }) => [index, error.code]));
    expect(rejected.get(507)).toBe('HOWDAH_PAYLOAD_TOO_LARGE');
    expect(rejected.get(509)).toBe('HOWDAH_PAYLOAD_INVALID');
    expect(rejected.size).toBe(10);
    const stored = new Map((await storedJobs('reports')).map((job) => [job.id, job.payload]));
    for (const [i, id] of result.ids.entries()) {
      expect(id === null ? undefined : stored.get(id)).toBe(
        rejected.has(i) ? undefined : payloads[i],
      );
    }
    expect(batches.at(-1)).toMatchObject({ accepted: 2490, rejected: 10 });
    expect(batches.flatMap((batch) => batch.jobs.map((job) => job.id))).toEqual(
      result.ids.filter((id) => id !== null),
    );
  });

  test('keeps the first thousand rejections and counts all', async ({ client }) => {
    const picky = queue('picky', { schema: z.number().min(3000) });
    const result = await client.enqueueMany(picky, upTo(3500), { onError: 'report' });
    expect(result).toMatchObject({ accepted: 500, rejected: 3000 });
    expect(result.rejections).toHaveLength(1000);
  });
});

test('memory stays the same however long the input is', async ({ url, pool }) => {
  const script = `import { createClient, queue } from 'howdah';
    const client = createClient({ url: process.env.URL_OF_TEST });
    function* payloads() { for (let i = 0; i < 10_000; i++) yield { i, text: 'x'.repeat(8_000) + i }; }
    const { accepted } = await client.enqueueMany(queue('stream'), payloads());
    console.log(accepted);
    await client.close();`;
  // 80 MB of payloads through a heap of 32
  const args = ['--max-old-space-size=32', '--input-type=module', '--eval', script];
  const child = new WorkerProcess(args, { env: { URL_OF_TEST: url } });
  expect(await child.exited, child.stderr).toEqual({ code: 0, signal: null });
  expect(child.stdout).toBe('10000\n');
  await pool.query('truncate howdah._jobs');
});
