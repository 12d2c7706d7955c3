import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const policyOf = async (db: Engine, queue: string): Promise<Record<string, unknown>> => {
  const [row] = await db.rows('select * from howdah.queue_policies where queue = $1', [queue]);
  return row ?? {};
};

describe('create_queue', () => {
  test('creates once, then applies only the keys that are given', async ({ db }) => {
    const id = await db.createQueue('once', { max_attempts: 7, backoff_jitter: 0 });
    expect(await db.createQueue('once')).toBe(id);
    expect(await db.createQueue('once', { backoff_ms: 10 })).toBe(id);
    expect(await policyOf(db, 'once')).toMatchObject({
      max_attempts: 7,
      backoff: 'exponential',
      backoff_ms: 10,
      backoff_max_ms: 3600000,
      backoff_jitter: 0,
      timeout_ms: 300000,
      ttl_ms: null,
      delay_ms: '0',
      payload_bytes_max: 1048576,
      retention_ms: '86400000',
      max_crashes: 3,
      dead_letter_queue: 'dead-letters',
    });
  });

  test('writes nothing when the declaration is unchanged', async ({ db }) => {
    await db.createQueue('same', { max_attempts: 4, dead_letter_queue: 'dead-letters' });
    const version = () => db.one(`select xmin::text from howdah._queues where name = 'same'`);
    const before = await version();
    await db.createQueue('same', { max_attempts: 4, dead_letter_queue: 'dead-letters' });
    expect(await version()).toBe(before);
    await db.createQueue('same', { max_attempts: 5 });
    expect(await version()).not.toBe(before);
  });

  test.for(['a', 'A9', '9', 'a.b_c:d/e-f', 'x'.repeat(128)])(
    'takes the name %s',
    async (name, { db }) => {
      await db.createQueue(name);
      expect(await db.enqueue(name)).toHaveLength(1);
    },
  );

  test.for([
    '',
    ' ',
    'a b',
    "a'b",
    'a"b',
    "'; drop table howdah._jobs; --",
    'naïve',
    '队列',
    '😀',
    '-a',
    '.a',
    'a\n',
    '\na',
    'a\tb',
    'x'.repeat(129),
    'x'.repeat(300),
    '$1',
    '%s',
    'a\\b',
    'a;b',
    null,
  ])('refuses the name %j', async (name, { db }) => {
    const error = await sqlError(db.rows('select howdah.create_queue($1)', [name]));
    expect(error).toMatchObject({ code: 'HW002', hint: expect.stringContaining('1 to 128') });
    expect(error.message.length).toBeLessThan(250);
  });
});

/** Each key with its bounds and what lies just outside them. */
const BOUNDS: [key: string, good: unknown[], bad: unknown[]][] = [
  ['max_attempts', [1, 1000], [0, -1, 1001, 99999, 2.5, null, 'x', {}, [], true]],
  ['backoff', ['fixed', 'exponential'], ['linear', '', null, 1]],
  ['backoff_ms', [0, 2147483647], [-1, 2147483648, 1e30, null]],
  ['backoff_max_ms', [0, 2147483647], [-1, 2147483648, null]],
  ['backoff_jitter', [0, 0.5, 1], [-0.01, 1.01, 'NaN', 'Infinity', null]],
  ['timeout_ms', [1, 2147483647, null], [0, -1, 2147483648, 'soon']],
  ['ttl_ms', [1, 315360000000, null], [0, -1, 315360000001, 1e300]],
  ['delay_ms', [0, 315360000000], [-1, 315360000001, null]],
  ['payload_bytes_max', [1, 67108864], [0, 67108865, null]],
  ['retention_ms', [0, 315360000000], [-1, 315360000001, null]],
  ['max_crashes', [1, 1000], [0, 1001, null]],
  ['visibility_ms', [100, 43_200_000], [-1, 99, 13 * 3_600_000, null]],
];

describe('policy', () => {
  test.for(BOUNDS)('%s keeps its bounds', async ([key, good, bad], { db }) => {
    await db.createQueue('bounds');
    for (const value of good) {
      await db.createQueue('bounds', { [key]: value });
      expect(String((await policyOf(db, 'bounds'))[key])).toBe(String(value));
    }
    const before = await policyOf(db, 'bounds');
    for (const value of bad) {
      const error = await sqlError(db.createQueue('bounds', { [key]: value }));
      expect(error, `${key} = ${value}`).toMatchObject({
        code: 'HW003',
        hint: expect.stringContaining('policy keys'),
      });
      expect(error.message).toContain(key);
    }
    expect(await policyOf(db, 'bounds')).toEqual(before);
  });

  test.for([
    'attempts',
    'Max_Attempts',
    'paused_at',
    'id',
    'lanes',
    'name',
    "a'b",
    '',
    'deleted_at',
  ])('refuses the unknown key %j', async (key, { db }) => {
    await db.createQueue('keys');
    expect(await sqlError(db.createQueue('keys', { [key]: 1 }))).toMatchObject({
      code: 'HW003',
      message: expect.stringContaining('unknown policy key'),
      hint: expect.any(String),
    });
  });

  test.for(['[]', '1', '"x"', 'null', null])('refuses %s for a policy', async (policy, { db }) => {
    for (const name of ['create_queue', 'alter_queue']) {
      await db.createQueue('objects');
      expect(
        await sqlError(db.rows(`select howdah.${name}('objects', $1)`, [policy])),
      ).toMatchObject({
        code: 'HW003',
        hint: expect.any(String),
      });
    }
  });

  test('leaves no queue behind when the policy is refused', async ({ db }) => {
    await sqlError(db.createQueue('half', { max_attempts: 0 }));
    expect(await policyOf(db, 'half')).toEqual({});
  });

  test('names another dead-letter queue, which must exist and be another', async ({ db }) => {
    await db.createQueue('graves');
    await db.createQueue('living', { dead_letter_queue: 'graves' });
    expect(await policyOf(db, 'living')).toMatchObject({ dead_letter_queue: 'graves' });
    for (const [name, code] of [
      ['living', 'HW003'],
      ['nowhere', 'HW001'],
      [null, 'HW003'],
      [5, 'HW003'],
    ]) {
      expect(await sqlError(db.createQueue('living', { dead_letter_queue: name }))).toMatchObject({
        code,
      });
    }
    expect(await policyOf(db, 'living')).toMatchObject({ dead_letter_queue: 'graves' });
  });

  test('is altered only where the queue exists', async ({ db }) => {
    const error = await sqlError(db.rows(`select howdah.alter_queue('nobody', '{}')`));
    expect(error).toMatchObject({ code: 'HW001', hint: expect.stringContaining('create_queue') });
    const id = await db.createQueue('somebody');
    expect(await db.one(`select howdah.alter_queue('somebody', '{"ttl_ms": 5}')`)).toBe(id);
  });

  test('does not touch what an operator set', async ({ db }) => {
    await db.createQueue('held');
    await db.rows(`select howdah.pause_queue('held', 'incident 7')`);
    await db.createQueue('held', { max_attempts: 2 });
    expect(await db.stats('held')).toMatchObject({ paused: true, paused_reason: 'incident 7' });
  });
});
