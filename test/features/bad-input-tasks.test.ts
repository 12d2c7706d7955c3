import { type Client, HowdahError, queue, work } from 'howdah';
import type pg from 'pg';
import { describe, expect } from 'vitest';
import { errorOf, test } from '../support/client.js';
import { createQueue, heard, makeWorker, readJob, startWorker } from '../support/workers.js';

// What a program can get wrong beside enqueueing: each a typed error that says what to do, and nothing is lost.

interface Given {
  readonly client: Client;
  readonly name: string;
}

const cron = (expression: string, more: object = {}) => ({
  name: 'wrong',
  cron: expression,
  ...more,
});

test.for([
  ['a minute 60', 'HOWDAH_CRON_INVALID', (g) => put(g, cron('60 * * * *'))],
  ['February 30', 'HOWDAH_CRON_INVALID', (g) => put(g, cron('0 0 30 2 *'))],
  [
    'a zone that is none',
    'HOWDAH_ZONE_INVALID',
    (g) => put(g, cron('0 0 * * *', { zone: 'Mars' })),
  ],
  [
    'a subscription to a missing queue',
    'HOWDAH_QUEUE_UNKNOWN',
    (g) => g.client.topics.subscribe('t', 'x'),
  ],
  [
    'a batch closed empty',
    'HOWDAH_BATCH_EMPTY',
    async (g) => (await g.client.batches.open()).close(),
  ],
  ['a batch added to after closing', 'HOWDAH_BATCH_CLOSED', addAfterClosing],
  ['the jobs of no batch', 'HOWDAH_BATCH_UNKNOWN', (g) => g.client.batches.of('999999').jobs()],
  ['cancel of what is no id', 'HOWDAH_OPTION_INVALID', (g) => g.client.jobs.cancel('seven')],
  [
    'a change of no job',
    'HOWDAH_JOB_UNKNOWN',
    (g) => g.client.jobs.edit('999999', { priority: 1 }),
  ],
  ['the result of no job', 'HOWDAH_JOB_UNKNOWN', (g) => g.client.result('999999')],
  ['progress of no job', 'HOWDAH_JOB_UNKNOWN', (g) => g.client.watch('999999').next()],
  ['a pause of no schedule', 'HOWDAH_SCHEDULE_UNKNOWN', (g) => g.client.schedules.pause('none')],
] satisfies [string, string, (given: Given) => Promise<unknown>][])(
  '%s',
  async ([, code, call], { client, pool, storedJobs }) => {
    const name = await createQueue(pool);
    const error = await errorOf(call({ client, name }));
    expect([error.code, error.remedy]).toEqual([code, expect.any(String)]);
    expect(error.message).toContain(error.remedy);
    expect(await client.schedules.list({ queue: name })).toEqual([]);
    expect((await storedJobs(name)).filter(({ payload }) => payload === 'too late')).toEqual([]);
  },
);

function put({ client, name }: Given, schedule: { name: string; cron: string }) {
  return client.schedules.put({ ...schedule, queue: name });
}

async function addAfterClosing({ client, name }: Given) {
  const batch = await client.batches.open();
  await batch.enqueue(name, 1);
  await batch.close();
  return batch.enqueue(name, 'too late');
}

test('two schedules of one name: in one list, or one that a program declares already', async ({
  client,
  url,
  pool,
}) => {
  const target = queue(await createQueue(pool));
  const one = { name: 'twice', cron: '0 3 * * *', queue: target };
  const startOf = async (schedules: readonly object[]) =>
    makeWorker({
      url,
      queues: [work(target, () => undefined)],
      schedules: schedules as never,
      schedulesOwner: 'program',
    }).worker.start();
  const twice = await errorOf(startOf([one, { ...one, cron: '0 4 * * *' }]));
  expect([twice.code, twice.remedy]).toEqual(['HOWDAH_SCHEDULE_EXISTS', expect.any(String)]);
  expect(await client.schedules.get('twice')).toBeUndefined();
  await startOf([one]);
  const taken = await errorOf(client.schedules.put({ ...one, cron: '0 5 * * *' }));
  expect([taken.code, taken.remedy]).toEqual(['HOWDAH_SCHEDULE_EXISTS', expect.any(String)]);
  expect((await client.schedules.get('twice'))?.cron).toBe('0 3 * * *');
});

test('cancel of an unknown id says so of it, and cancels the others', async ({ client, pool }) => {
  const name = await createQueue(pool);
  const { id } = await client.enqueue(name, 1);
  expect(await client.jobs.cancel([id, '999999'])).toEqual([
    { id, outcome: 'cancelled', why: null },
    { id: '999999', outcome: 'unknown', why: expect.stringContaining('no such job') },
  ]);
});

describe('a result of 5 MB, cyclic, with a BigInt, or with \\u0000', () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const RESULTS: readonly unknown[] = ['x'.repeat(5_000_000), cycle, 10n, 'a\0b'];

  test('of a handler: the job is completed, who waits is told why there is none', async ({
    client,
    url,
    pool,
  }) => {
    for (const transactional of [false, true]) {
      const name = await createQueue(pool);
      const handler = ({ payload }: { payload: unknown }) => RESULTS[payload as number];
      const made = await startWorker({
        url,
        queues: [work(name, handler as never, { transactional } as never)],
      });
      for (const i of RESULTS.keys()) {
        const handle = await client.enqueue(name, i);
        const error = await errorOf(handle.result({ timeout: '20s' }));
        expect([error.code, error.remedy]).toEqual(['HOWDAH_RESULT_NOT_KEPT', expect.any(String)]);
        expect((await readJob(pool, handle.id)).state).toBe('completed');
      }
      await heard(made, 'job.result-replaced');
    }
  });

  test('of completeIn and of a received job: the call is refused, the job goes on', async ({
    client,
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    await client.enqueue(name, 1);
    const [job] = await client.receive(name);
    for (const result of RESULTS) await refuses(job?.complete(result as never));
    await job?.complete('fits');

    const { id } = await client.enqueue(name, 1);
    const refused: unknown[] = [];
    const { worker } = makeWorker({
      url,
      queues: [
        work(name, async (_job, context) => {
          for (const result of RESULTS) {
            await inTransaction(pool, async (tx) => {
              await context.completeIn(tx, result as never);
            }).catch((error) => refused.push(error));
          }
          return 'fits';
        }),
      ],
    });
    expect(await worker.runOnce()).toMatchObject({ completed: 1 });
    expect(refused).toHaveLength(4);
    for (const error of refused) expect(error).toBeInstanceOf(HowdahError);
    expect((await readJob(pool, id)).result).toBe('fits');
  });

  async function refuses(call: Promise<unknown> | undefined): Promise<void> {
    const { code } = await errorOf(call as Promise<unknown>);
    expect(['HOWDAH_PAYLOAD_INVALID', 'HOWDAH_SETTLE_INVALID']).toContain(code);
  }
});

async function inTransaction(pool: pg.Pool, run: (tx: pg.PoolClient) => Promise<void>) {
  const tx = await pool.connect();
  try {
    await tx.query('begin');
    await run(tx);
    await tx.query('commit');
  } catch (error) {
    await tx.query('rollback');
    throw error;
  } finally {
    tx.release();
  }
}
