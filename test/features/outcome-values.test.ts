import { cancelJob, createClient, deadLetter, rateLimited, retry, work } from 'howdah';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { createQueue, enqueue, readJob, startWorker, waitForState } from '../support/workers.js';

const failure = Object.assign(new TypeError('no such mailbox'), { code: 'ENOENT' });
const throwing = new Proxy(
  {},
  {
    get: () => {
      throw new Error('a trap');
    },
    getPrototypeOf: () => {
      throw new Error('a trap');
    },
  },
);
const cyclic: { self?: unknown } = {};
cyclic.self = cyclic;

interface Case {
  readonly outcome: () => unknown;
  readonly state: string;
  readonly reason?: string | null;
  readonly error?: object;
}

const CASES: Record<string, Case> = {
  'deadLetter(error)': {
    outcome: () => deadLetter(failure),
    state: 'dead',
    reason: 'no such mailbox',
    error: { name: 'TypeError', message: 'no such mailbox', code: 'ENOENT' },
  },
  'deadLetter(object)': {
    outcome: () => deadLetter({ status: 410 }),
    state: 'dead',
    reason: '{"status":410}',
  },
  'deadLetter(a proxy that throws)': { outcome: () => deadLetter(throwing), state: 'dead' },
  'deadLetter(null)': { outcome: () => deadLetter(null), state: 'dead' },
  'cancelJob(404)': { outcome: () => cancelJob(404), state: 'cancelled', reason: '404' },
  'cancelJob(a symbol)': { outcome: () => cancelJob(Symbol('gone')), state: 'cancelled' },
  'cancelJob(a cycle)': { outcome: () => cancelJob(cyclic), state: 'cancelled' },
  'cancelJob(a lone surrogate and a zero)': {
    outcome: () => cancelJob('\uD800 \0'),
    state: 'cancelled',
    reason: '\uFFFD \uFFFD',
  },
  'cancelJob(very long text)': {
    outcome: () => cancelJob('x'.repeat(1_000_000)),
    state: 'cancelled',
    reason: 'x'.repeat(500),
  },
  'retry(error)': {
    outcome: () => retry('1h', failure),
    state: 'scheduled',
    error: { name: 'TypeError' },
  },
  'rateLimited({ reason: object })': {
    outcome: () => rateLimited({ retryAfter: '1h', reason: { status: 429 } }),
    state: 'ready',
  },
  'an outcome of nobody': {
    outcome: () => ({ [Symbol.for('howdah.outcome')]: { verb: 'explode', reason: 1 } }),
    state: 'scheduled',
    error: { code: 'HOWDAH_HANDLER_INVALID' },
  },
  'a foreign outcome with odd values': {
    outcome: () => ({ [Symbol.for('howdah.outcome')]: { verb: 'cancel', reason: { a: 1 } } }),
    state: 'cancelled',
    reason: '{"a":1}',
  },
  'a foreign outcome with a delay that is none': {
    outcome: () => ({ [Symbol.for('howdah.outcome')]: { verb: 'snooze', delayMs: 'soon' } }),
    state: 'scheduled',
    error: { code: 'HOWDAH_OPTION_INVALID' },
  },
};

describe('a reason of any kind ends the job, and nothing else', () => {
  test.for(Object.keys(CASES))('%s', async (name, { url, pool }) => {
    const { outcome, state, reason, error } = CASES[name] as Case;
    const queue = await createQueue(pool, { backoff_ms: 3_600_000 });
    const other = await createQueue(pool);
    const { events } = await startWorker({
      url,
      queues: [work(queue, outcome as never), work(other, () => 'fine')],
    });
    const [id] = await enqueue(pool, queue);
    const job = await waitForState(pool, id, state);
    if (reason !== undefined) expect(job.reason).toBe(reason);
    if (error) expect(job.errors?.at(-1)).toMatchObject(error);
    const [later] = await enqueue(pool, other);
    await waitForState(pool, later, 'completed');
    expect(events.filter(({ type }) => /threw|settle\.failed/.test(type))).toEqual([]);
  });
});

test('a batch handler whose answer cannot be read has failed, each job of it', async ({
  url,
  pool,
}) => {
  const queue = await createQueue(pool, { backoff_ms: 3_600_000 });
  const { events } = await startWorker({
    url,
    queues: [work(queue, () => throwing as never, { batch: { size: 3 } })],
  });
  const ids = await enqueue(pool, queue, [{}, {}, {}, {}]);
  for (const id of ids) {
    const { errors } = await waitForState(pool, id, 'scheduled');
    expect(errors?.at(-1)).toMatchObject({ message: 'a trap' });
  }
  expect(events.filter(({ type }) => /threw|settle\.failed/.test(type))).toEqual([]);
});

test('a received job takes any reason as well', async ({ url, pool }) => {
  const queue = await createQueue(pool);
  const client = createClient({ url });
  onTestFinished(() => client.close());
  const [id] = await enqueue(pool, queue);
  const [job] = await client.receive(queue);
  await job?.deadLetter(failure);
  expect(await readJob(pool, id)).toMatchObject({ state: 'dead', reason: 'no such mailbox' });
});
