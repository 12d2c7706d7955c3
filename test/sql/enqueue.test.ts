import { describe, expect } from 'vitest';
import { sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const YEAR_MS = 365 * 86_400_000;

/** Many payloads of one queue as `enqueue_many()` reads them fastest: with RS between. */
function inRecords(head: object, payloads: readonly unknown[]): string {
  return [head, ...payloads].map((each) => JSON.stringify(each)).join('\x1e');
}

describe('enqueue', () => {
  test('takes one job as an object, from psql as from a driver', async ({ db }) => {
    await db.createQueue('mail');
    const rows = await db.rows(
      `select * from howdah.enqueue('{"queue": "mail", "payload": {"to": "ann"}}')`,
    );
    expect(rows).toEqual([
      {
        ordinal: 1,
        id: expect.stringMatching(/^\d+$/),
        created: true,
        error_code: null,
        error_message: null,
        error_hint: null,
        same: null,
        details: null,
      },
    ]);
    expect(await db.job(String(rows[0]?.id))).toMatchObject({
      queue: 'mail',
      state: 'ready',
      priority: 0,
      attempt: 0,
      max_attempts: 10,
      payload: { to: 'ann' },
      headers: null,
    });
  });

  test('takes many jobs of several queues and keeps their order', async ({ db }) => {
    await db.createQueue('mail');
    await db.createQueue('sms', { delay_ms: 60_000, ttl_ms: 1000 });
    const jobs = Array.from({ length: 50 }, (_, i) => ({
      queue: i % 2 ? 'mail' : 'sms',
      payload: i,
    }));
    const rows = await db.enqueueRows(jobs);
    expect(rows.map(({ ordinal }) => ordinal)).toEqual(jobs.map((_, i) => i + 1));
    for (const i of [0, 1, 48, 49]) {
      const job = await db.job(String(rows[i]?.id));
      expect(job).toMatchObject({ payload: i, state: i % 2 ? 'ready' : 'scheduled' });
    }
    await db.expectTruth();
  });

  test.for([
    ['all are plain', {}, true],
    ['null is a payload', { payload: null }, true],
    ['one has an option', { priority: 5 }, false],
    ['one is of another queue', { queue: 'fax' }, false],
    ['one is large', { payload: 'x'.repeat(9000) }, true],
    ['one is of an unknown queue', { queue: 'none' }, false],
    ['one has no payload', { payload: undefined }, false],
  ] as const)(
    'many of one queue, and %s: the way is short or long, the end is the same',
    async ([, odd, isPlain], { db }) => {
      await db.createQueue('mail');
      await db.createQueue('fax');
      const jobs = [0, 1, 2, 3].map((payload) => ({
        queue: 'mail',
        payload,
        ...(payload === 2 && odd),
      }));
      const text = JSON.stringify(jobs);
      const before = await db.rows('select count(*)::int from howdah._jobs');
      const [way] = await db.rows(
        'select howdah._enqueue_plain($1::text::jsonb, null, clock_timestamp(), true) as ids',
        [text],
      );
      if (isPlain) expect(way?.ids).toHaveLength(4);
      else {
        expect(way?.ids).toBeNull();
        expect(await db.rows('select count(*)::int from howdah._jobs')).toEqual(before);
      }
      const rows = await db.rows(
        "select id, error_code from howdah.enqueue($1::text::jsonb, 'report') order by ordinal",
        [text],
      );
      const ids = rows.flatMap(({ id }) => (id === null ? [] : [String(id)]));
      const good = jobs.filter(({ queue, payload }) => queue !== 'none' && payload !== undefined);
      expect(ids).toHaveLength(good.length);
      for (const [i, id] of ids.entries()) {
        expect(await db.job(id)).toMatchObject({ ...good[i], state: 'ready' });
      }
      await db.expectTruth();
    },
  );

  test.for([
    ['all are small', {}, 'x', true],
    ['one is large', {}, 'x'.repeat(9000), true],
    ['the queue has a delay', { delay_ms: 60_000 }, 'x', false],
    ['the queue is bounded', { max_depth: 100 }, 'x', false],
  ] as const)(
    'payloads of one queue, and %s: the way is short or long, the end is the same',
    async ([, policy, odd, isPlain], { db }) => {
      await db.createQueue('payloads', policy);
      const payloads = [1, null, odd, { a: [1] }];
      const before = await db.one('select count(*)::int from howdah._jobs');
      const way = await db.one(
        `select howdah._enqueue_plain('{"queue": "payloads"}', $1, clock_timestamp(), true)`,
        [payloads.map((each) => JSON.stringify(each))],
      );
      if (isPlain) expect(way).toHaveLength(4);
      else {
        expect(way).toBeNull();
        expect(await db.one('select count(*)::int from howdah._jobs')).toBe(before);
      }
      const rows = await db.enqueueRows({ queue: 'payloads', payloads });
      expect(rows.map(({ ordinal }) => ordinal)).toEqual([1, 2, 3, 4]);
      const ids = await db.one('select howdah.enqueue_many($1)', [
        inRecords({ queue: 'payloads' }, payloads),
      ]);
      for (const each of [rows.map(({ id }) => id), String(ids).split(',')]) {
        const stored = await Promise.all(each.map((id) => db.job(String(id))));
        expect(stored.map(({ payload }) => payload)).toEqual(payloads);
      }
      await db.expectTruth();
    },
  );

  test('payloads of one queue share their options', async ({ db }) => {
    await db.createQueue('shared');
    const [one, two] = await db.enqueueRows({
      queue: 'shared',
      priority: 7,
      headers: { a: 1 },
      payloads: [1, 2],
    });
    for (const [row, payload] of [
      [one, 1],
      [two, 2],
    ] as const) {
      expect(await db.job(String(row?.id))).toMatchObject({
        payload,
        priority: 7,
        headers: { a: 1 },
      });
    }
    const [only] = await db.enqueueRows({ queue: 'shared', payloads: ['alone'] });
    expect(await db.job(String(only?.id))).toMatchObject({ payload: 'alone', priority: 0 });
    expect(await db.enqueueRows({ queue: 'shared', payloads: [] })).toEqual([]);
  });

  test('a payload beyond the bound is refused, and none of its neighbours is there twice', async ({
    db,
  }) => {
    await db.createQueue('narrow', { payload_bytes_max: 100 });
    const given = { queue: 'narrow', payloads: [1, 'x'.repeat(99), 3] };
    expect(await sqlError(db.enqueueRows(given))).toMatchObject({
      code: 'HW011',
      message: expect.stringContaining('(job 2 of 3)'),
    });
    const rows = await db.enqueueRows(given, 'report');
    expect(rows.map(({ error_code }) => error_code)).toEqual([
      null,
      'HOWDAH_PAYLOAD_TOO_LARGE',
      null,
    ]);
    const stored = `select payload from howdah.jobs where queue = 'narrow' order by id`;
    expect(await db.rows(stored)).toEqual([{ payload: 1 }, { payload: 3 }]);
    await db.expectTruth();
  });

  test.for(['1', '{}', 'null'])('refuses %s for payloads', async (payloads, { db }) => {
    const error = await sqlError(
      db.rows('select howdah.enqueue($1::text::jsonb)', [`{"queue":"q","payloads":${payloads}}`]),
    );
    expect(error).toMatchObject({ code: 'HW018', hint: expect.stringContaining('"payloads"') });
  });

  test('says in one text what became of plain jobs, and of others', async ({ db }) => {
    await db.createQueue('brief');
    const ask = (text: string, onError: string) =>
      db.one('select howdah.enqueue_many($1, $2)', [text, onError]);
    const many = (jobs: unknown, onError = 'report') => ask(JSON.stringify(jobs), onError);
    const records = (options: object, payloads: unknown[], onError = 'report') =>
      ask(inRecords({ queue: 'brief', ...options }, payloads), onError);
    const job = { queue: 'brief', payload: 1 };
    for (const [jobs, count] of [
      [job, 1],
      [[job], 1],
      [[job, job, job], 3],
      [{ queue: 'brief', payloads: [1, 2] }, 2],
      [[{ ...job, priority: 3 }, job], 2],
    ] as const) {
      const ids = String(await many(jobs)).split(',');
      expect(ids).toHaveLength(count);
      expect(ids).toEqual([...ids].sort((a, b) => Number(a) - Number(b)));
      for (const id of ids) expect(await db.job(id)).toMatchObject({ queue: 'brief' });
    }
    expect(await many([])).toBeNull();
    for (const options of [{}, { priority: 5 }]) {
      const ids = String(await records(options, [1, 'two', { three: [3] }])).split(',');
      const stored = await Promise.all(ids.map((each) => db.job(each)));
      expect(stored.map(({ payload }) => payload)).toEqual([1, 'two', { three: [3] }]);
    }

    const keyed = { ...job, dedupe: { key: 'k', window_ms: 60_000 } };
    const first = String(await many([keyed]));
    const answer = JSON.parse(
      String(await many([job, { ...job, priority: 500 }, { ...keyed, payload: 2 }])),
    );
    const [id, refused, duplicate] = answer.ids.split(',');
    expect(await db.job(id)).toMatchObject({ payload: 1 });
    expect([refused, duplicate]).toEqual(['', first]);
    expect(answer.duplicates).toEqual([[3, false]]);
    expect(answer.refused).toEqual([
      [2, 'HOWDAH_PRIORITY_INVALID', expect.any(String), expect.any(String), null],
    ]);
    expect(await sqlError(many([job, { ...job, priority: 500 }], 'raise'))).toMatchObject({
      message: expect.stringContaining('(job 2 of 2)'),
    });
    const wrong = { priority: 500 };
    expect(JSON.parse(String(await records(wrong, [1, 2]))).refused).toHaveLength(2);
    expect(await sqlError(records(wrong, [1, 2], 'raise'))).toMatchObject({
      message: expect.stringContaining('(job 1 of 2)'),
    });
    for (const text of ['{"queue":"brief"}\x1e1,2', '{"queue":"brief","priority":1}\x1e1,2']) {
      expect(await sqlError(ask(text, 'report'))).toMatchObject({ code: '22P02' });
    }
    await db.expectTruth();
  });

  test('does nothing for an empty array', async ({ db }) => {
    expect(await db.enqueueRows([])).toEqual([]);
  });

  test('works from a trigger', async ({ db }) => {
    await db.createQueue('orders');
    await db.rows('create table orders (id int primary key)');
    await db.rows(`create function queue_order() returns trigger language plpgsql as $$ begin
      perform howdah.enqueue(jsonb_build_object('queue', 'orders', 'payload', to_jsonb(new)));
      return new; end $$`);
    await db.rows(`create trigger queue_order after insert on orders for each row
      execute function queue_order()`);
    await db.rows('insert into orders select generate_series(1, 3)');
    expect(await db.stats('orders')).toMatchObject({ ready: '3', enqueued: '3' });
  });

  test('is undone with its transaction', async ({ pool, db }) => {
    await db.createQueue('undone');
    const client = await pool.connect();
    await client.query('begin');
    await client.query(`select howdah.enqueue('{"queue": "undone", "payload": 1, "priority": 3}')`);
    await client.query('rollback');
    client.release();
    expect(await db.stats('undone')).toMatchObject({ ready: '0', enqueued: '0' });
    await db.expectTruth();
  });

  test('knows options by their names and numbers by their value', async ({ db }) => {
    await db.createQueue('options', { delay_ms: 5000, ttl_ms: 9000 });
    // as languages with one kind of number write them
    const [row] = await db.rows(`select * from howdah.enqueue('{"queue": "options", "payload": null,
      "priority": 5.0, "delay_ms": 1e3, "ttl_ms": 2000.0, "max_attempts": 3.0, "headers": {"a": "b"}}')`);
    const job = await db.job(String(row?.id));
    expect(job).toMatchObject({ priority: 5, max_attempts: 3, headers: { a: 'b' }, payload: null });
    const { enqueued_at, run_at, expires_at } = job as Record<string, Date>;
    expect(run_at.getTime() - enqueued_at.getTime()).toBe(1000);
    expect(expires_at.getTime() - run_at.getTime()).toBe(2000);
  });

  test('takes null for an option that is not given', async ({ db }) => {
    await db.createQueue('nulls', { delay_ms: 5000 });
    const [id] = await db.enqueue('nulls', 1, {
      priority: null,
      delay_ms: null,
      run_at: null,
      ttl_ms: null,
      max_attempts: null,
      headers: null,
    });
    expect(await db.job(String(id))).toMatchObject({
      state: 'scheduled',
      priority: 0,
      max_attempts: 10,
    });
  });

  test('takes a time with its zone, or epoch milliseconds', async ({ db }) => {
    await db.createQueue('times');
    const at = new Date(Date.now() + YEAR_MS);
    for (const run_at of [
      at.toISOString(),
      at.getTime(),
      at.toISOString().replace('Z', '+00:00'),
    ]) {
      const [id] = await db.enqueue('times', 1, { run_at });
      expect((await db.job(String(id))).run_at).toEqual(at);
    }
    const [past] = await db.enqueue('times', 1, { run_at: '2001-02-03T04:05:06Z' });
    expect(await db.state(String(past))).toBe('ready');
  });
});

/** Code, the options that are refused with it, and those just inside the bound. */
const BOUNDS: [code: string, name: string, option: string, bad: unknown[], good: unknown[]][] = [
  ['HW012', 'PRIORITY', 'priority', [101, -101, 1.5, '5', true, [], {}, 1e300], [100, -100, 0, -0]],
  [
    'HW013',
    'DELAY',
    'delay_ms',
    [-1, -0.001, 315360000001, 1e308, '5', true, {}],
    [0, 0.5, 315360000000],
  ],
  [
    'HW014',
    'RUN_AT',
    'run_at',
    [
      '1970-01-01T00:00:00Z',
      '1999-12-31T23:59:59Z',
      '+300000-01-01T00:00:00Z',
      'infinity',
      '-infinity',
      'soon',
      '',
      0,
      -1,
      1e300,
      true,
      [],
      {},
      '2026-02-30T00:00:00Z',
      "'; select 1; --",
      '4713-01-01 BC',
      Date.now() + 11 * YEAR_MS,
    ],
    ['2000-01-01T00:00:00Z', '2026-11-24 10:00:00+01', Date.now() + 9 * YEAR_MS],
  ],
  [
    'HW015',
    'HEADERS',
    'headers',
    ['x', 1, true, [], { big: 'x'.repeat(17_000) }],
    [{}, { a: { b: 1 } }],
  ],
  ['HW016', 'ATTEMPTS', 'max_attempts', [0, -1, 1001, 2.5, '3', true, 1e300], [1, 1000]],
  ['HW017', 'TTL', 'ttl_ms', [0, -1, 1.5, 315360000001, 'x', 1e308], [1, 315360000000]],
];

describe('bad input', () => {
  test.for(BOUNDS)('%s: bounds of the %s', async ([code, name, option, bad, good], { db }) => {
    await db.createQueue('bad');
    for (const value of good) await db.enqueue('bad', 1, { [option]: value });
    const before = await db.stats('bad');
    for (const value of bad) {
      const error = await sqlError(db.enqueue('bad', 1, { [option]: value }));
      expect(error, `${option} ${JSON.stringify(value)}`).toMatchObject({
        code,
        hint: expect.any(String),
      });
      expect(error.message).toContain(option);
      expect(error.message.length).toBeLessThan(200);
      const [, row] = await db.enqueueRows(
        [
          { queue: 'bad', payload: 0, delay_ms: 0 },
          { queue: 'bad', payload: 1, [option]: value },
        ],
        'report',
      );
      expect(row).toMatchObject({
        id: null,
        created: false,
        error_code: expect.stringContaining(name),
      });
    }
    expect(Number((await db.stats('bad')).enqueued) - Number(before.enqueued)).toBe(bad.length);
    await db.expectTruth();
  });

  test.for(['1', '"text"', 'null', 'true', null])(
    '%s is not a list of jobs',
    async (jobs, { db }) => {
      expect(
        await sqlError(db.rows('select * from howdah.enqueue($1::text::jsonb)', [jobs])),
      ).toMatchObject({
        code: 'HW018',
        hint: expect.any(String),
      });
    },
  );

  test.for([1, 'priority', 'queue', null, true, [], [[]], ['queue']])(
    '%j is not a job',
    async (job, { db }) => {
      expect(await sqlError(db.enqueueRows([job]))).toMatchObject({
        code: 'HW018',
        message: expect.stringContaining('must be a JSON object'),
        hint: expect.any(String),
      });
    },
  );

  test.for([undefined, null, '', 'nobody', "x'; --", 'x'.repeat(300), 7, {}, ['bad']])(
    '%j is not a queue that exists',
    async (queue, { db }) => {
      const error = await sqlError(db.enqueueRows({ queue, payload: 1 }));
      expect(error).toMatchObject({ code: 'HW001', hint: expect.stringContaining('create_queue') });
      expect(error.message.length).toBeLessThan(200);
    },
  );

  test('a payload must be there and within the bound of its queue', async ({ db }) => {
    await db.createQueue('small', { payload_bytes_max: 100 });
    expect(await sqlError(db.enqueueRows({ queue: 'small' }))).toMatchObject({
      code: 'HW010',
      hint: expect.any(String),
    });
    await db.enqueueRows({ queue: 'small', payload: 'x'.repeat(98) });
    for (const payload of ['x'.repeat(99), '\u0001'.repeat(17), 'x'.repeat(2_000_000)]) {
      expect(await sqlError(db.enqueueRows({ queue: 'small', payload }))).toMatchObject({
        code: 'HW011',
        message: expect.stringContaining('allows 100'),
        hint: expect.stringContaining('payload_bytes_max'),
      });
    }
  });

  test('the first bad job of many fails the statement and names its place', async ({ db }) => {
    await db.createQueue('many');
    const error = await sqlError(
      db.enqueueRows([
        { queue: 'many', payload: 1 },
        { queue: 'many' },
        { queue: 'nobody', payload: 1 },
      ]),
    );
    expect(error).toMatchObject({ code: 'HW010', message: 'payload is missing (job 2 of 3)' });
    expect(await db.stats('many')).toMatchObject({ enqueued: '0' });
  });

  test('reported: neighbours of a bad job are enqueued', async ({ db }) => {
    await db.createQueue('mixed');
    const rows = await db.enqueueRows(
      [
        { queue: 'mixed', payload: 1 },
        7,
        { queue: 'nope', payload: 1 },
        { queue: 'mixed', payload: 2, priority: -7 },
      ],
      'report',
    );
    expect(rows.map(({ created, error_code }) => [created, error_code])).toEqual([
      [true, null],
      [false, 'HOWDAH_JOB_INVALID'],
      [false, 'HOWDAH_QUEUE_UNKNOWN'],
      [true, null],
    ]);
    expect(await db.stats('mixed')).toMatchObject({ ready: '2', enqueued: '2' });
    await db.expectTruth();
  });

  test('an answer to errors that is not known raises', async ({ db }) => {
    for (const onError of ['skip', null]) {
      await sqlError(db.rows(`select howdah.enqueue('[1]', $1)`, [onError]));
    }
  });
});

describe('payloads', () => {
  const deep = JSON.parse(`${'['.repeat(500)}1${']'.repeat(500)}`);
  test.for(
    [
      null,
      false,
      0,
      '',
      [],
      {},
      deep,
      "'; drop table howdah._jobs; --",
      '{{schema}} %s $1 \\ "',
      '\u0001\u001f\u2028',
      '😀 𝒳 \u202e',
      { __proto__x: 1, constructor: 2, '': 3, queue: 'x', 'a\'b"': [null] },
      9007199254740991,
      1e-300,
      'x'.repeat(500_000),
    ].map((payload, index) => ({ index, payload })),
  )('number $index comes back as it was', async ({ payload }, { db }) => {
    await db.createQueue('echo');
    await db.enqueueRows({ queue: 'echo', payload, headers: { h: 'é' } });
    const lease = await db.openLease();
    const job = await db.claimOne('echo', lease);
    expect(job.payload).toEqual(payload);
    expect(job.headers).toEqual({ h: 'é' });
    await db.complete(lease, [job]);
  });
});
