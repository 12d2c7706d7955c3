import {
  type Codec,
  type CodecContext,
  createClient,
  type Job,
  type JobContext,
  type Json,
  silentLogger,
  type WorkerOptions,
  work,
} from 'howdah';
import type pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { errorOf, test } from '../support/client.js';
import { scrambling } from '../support/codecs.js';
import { Engine } from '../support/engine.js';
import { createQueue, enqueue, makeWorker, startWorker, waitForState } from '../support/workers.js';

// Where everything that a job can do meets a codec: nothing of it may be stored plain, all of it be read.

const SECRET = 'xyzzy';
const HEADERS = { tenant: 'acme', trace: SECRET };

/** Notes of which tenant each value is, as a codec would that has a key for each. */
function tenantCodec(): { readonly codec: Codec; readonly tenants: Map<string, Set<unknown>> } {
  const tenants = new Map<string, Set<unknown>>();
  const note = ({ field, headers }: CodecContext): void => {
    tenants.set(field, (tenants.get(field) ?? new Set()).add(headers?.tenant));
  };
  const encode: Codec['encode'] = (text, context) => {
    note(context);
    return scrambling.encode(text, context);
  };
  return { codec: { ...scrambling, encode }, tenants };
}

const clientWith = (url: string, codec: Codec = scrambling) => {
  const client = createClient({ url, codec });
  onTestFinished(() => client.close());
  return client;
};
const workerOf = (url: string, queues: WorkerOptions['queues'], more: object = {}) => ({
  url,
  codec: scrambling,
  logger: silentLogger,
  queues,
  ...more,
});

/** Everything that is stored, as text. */
async function expectNothingPlain(pool: pg.Pool): Promise<void> {
  const tables = [
    '_jobs',
    '_history',
    '_dedupes',
    '_reports',
    '_report_lines',
    '_schedules',
    '_batches',
  ];
  for (const table of tables) {
    const { rows } = await pool.query(
      `select t::text from howdah.${table} t where t::text like '%${SECRET}%'`,
    );
    expect(rows, table).toEqual([]);
  }
}

test('a schedule: its job is decoded, says of which time it is, and its error is shown', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool, { max_attempts: 1 });
  const client = clientWith(url);
  await client.schedules.put({
    name: 'coded',
    cron: '0 0 1 1 *',
    queue: name,
    payload: { to: SECRET },
    headers: HEADERS,
  });
  const id = await client.schedules.runNow('coded');
  const seen: Job[] = [];
  const { worker } = makeWorker(
    workerOf(url, [
      work(name, (job) => {
        seen.push(job);
        throw new Error(`no ${SECRET}`);
      }),
    ]),
  );
  await worker.runOnce();
  const stamp = { name: 'coded', at: expect.any(String) };
  expect(seen).toMatchObject([
    { id, payload: { to: SECRET }, headers: { ...HEADERS, 'howdah-schedule': stamp } },
  ]);
  expect(await client.schedules.get('coded')).toMatchObject({
    payload: { to: SECRET },
    headers: HEADERS,
    lastJobState: 'dead',
    lastJobError: `no ${SECRET}`,
  });
  await expectNothingPlain(pool);
});

test('topics and batches: their facts are beside encoded headers', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const client = clientWith(url);
  await client.topics.subscribe('coded.topic', name);
  await client.publish('coded.topic', SECRET, { headers: HEADERS });
  const onComplete = { queue: name, payload: SECRET, headers: HEADERS };
  const batch = await client.batches.open({ onComplete });
  await batch.enqueue(name, SECRET, { headers: HEADERS });
  await batch.close();
  const seen: Job['headers'][] = [];
  const { worker } = makeWorker(workerOf(url, [work(name, (job) => void seen.push(job.headers))]));
  await worker.runOnce();
  const counts = { id: batch.id, total: 1, completed: 1, failed: 0 };
  expect(seen).toEqual([
    { ...HEADERS, 'howdah-topic': 'coded.topic' },
    HEADERS,
    { ...HEADERS, 'howdah-batch': counts },
  ]);
  const { jobId } = (await batch.info()) ?? {};
  expect((await client.jobs.get(jobId as string))?.headers).toEqual(seen[2]);
  expect((await errorOf(client.publish('a"b', 1))).code).toBe('HOWDAH_TOPIC_INVALID');
  await expectNothingPlain(pool);
});

test('an edited job is encoded as its producer would have, and read by its handler', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool);
  const { codec, tenants } = tenantCodec();
  const client = clientWith(url, codec);
  const { id } = await client.enqueue(name, 'old', { headers: HEADERS, delay: '1h' });
  await client.jobs.edit(id, { payload: SECRET });
  expect([...(tenants.get('payload') ?? [])]).toEqual(['acme']);
  await client.jobs.edit(id, { headers: { ...HEADERS, tenant: 'other' }, priority: 5 });
  await client.jobs.edit(id, { delay: 0 });
  const seen: unknown[] = [];
  const { worker } = makeWorker(
    workerOf(url, [work(name, ({ payload, headers }) => void seen.push(payload, headers))]),
  );
  await worker.runOnce();
  expect(seen).toEqual([SECRET, { ...HEADERS, tenant: 'other' }]);
  await expectNothingPlain(pool);
});

describe('results, progress and log lines', () => {
  const report = ({ progress, log }: Pick<JobContext, 'progress' | 'log'>): void => {
    progress({ at: SECRET });
    log.info(SECRET, { said: SECRET });
  };
  const RESULT = { done: SECRET };

  test.for([
    {
      how: 'a handler',
      bind: (name: string) =>
        work(name, (_job, context) => {
          report(context);
          return RESULT;
        }),
    },
    {
      how: 'a transactional handler',
      bind: (name: string) =>
        work(
          name,
          (_job, context) => {
            report(context);
            return RESULT;
          },
          { transactional: true },
        ),
    },
  ])(
    'of $how are read by who waits, and the failure of another',
    async ({ bind }, { url, pool }) => {
      const name = await createQueue(pool);
      const { codec, tenants } = tenantCodec();
      const client = clientWith(url);
      const handle = await client.enqueue(name, 1, { headers: HEADERS });
      const seen: unknown[] = [];
      const watching = (async () => {
        for await (const { progress } of handle.watch()) seen.push(progress);
      })();
      const result = handle.result({ timeout: '20s' });
      await startWorker(workerOf(url, [bind(name)], { codec }));
      expect(await result).toEqual(RESULT);
      await watching;
      expect(seen.at(-1)).toEqual({ at: SECRET });
      expect(await client.jobs.get(handle.id)).toMatchObject({
        result: RESULT,
        progress: { at: SECRET },
        logs: [{ message: SECRET, fields: { said: SECRET } }],
        undecoded: [],
      });
      for (const field of ['result', 'progress', 'log'])
        expect([field, ...(tenants.get(field) ?? [])]).toEqual([field, 'acme']);
      await expectNothingPlain(pool);
    },
  );

  test('of a batch handler, each its own', async ({ url, pool }) => {
    const name = await createQueue(pool, { max_attempts: 1 });
    const client = clientWith(url);
    const handles = await Promise.all([1, 2, 3].map((n) => client.enqueue(name, n)));
    const results = Promise.all(
      handles.map((each) =>
        each.result({ timeout: '20s' }).catch(({ code, details }) => ({ code, details })),
      ),
    );
    await startWorker(
      workerOf(url, [
        work(
          name,
          (jobs, { progress }) => {
            progress(SECRET);
            return jobs.map(({ payload }) =>
              payload === 2 ? new RangeError(SECRET) : { n: payload as number, s: SECRET },
            );
          },
          { batch: { size: 10 } },
        ),
      ]),
    );
    expect(await results).toMatchObject([
      { n: 1, s: SECRET },
      { code: 'HOWDAH_JOB_FAILED', details: { errors: [{ name: 'RangeError', message: SECRET }] } },
      { n: 3, s: SECRET },
    ]);
    expect(await client.jobs.get(handles[1]?.id as string)).toMatchObject({ progress: SECRET });
    await expectNothingPlain(pool);
  });

  test('that the codec cannot encode cost no transactional handler its work', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { max_attempts: 1 });
    const fussy: Codec = {
      ...scrambling,
      encode: (text, context) => {
        if (context.field === 'result') throw new Error('no key');
        return scrambling.encode(text, context);
      },
    };
    const made = makeWorker(
      workerOf(url, [work(name, () => SECRET, { transactional: true })], { codec: fussy }),
    );
    const [id] = await enqueue(pool, name);
    expect(await made.worker.runOnce()).toMatchObject({ completed: 1, dead: 0 });
    const error = await errorOf(clientWith(url).result(id as string));
    expect(error.code).toBe('HOWDAH_RESULT_NOT_KEPT');
    expect(made.events.map(({ type }) => type)).toContain('job.result-replaced');
    await expectNothingPlain(pool);
  });
});

describe('members of a group that one worker takes together', () => {
  const foreign = (queue: string) => ({ $howdah: 'foreign', queue, data: 'unreadable' });

  test('are decoded, each with its own headers and results', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const client = clientWith(url);
    const payloads = Array.from({ length: 30 }, (_, n) => ({ n, s: SECRET }));
    const { ids } = await client.enqueueMany(name, payloads, { group: 'g', headers: HEADERS });
    const seen: unknown[] = [];
    const handler = ({ payload, headers }: Job): Json => {
      expect(headers).toEqual(HEADERS);
      seen.push(payload);
      return payload as Json;
    };
    const { worker } = makeWorker(workerOf(url, [work(name, handler, { prefetch: 32 })]));
    expect(await worker.runOnce()).toMatchObject({ completed: 30, failed: 0 });
    expect(seen).toEqual(payloads);
    expect((await client.jobs.get(ids[29] as string))?.result).toEqual(payloads[29]);
    await expectNothingPlain(pool);
  });

  test('that cannot be decoded hold up those behind them, until they are dead', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { max_attempts: 2, backoff: 'fixed', backoff_ms: 0 });
    const jobs = [1, 2, foreign(name), 4, foreign(name), 6].map((payload) => ({
      payload,
      group: 'g',
    }));
    const ids = await enqueue(pool, name, jobs);
    const seen: unknown[] = [];
    await startWorker(
      workerOf(url, [work(name, ({ payload }) => void seen.push(payload), { prefetch: 10 })]),
    );
    await waitForState(pool, ids[5], 'completed');
    expect(seen).toEqual([1, 2, 4, 6]);
    for (const id of [ids[2], ids[4]] as string[]) {
      await waitForState(pool, id, 'dead');
      const errors = (await clientWith(url).jobs.get(id))?.errors;
      expect(errors?.map(({ code }) => code)).toEqual(Array(2).fill('HOWDAH_CODEC_UNKNOWN'));
    }
  });

  test('a worker that died with some of them: the first is a suspect, the others keep behind it', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const client = clientWith(url);
    const { ids } = await client.enqueueMany(name, [1, 2, 3, 4], { group: 'g' });
    const db = new Engine(pool);
    const lease = await db.openLease('gone');
    await pool.query("select howdah.claim_many($1, $2, 1, '{}', '{}', 4)", [name, lease]);
    expect(await client.queues.stats(name)).toMatchObject([{ running: 4 }]);
    await db.killLease(lease);
    await db.reap();
    const order: unknown[] = [];
    const { worker, events } = makeWorker(
      workerOf(url, [work(name, ({ payload }) => void order.push(payload))]),
    );
    expect(await worker.runOnce()).toMatchObject({ completed: 4 });
    expect(order).toEqual([1, 2, 3, 4]);
    const suspects = events.flatMap((event) => (event.type === 'job.suspected' ? event.ids : []));
    expect(suspects).toEqual([ids[0]]);
    const attempts = await Promise.all(ids.map((id) => client.jobs.get(id as string)));
    expect(attempts.map((job) => job?.attempt)).toEqual([2, 1, 1, 1]);
    await db.expectTruth();
  });
});
