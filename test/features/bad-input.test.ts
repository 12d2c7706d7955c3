import {
  createClient,
  type EnqueueOptions,
  ERROR_CODES,
  type HowdahErrorCode,
  queue,
} from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { codeOf, errorOf, test } from '../support/client.js';

const cycle: unknown[] = [];
cycle.push(cycle);

const YEAR_300_000 = new Date(Date.UTC(270_000, 0, 1));

interface Bad {
  readonly what: string;
  readonly code: HowdahErrorCode;
  readonly queue?: string;
  readonly payload?: unknown;
  readonly options?: object;
  /** The database says so, not the client. */
  readonly isTold?: true;
}

const BAD: readonly Bad[] = [
  { what: 'an unknown queue', code: 'HOWDAH_QUEUE_UNKNOWN', queue: 'unknown', isTold: true },
  { what: 'a name with quotes', code: 'HOWDAH_QUEUE_NAME_INVALID', queue: `a'"b` },
  { what: 'a name in unicode', code: 'HOWDAH_QUEUE_NAME_INVALID', queue: 'größe' },
  { what: 'a name of 300 characters', code: 'HOWDAH_QUEUE_NAME_INVALID', queue: 'x'.repeat(300) },
  { what: 'an empty name', code: 'HOWDAH_QUEUE_NAME_INVALID', queue: '' },
  { what: 'undefined', code: 'HOWDAH_PAYLOAD_INVALID', payload: undefined },
  { what: 'a function', code: 'HOWDAH_PAYLOAD_INVALID', payload: () => 1 },
  { what: 'a BigInt', code: 'HOWDAH_PAYLOAD_INVALID', payload: { n: 1n } },
  { what: 'a cycle', code: 'HOWDAH_PAYLOAD_INVALID', payload: cycle },
  { what: '\\u0000', code: 'HOWDAH_PAYLOAD_INVALID', payload: { text: 'a\0b' } },
  { what: 'a lone surrogate', code: 'HOWDAH_PAYLOAD_INVALID', payload: ['\udc00'] },
  { what: 'NaN', code: 'HOWDAH_PAYLOAD_INVALID', payload: Number.NaN },
  { what: 'a Map', code: 'HOWDAH_PAYLOAD_INVALID', payload: new Map([[1, 2]]) },
  {
    what: '2 MB',
    code: 'HOWDAH_PAYLOAD_TOO_LARGE',
    payload: 'x'.repeat(2_000_000),
    isTold: true,
  },
  { what: 'a negative delay', code: 'HOWDAH_DELAY_INVALID', options: { delay: -1 } },
  { what: 'an absurd delay', code: 'HOWDAH_DELAY_INVALID', options: { delay: '600w' } },
  { what: 'a delay of NaN', code: 'HOWDAH_DELAY_INVALID', options: { delay: Number.NaN } },
  { what: 'a priority of NaN', code: 'HOWDAH_PRIORITY_INVALID', options: { priority: Number.NaN } },
  { what: 'a priority of 1000', code: 'HOWDAH_PRIORITY_INVALID', options: { priority: 1000 } },
  { what: 'a date in 1970', code: 'HOWDAH_RUN_AT_INVALID', options: { runAt: new Date(0) } },
  { what: 'the year 300,000', code: 'HOWDAH_RUN_AT_INVALID', options: { runAt: YEAR_300_000 } },
  { what: 'an invalid date', code: 'HOWDAH_RUN_AT_INVALID', options: { runAt: new Date('x') } },
  { what: 'a ttl of 0', code: 'HOWDAH_TTL_INVALID', options: { ttl: 0 } },
  { what: 'attempts of 0', code: 'HOWDAH_ATTEMPTS_INVALID', options: { attempts: 0 } },
  { what: 'headers in an array', code: 'HOWDAH_HEADERS_INVALID', options: { headers: [] } },
  {
    what: 'headers of 20 KiB',
    code: 'HOWDAH_HEADERS_INVALID',
    options: { headers: { text: 'x'.repeat(20_480) } },
  },
  { what: 'an option that does not exist', code: 'HOWDAH_OPTION_INVALID', options: { dleay: 1 } },
];

describe.for(BAD)('$what', ({ code, queue: name = 'good', options, isTold, ...rest }) => {
  const payload = 'payload' in rest ? rest.payload : { fine: true };

  test(`is ${code}, alone, among others and in a transaction`, async ({
    client,
    url,
    pool,
    storedJobs,
  }) => {
    await client.queues.create('good');
    await pool.query('truncate howdah._jobs');
    const bad = (tx?: pg.Client) =>
      client.enqueue(name, payload, { ...options, tx } as EnqueueOptions);

    const error = await errorOf(bad());
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/\S{3}/);
    const neighbours = [client.enqueue('good', 1), codeOf(bad()), client.enqueue('good', 2)];
    expect((await Promise.all(neighbours))[1]).toBe(code);

    const app = new pg.Client(url);
    await app.connect();
    onTestFinished(() => app.end());
    await app.query('begin');
    expect(await codeOf(bad(app))).toBe(code);
    await client.enqueue('good', 3, { tx: app });
    await app.query('commit');

    const many = client.enqueueMany(name, [payload], options as EnqueueOptions);
    expect(await codeOf(many)).toBe(code);
    expect((await storedJobs()).map((job) => job.payload)).toEqual([1, 2, 3]);
  });

  test.skipIf(isTold)('is found without a round trip', async () => {
    const unreachable = createClient({ url: 'postgres://nobody@127.0.0.1:1/nowhere' });
    const call = unreachable.enqueue(name, payload, options as EnqueueOptions);
    expect(await codeOf(call)).toBe(code);
    await unreachable.close();
  });
});

describe('the installation', () => {
  test('a database without the schema', async ({ createDatabase }) => {
    const client = createClient({ url: await createDatabase('empty') });
    onTestFinished(() => client.close());
    const calls = [
      client.enqueue('any', 1),
      client.enqueue(queue('any'), 1),
      client.enqueueMany('any', [1]),
      client.queues.create('any'),
      client.queues.stats(),
      client.jobs.list(),
      client.jobs.get('1'),
      client.jobs.cancel('1'),
      client.deadLetters.redrive({}),
    ];
    const errors = await Promise.all(calls.map(errorOf));
    expect(errors.map((error) => error.code)).toEqual(calls.map(() => 'HOWDAH_SCHEMA_MISSING'));
    expect(errors[0]?.message).toContain('howdah migrate');
  });

  test.for([
    [1, 'HOWDAH_SCHEMA_OLDER'],
    [9999, 'HOWDAH_SCHEMA_NEWER'],
  ] as const)('a schema of version %i', async ([version, code], { createDatabase }) => {
    const url = await createDatabase('migrated');
    const admin = new pg.Client(url);
    await admin.connect();
    await admin.query(
      `create or replace function howdah.schema_version() returns integer
      language sql stable as 'select ${version}'`,
    );
    await admin.end();
    const client = createClient({ url });
    onTestFinished(() => client.close());
    expect(await codeOf(client.enqueue(queue('any'), 1))).toBe(code);
    expect(await codeOf(client.enqueueMany('any', [1]))).toBe(code);
  });

  test('a closed pool', async ({ url }) => {
    const pool = new pg.Pool({ connectionString: url });
    const client = createClient({ pool });
    await client.queues.create('pooled');
    await client.enqueue('pooled', 1);
    await pool.end();
    expect(await codeOf(client.enqueue('pooled', 1))).toBe('HOWDAH_CLIENT_CLOSED');
    expect(await codeOf(client.enqueueMany('pooled', [1]))).toBe('HOWDAH_CLIENT_CLOSED');
    expect(await codeOf(client.queues.stats())).toBe('HOWDAH_CLIENT_CLOSED');
  });

  test('a queue deleted after its declaration', async ({ client }) => {
    const short = queue('short-lived');
    await client.enqueue(short, 1);
    expect(await codeOf(client.queues.delete(short))).toBe('HOWDAH_QUEUE_NOT_EMPTY');
    await client.queues.delete(short, { force: true });
    expect(await codeOf(client.enqueue(short, 2))).toBe('HOWDAH_QUEUE_UNKNOWN');
  });

  test('a role without any right', async ({ url, pool }) => {
    await pool.query(`create role stranger_${process.pid} login password 'secret'`);
    const asStranger = new URL(url);
    asStranger.username = `stranger_${process.pid}`;
    asStranger.password = 'secret';
    const client = createClient({ url: asStranger.href });
    onTestFinished(async () => {
      await client.close();
      await pool.query(`drop role stranger_${process.pid}`);
    });
    expect(await codeOf(client.enqueue(queue('any'), 1))).toBe('HOWDAH_PERMISSION_DENIED');
  });
});

describe('operators', () => {
  test.for(['', 'x', '-1', '1.5', '99999999999999999999', '1; drop table x'])(
    'the id %j',
    async (id, { client }) => {
      const calls = [
        client.jobs.get(id),
        client.jobs.cancel(id),
        client.jobs.runNow([id]),
        client.deadLetters.redrive({ ids: [id] }),
      ];
      expect(await Promise.all(calls.map(codeOf))).toEqual(
        calls.map(() => 'HOWDAH_OPTION_INVALID'),
      );
      expect(await codeOf(client.jobs.list({ after: id }))).toBe('HOWDAH_OPTION_INVALID');
    },
  );

  test('filters, limits and policies', async ({ client }) => {
    const cases: [Promise<unknown>, HowdahErrorCode][] = [
      [client.deadLetters.redrive({ sinec: new Date() } as object), 'HOWDAH_FILTER_INVALID'],
      [client.deadLetters.redrive({ since: new Date('x') }), 'HOWDAH_FILTER_INVALID'],
      [client.deadLetters.discard({ error: 5 } as object), 'HOWDAH_FILTER_INVALID'],
      [client.deadLetters.discard({ queue: 'a b' }), 'HOWDAH_QUEUE_NAME_INVALID'],
      [client.deadLetters.discard({ queue: 'unknown' }), 'HOWDAH_QUEUE_UNKNOWN'],
      [client.deadLetters.redrive({}, { limit: 0 }), 'HOWDAH_OPTION_INVALID'],
      [client.deadLetters.redrive({}, { to: 'unknown' }), 'HOWDAH_QUEUE_UNKNOWN'],
      [client.jobs.list({ limit: 5000 }), 'HOWDAH_OPTION_INVALID'],
      [client.jobs.list({ state: 'lost' } as object), 'HOWDAH_FILTER_INVALID'],
      [client.queues.create('a b'), 'HOWDAH_QUEUE_NAME_INVALID'],
      [client.queues.create('a', { attempts: 0 }), 'HOWDAH_OPTION_INVALID'],
      [client.queues.create('a', { deadLetterQueue: 'unknown' }), 'HOWDAH_QUEUE_UNKNOWN'],
      [client.queues.alter('unknown', { attempts: 3 }), 'HOWDAH_QUEUE_UNKNOWN'],
      [client.queues.pause('unknown'), 'HOWDAH_QUEUE_UNKNOWN'],
      [client.queues.resume('unknown'), 'HOWDAH_QUEUE_UNKNOWN'],
      [client.queues.delete('unknown'), 'HOWDAH_QUEUE_UNKNOWN'],
      [client.queues.delete('dead-letters', { force: true }), 'HOWDAH_QUEUE_NOT_EMPTY'],
    ];
    const codes = await Promise.all(cases.map(([call]) => codeOf(call)));
    expect(codes).toEqual(cases.map(([, code]) => code));
    expect(codes.every((code) => code in ERROR_CODES)).toBe(true);
  });

  test.for([
    { gather: { jobsMax: 0 } },
    { gather: { statementsMax: 1000 } },
    { gather: { waitingMax: Number.NaN } },
    { schema: 'Robert"; drop' },
    { connectionsMax: -1 },
    { url: 'http://example.com' },
  ])('client options %j', (options) => {
    expect(() => createClient(options)).toThrow(
      expect.objectContaining({ code: 'HOWDAH_OPTION_INVALID' }),
    );
  });
});
