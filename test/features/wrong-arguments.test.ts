import {
  type AnyQueue,
  cancelJob,
  createClient,
  deadLetter,
  HowdahError,
  queue,
  rateLimited,
  release,
  retry,
  snooze,
  work,
} from 'howdah';
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
    for (const [path, object] of Object.entries<object>({
      client,
      schedules: client.schedules,
    })) {
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
