import { describe, expect } from 'vitest';
import { type ClaimedRow, type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

let queues = 0;

/** A running job of a new queue. */
async function running(
  db: Engine,
  policy: object = {},
  options: object = {},
): Promise<{ queue: string; lease: string; job: ClaimedRow }> {
  queues += 1;
  const queue = `settle-${queues}`;
  await db.createQueue(queue, { backoff: 'fixed', backoff_ms: 1000, backoff_jitter: 0, ...policy });
  await db.enqueue(queue, 1, options);
  const lease = await db.openLease('ann');
  return { queue, lease, job: await db.claimOne(queue, lease) };
}

const historyOf = async (db: Engine, id: string): Promise<Record<string, unknown>> => {
  const [row] = await db.rows('select * from howdah.history where id = $1', [id]);
  return row ?? {};
};

describe('complete', () => {
  test('moves many to history at once, with their results', async ({ db }) => {
    await db.createQueue('bulk');
    await db.enqueue('bulk', 3);
    const lease = await db.openLease('bob');
    const jobs = await db.claim('bulk', lease, 3);
    const [one, two] = jobs as [ClaimedRow, ClaimedRow];
    const stale = await db.rows(
      'select howdah.complete_many($1::bigint, $2::bigint[], $3::integer[], $4) as id',
      [
        lease,
        [...jobs.map(({ id }) => id), '999999999', one.id],
        [1, 1, 1, 1, 2],
        JSON.stringify({ [one.id]: { ok: true }, [two.id]: null }),
      ],
    );
    expect(stale.map(({ id }) => id).sort()).toEqual(['999999999', one.id].sort());
    expect(await historyOf(db, one.id)).toMatchObject({
      queue: 'bulk',
      state: 'completed',
      attempt: 1,
      worker: 'bob',
      payload: 1,
      result: { ok: true },
      reason: null,
    });
    expect(await historyOf(db, two.id)).toMatchObject({ result: null });
    expect(await db.stats('bulk')).toMatchObject({ running: '0', completed: '3' });
    await db.expectTruth();
  });

  test('keeps no history where the retention is 0', async ({ db }) => {
    const { queue, lease, job } = await running(db, { retention_ms: 0 });
    expect(await db.complete(lease, [job])).toEqual([]);
    expect(await db.state(job.id)).toBeUndefined();
    await db.enqueue(queue, 2);
    expect(await db.end(lease, await db.claimOne(queue, lease), 'complete')).toBe('completed');
    // what did not succeed is told all the same
    const other = await db.claimOne(queue, lease);
    expect(await db.end(lease, other, 'cancel', { reason: 'enough' })).toBe('cancelled');
    expect(await historyOf(db, other.id)).toMatchObject({ state: 'cancelled', reason: 'enough' });
    expect(await db.stats(queue)).toMatchObject({ completed: '2', cancelled: '1', running: '0' });
    await db.expectTruth();
  });

  test('takes nothing, and null, for nothing', async ({ db }) => {
    const { lease } = await running(db);
    expect(await db.complete(lease, [])).toEqual([]);
    expect(
      await db.rows('select howdah.complete_many($1::bigint, null::bigint[], null::int[])', [
        lease,
      ]),
    ).toEqual([]);
  });

  test('for one job: a null result is none', async ({ db }) => {
    const { lease, job } = await running(db);
    await db.rows('select howdah.complete($1::bigint, $2::bigint, $3::integer)', [
      lease,
      job.id,
      job.attempt,
    ]);
    expect(await historyOf(db, job.id)).toMatchObject({ state: 'completed', result: null });
    expect(await db.one('select result is null from howdah._history where id = $1', [job.id])).toBe(
      true,
    );
  });
});

describe('fail', () => {
  test('retries with the backoff of the queue, then the job is dead', async ({ db }) => {
    const { queue, lease, job } = await running(db, { max_attempts: 2 });
    const [row] = await db.settle(lease, {
      id: job.id,
      attempt: job.attempt,
      outcome: 'fail',
      error: { name: 'E', message: 'no' },
    });
    expect(row).toMatchObject({ outcome: 'scheduled' });
    const wait = (row?.run_at?.getTime() ?? 0) - Date.now();
    expect(wait).toBeGreaterThan(500);
    expect(wait).toBeLessThanOrEqual(1000);
    expect(await db.job(job.id)).toMatchObject({
      state: 'scheduled',
      attempt: 1,
      last_error: 'no',
    });
    await db.rows('select howdah.run_now($1)', [[job.id]]);
    const again = await db.claimOne(queue, lease);
    expect(again).toMatchObject({ attempt: 2, errors: [{ name: 'E', message: 'no', attempt: 1 }] });
    expect(await db.end(lease, again, 'fail', { error: 'plain text' })).toBe('dead');
    expect(await db.job(job.id)).toMatchObject({
      state: 'dead',
      queue: 'dead-letters',
      origin_queue: queue,
      dead_reason: 'attempts exhausted',
      errors: [{ message: 'no' }, { message: 'plain text', attempt: 2 }],
    });
    await db.expectTruth();
  });

  test('the delay may be given: 0 is at once, at the tail', async ({ db }) => {
    const { queue, lease, job } = await running(db);
    const [other] = await db.enqueue(queue);
    expect(await db.end(lease, job, 'fail', { delay_ms: 0 })).toBe('ready');
    expect((await db.claim(queue, lease, 2)).map(({ id }) => id)).toEqual([other, job.id]);
  });

  test.for(['later', null, {}, -5, 1e300, true])(
    'a delay of %j is met with a defined one',
    async (delay_ms, { db }) => {
      const { lease, job } = await running(db);
      expect(await db.end(lease, job, 'fail', { delay_ms })).toMatch(/ready|scheduled/);
      await db.expectTruth();
    },
  );

  test('a delay beyond every number does not hold the job', async ({ db }) => {
    const { lease, job } = await running(db);
    const ask = `[{"id": ${job.id}, "attempt": 1, "outcome": "fail", "delay_ms": 1e400}]`;
    expect(await db.rows('select outcome from howdah.settle($1, $2)', [lease, ask])).toEqual([
      { outcome: 'scheduled' },
    ]);
  });

  test('exponential backoff doubles up to its bound, jitter included', async ({ db }) => {
    await db.createQueue('backoff', { backoff_ms: 100, backoff_max_ms: 1000, backoff_jitter: 0 });
    const delays = (jitter: number) =>
      db.rows<{ ms: number }>(
        `select howdah._backoff_ms(q, n) as ms from howdah._queues q, unnest('{0,1,2,3,4,5,50,1000}'::int[]) n
         where name = 'backoff' and (q.backoff_jitter = $1 or true)`,
        [jitter],
      );
    expect((await delays(0)).map(({ ms }) => ms)).toEqual([
      100, 100, 200, 400, 800, 1000, 1000, 1000,
    ]);
    await db.createQueue('backoff', { backoff_jitter: 0.5 });
    for (const { ms } of await delays(0.5)) {
      expect(ms).toBeGreaterThanOrEqual(50);
      expect(ms).toBeLessThanOrEqual(1500);
    }
  });

  test('keeps the last 100 errors', async ({ db }) => {
    const { queue, lease, job } = await running(db, { max_attempts: 1000 });
    await db.rows(
      `update howdah._jobs set errors = (select jsonb_agg(jsonb_build_object('message', i::text))
         from generate_series(1, 100) i) where id = $1`,
      [job.id],
    );
    await db.end(lease, job, 'fail', { delay_ms: 0, error: { message: 'last' } });
    const { errors } = await db.claimOne(queue, lease);
    expect(errors).toHaveLength(100);
    expect([errors?.[0]?.message, errors?.at(-1)?.message]).toEqual(['2', 'last']);
  });

  test.for([null, 1, [], 'x', { attempt: 99, at: 'never', message: 'kept' }])(
    'an error %j is kept in a form of its own',
    async (error, { db }) => {
      const { lease, job } = await running(db);
      await db.end(lease, job, 'fail', { error });
      const { errors } = await db.job(job.id);
      expect(errors).toEqual([
        expect.objectContaining({
          message: expect.any(String),
          attempt: 1,
          at: expect.stringMatching(/^\d{4}-.*Z$/),
        }),
      ]);
    },
  );
});

describe('other outcomes', () => {
  test('snooze: later, the attempt is not counted', async ({ db }) => {
    const { queue, lease, job } = await running(db, { max_attempts: 1 });
    expect(await db.one('select howdah.snooze($1, $2, $3, 60000)', [lease, job.id, 1])).toBe(
      'scheduled',
    );
    expect(await db.job(job.id)).toMatchObject({ state: 'scheduled', attempt: 0 });
    await db.rows('select howdah.run_now($1)', [[job.id]]);
    expect(await db.claimOne(queue, lease)).toMatchObject({ attempt: 2, uncounted: 1 });
    await db.expectTruth();
  });

  test('release: back to the head of its priority, the attempt is not counted', async ({ db }) => {
    const { queue, lease, job } = await running(db, {}, { priority: 5 });
    await db.enqueue(queue, 2, { priority: 5 });
    const [high] = await db.enqueue(queue, 1, { priority: 6 });
    expect(await db.one('select howdah.release($1, $2, $3)', [lease, job.id, 1])).toBe('ready');
    const claimed = await db.claim(queue, lease, 2);
    expect(claimed.map(({ id }) => id)).toEqual([high, job.id]);
    expect(claimed[1]).toMatchObject({ attempt: 2, uncounted: 1 });
    // the fence has moved on although the lease is the same
    expect(await db.end(lease, job, 'complete')).toBe('stale');
    expect(await db.complete(lease, [job])).toEqual([job.id]);
    await db.expectTruth();
  });

  test('dead_letter, cancel and expire end the job, each with its reason', async ({ db }) => {
    const dead = await running(db);
    expect(
      await db.end(dead.lease, dead.job, 'dead_letter', {
        reason: 'bad data',
        error: { message: 'x' },
      }),
    ).toBe('dead');
    expect(await db.job(dead.job.id)).toMatchObject({
      state: 'dead',
      dead_reason: 'bad data',
      last_error: 'x',
    });
    for (const [outcome, state] of [
      ['cancel', 'cancelled'],
      ['expire', 'expired'],
    ] as const) {
      const { lease, job, queue } = await running(db);
      expect(await db.end(lease, job, outcome, { reason: 'r'.repeat(600) })).toBe(state);
      expect(await historyOf(db, job.id)).toMatchObject({ state, reason: 'r'.repeat(500) });
      expect(await db.stats(queue)).toMatchObject({ [state]: '1', running: '0' });
    }
    await db.expectTruth();
  });

  test('several jobs, several outcomes, one call', async ({ db }) => {
    await db.createQueue('several');
    await db.enqueue('several', 4);
    const lease = await db.openLease();
    const jobs = await db.claim('several', lease, 4);
    const outcomes = ['complete', 'fail', 'release', 'snooze'];
    const rows = await db.settle(
      lease,
      ...jobs.map(({ id, attempt }, i) => ({ id, attempt, outcome: outcomes[i] })),
    );
    expect(rows.map(({ outcome }) => outcome)).toEqual([
      'completed',
      'scheduled',
      'ready',
      'scheduled',
    ]);
    expect(rows.map(({ id }) => id)).toEqual(jobs.map(({ id }) => id));
    await db.expectTruth();
  });
});

describe('a cancel request', () => {
  test.for(['fail', 'snooze', 'release'])(
    'holds when the attempt ends with %s',
    async (outcome, { db }) => {
      const { queue, lease, job } = await running(db);
      expect(await db.cancel(job.id)).toEqual([{ id: job.id, outcome: 'requested' }]);
      expect(await db.end(lease, job, outcome, { error: { message: 'late' } })).toBe('cancelled');
      expect(await historyOf(db, job.id)).toMatchObject({
        state: 'cancelled',
        last_error: outcome === 'fail' ? 'late' : null,
      });
      expect(await db.stats(queue)).toMatchObject({ running: '0', ready: '0', cancelled: '1' });
      await db.expectTruth();
    },
  );

  test('comes too late for a success', async ({ db }) => {
    const { lease, job } = await running(db);
    await db.cancel(job.id);
    expect(await db.complete(lease, [job])).toEqual([]);
    expect(await db.state(job.id)).toBe('completed');
    expect(await db.cancel(job.id)).toEqual([{ id: job.id, outcome: 'finished' }]);
  });
});

describe('the fence', () => {
  const OUTCOMES = ['complete', 'fail', 'snooze', 'release', 'dead_letter', 'cancel', 'expire'];

  test.for(OUTCOMES)(
    '%s of another lease, attempt or job changes nothing',
    async (outcome, { db }) => {
      const { lease, job } = await running(db);
      const other = await db.openLease();
      const before = await db.rows('select * from howdah._jobs where id = $1', [job.id]);
      expect(await db.end(other, job, outcome)).toBe('stale');
      for (const attempt of [0, 2, -1, null]) {
        expect(await db.settle(lease, { id: job.id, attempt, outcome })).toMatchObject([
          { outcome: 'stale' },
        ]);
      }
      expect(await db.settle(lease, { id: 99999999, attempt: 1, outcome })).toMatchObject([
        { outcome: 'stale' },
      ]);
      expect(await db.rows('select * from howdah._jobs where id = $1', [job.id])).toEqual(before);
      expect(await db.end(lease, job, outcome)).not.toBe('stale');
      expect(await db.end(lease, job, outcome)).toBe('stale');
      await db.expectTruth();
    },
  );

  test.for([
    'complete($1::bigint, $2::bigint, 9)',
    `fail($1, $2, 9)`,
    'snooze($1, $2, 9, 0)',
    'release($1, $2, 9)',
  ])('%s raises for one stale job', async (call, { db }) => {
    const { lease, job } = await running(db);
    const error = await sqlError(db.rows(`select howdah.${call}`, [lease, job.id]));
    expect(error).toMatchObject({ code: 'HW021', hint: expect.stringContaining('drop the work') });
  });
});

describe('bad input', () => {
  test.for(['completed', '', null, 1, {}])('outcome %j', async (outcome, { db }) => {
    const { lease, job } = await running(db);
    expect(await sqlError(db.settle(lease, { id: job.id, attempt: 1, outcome }))).toMatchObject({
      code: 'HW022',
      hint: expect.stringContaining('dead_letter'),
    });
    expect(await db.state(job.id)).toBe('running');
  });

  test.for([
    '1',
    '"x"',
    'null',
    null,
    '[1]',
    '["x"]',
    '[null]',
    '[[]]',
    '[{"id": "x", "attempt": 1, "outcome": "complete"}]',
    '[{"id": 1, "attempt": "x", "outcome": "complete"}]',
    '[{"id": 1.5, "attempt": 1, "outcome": "complete"}]',
    '[{"id": 1e30, "attempt": 1, "outcome": "complete"}]',
    '[{"id": {}, "attempt": 1, "outcome": "complete"}]',
  ])('jobs %s', async (jobs, { db }) => {
    const lease = await db.openLease();
    expect(
      await sqlError(db.rows('select * from howdah.settle($1, $2)', [lease, jobs])),
    ).toMatchObject({
      code: 'HW022',
      hint: expect.any(String),
    });
  });
});
