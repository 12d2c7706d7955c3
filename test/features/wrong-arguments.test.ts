import {
  type AnyQueue,
  type Batch,
  type Client,
  cancelJob,
  createClient,
  createWorker,
  deadLetter,
  HowdahError,
  type JobHandle,
  migrate,
  migrationStatus,
  printMigrations,
  queue,
  rateLimited,
  release,
  retry,
  snooze,
  work,
} from 'howdah';
import { startEmbeddedPostgres } from 'howdah/embedded';
import { createTestDatabase, drain, performJob } from 'howdah/testing';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { createQueue, enqueue, makeWorker, readJob } from '../support/workers.js';

const WRONG: readonly unknown[] = [undefined, null, 5, 's!', true, [], {}, Symbol('x'), () => 1];

/** Calls it and returns what it threw, or what it rejected with; undefined where it did neither. */
async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    await call();
    return undefined;
  } catch (error) {
    return error;
  }
}

async function faultsOf(name: string, call: (value: never) => unknown): Promise<string[]> {
  const faults: string[] = [];
  for (const value of WRONG) {
    const error = await thrownBy(() => call(value as never));
    const shown = typeof value === 'symbol' ? 'symbol' : (JSON.stringify(value) ?? typeof value);
    if (error === undefined) continue;
    if (!(error instanceof HowdahError)) faults.push(`${name}(${shown}): ${error}`);
    else if (
      error.message.length < 15 ||
      /Cannot read|is not a function|is not iterable|\[object/.test(error.message)
    ) {
      faults.push(`${name}(${shown}): ${error.message}`);
    }
  }
  return faults;
}

const MAKERS = {
  queue,
  work,
  snooze,
  retry,
  rateLimited,
  cancelJob,
  deadLetter,
  'rateLimited({ retryAfter })': (retryAfter: never) => rateLimited({ retryAfter }),
  'work(queue)': (handler: never) => work('any', handler),
  'queue(name)': (options: never) => queue('any', options),
  createClient: (options: never) => createClient(options),
};

describe('wrong arguments are refused by an error of ours', () => {
  for (const [name, call] of Object.entries(MAKERS)) {
    test(`${name}()`, async () => {
      expect(await faultsOf(name, call as (value: never) => unknown)).toEqual([]);
    });
  }

  test('methods of a client', async ({ url }) => {
    const client = createClient({ url });
    onTestFinished(() => client.close());
    const faults: string[] = [];
    // the client and its nouns
    for (const [path, object] of [
      ['client', client] as const,
      ...Object.entries<object>({ ...client }),
    ]) {
      const names = Object.getOwnPropertyNames(Object.getPrototypeOf(object)).filter((each) => {
        const { value } =
          Object.getOwnPropertyDescriptor(Object.getPrototypeOf(object), each) ?? {};
        return (
          typeof value === 'function' && !/^(constructor|close|migrate|withTransaction)$/.test(each)
        );
      });
      for (const name of names) {
        const method = (object as Record<string, (...args: unknown[]) => unknown>)[name];
        for (const before of [[], ['any']]) {
          const title = `${path}.${name}${before.length > 0 ? `('any'` : ''}`;
          faults.push(
            ...(await faultsOf(title, (value) => {
              const answer = method?.call(object, ...before, value);
              return isPromise(answer) ? answer : undefined;
            })),
          );
        }
      }
    }
    expect(faults).toEqual([]);
  }, 60_000);
});

describe('an option that does not exist is refused', () => {
  const wrong = { conection: 'postgres://app:secret@db/app' } as never;
  const handler = () => undefined;
  const calls: Readonly<
    Record<string, (client: Client, batch: Batch, handle: JobHandle) => unknown>
  > = {
    createClient: () => createClient(wrong),
    gather: () => createClient({ gather: wrong }),
    createWorker: () => createWorker(wrong),
    'worker.stop': () => createWorker({ queues: [work('any', handler)] }).stop(wrong),
    'worker.runOnce': () => createWorker({ queues: [work('any', handler)] }).runOnce(wrong),
    migrate: () => migrate(wrong),
    migrationStatus: () => migrationStatus(wrong),
    printMigrations: () => printMigrations(wrong),
    createTestDatabase: () => createTestDatabase({ url: 'postgres://u@h/d', ...(wrong as object) }),
    performJob: () => performJob(work('any', handler), 1, wrong),
    drain: () => drain(wrong),
    startEmbeddedPostgres: () => startEmbeddedPostgres(wrong),
    queue: () => queue('any', wrong),
    work: () => work('any', handler, wrong),
    enqueue: (client) => client.enqueue('any', 1, wrong),
    enqueueMany: (client) => client.enqueueMany('any', [1], wrong),
    publish: (client) => client.publish('any', 1, wrong),
    receive: (client) => client.receive('any', wrong),
    result: (client) => client.result('1', wrong),
    'handle.result': (_client, _batch, handle) => handle.result(wrong),
    watch: (client) => client.watch('1', wrong),
    'handle.watch': (_client, _batch, handle) => handle.watch(wrong),
    'handler file': () => work('any', { file: './handler.js', ...(wrong as object) }),
    'receipt.fail': (client) => client.receipt('1.2.1').fail('no', wrong),
    'queues.delete': (client) => client.queues.delete('any', wrong),
    'queues.pause': (client) => client.queues.pause('any', wrong),
    'queues.drain': (client) => client.queues.drain('any', wrong),
    'queues.alter': (client) => client.queues.alter('any', wrong),
    'jobs.list': (client) => client.jobs.list(wrong),
    'jobs.cancelWhere': (client) => client.jobs.cancelWhere({ queue: 'any' }, wrong),
    'deadLetters.list': (client) => client.deadLetters.list(wrong),
    'deadLetters.groups': (client) => client.deadLetters.groups(wrong),
    'deadLetters.redrive': (client) => client.deadLetters.redrive({ queue: 'any' }, wrong),
    'deadLetters.discard': (client) => client.deadLetters.discard({ queue: 'any' }, wrong),
    'groups.blocked': (client) => client.groups.blocked('any', wrong),
    'workers.stopConsumers': (client) => client.workers.stopConsumers('any', wrong),
    'batches.open': (client) => client.batches.open(wrong),
    'batches.list': (client) => client.batches.list(wrong),
    'batch.close': (_client, batch) => batch.close(wrong),
    'batch.jobs': (_client, batch) => batch.jobs(wrong),
    'batch.enqueue': (_client, batch) => batch.enqueue('any', 1, wrong),
    'topics.subscriptions': (client) => client.topics.subscriptions(wrong),
    'schedules.list': (client) => client.schedules.list(wrong),
    'schedules.runs': (client) => client.schedules.runs('any', wrong),
    'schedules.preview': (client) => client.schedules.preview({ cron: '* * * * *' }, wrong),
  };
  for (const [name, call] of Object.entries(calls)) {
    test(name, async ({ url, pool }) => {
      const client = createClient({ url });
      onTestFinished(() => client.close());
      await pool.query(`select howdah.create_queue('any')`);
      const handle = await client.enqueue('any', 1);
      const error = await thrownBy(() => call(client, client.batches.of('1'), handle));
      expect(error).toMatchObject({
        code: 'HOWDAH_OPTION_INVALID',
        message: expect.stringContaining('Option conection does not exist.'),
        details: { option: 'conection' },
        remedy: expect.stringMatching(/^Known are \w+/),
      });
    });
  }

  test('text where options belong is not shown: it may be a URL with its password', async () => {
    const url = 'postgres://app:topsecret@db.example.com/app' as never;
    for (const call of [
      () => createClient(url),
      () => createWorker(url),
      () => migrate(url),
      () => drain(url),
      () => startEmbeddedPostgres(url),
    ]) {
      const error = await thrownBy(call);
      expect(error).toMatchObject({ code: 'HOWDAH_OPTION_INVALID' });
      expect(JSON.stringify([error, String(error)])).not.toContain('topsecret');
    }
  });
});

function isPromise(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null)?.then === 'function';
}

test('an outcome that is thrown instead of returned is named', async ({ url, pool }) => {
  const name = await createQueue(pool, { max_attempts: 1 });
  const outcomes = [snooze('1s'), release(), retry('1s'), cancelJob(), deadLetter()];
  const names = ['snooze', 'release', 'retry', 'cancelJob', 'deadLetter'];
  const { worker } = makeWorker({
    url,
    queues: [
      work(
        name as unknown as AnyQueue,
        (({ payload }: { payload: number }) => {
          throw outcomes[payload];
        }) as never,
      ),
    ],
  });
  const ids = await enqueue(
    pool,
    name,
    outcomes.map((_, payload) => ({ payload })),
  );
  await worker.runOnce();
  for (const [i, id] of ids.entries()) {
    const { errors } = await readJob(pool, id);
    expect(errors).toMatchObject([
      {
        code: 'HOWDAH_HANDLER_INVALID',
        message: expect.stringContaining(`Return ${names[i]}() instead`),
      },
    ]);
  }
});
