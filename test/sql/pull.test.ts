import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

interface Received {
  readonly lease_id: string;
  readonly id: string;
  readonly attempt: number;
  readonly payload: unknown;
  readonly errors: readonly { name: string }[] | null;
  readonly visible_at: Date;
}

let queues = 0;

async function newQueue(db: Engine, policy: object = {}): Promise<string> {
  queues += 1;
  await db.createQueue(`pull-${queues}`, policy);
  return `pull-${queues}`;
}

const receive = (db: Engine, queue: string, max = 1, visibilityMs = 30_000) =>
  db.rows<Received>('select * from howdah.receive($1, $2, $3)', [queue, max, visibilityMs]);

const receiveOne = async (db: Engine, queue: string): Promise<Received> => {
  const [job] = await receive(db, queue);
  if (!job) throw new Error('nothing was received');
  return job;
};

const complete = (db: Engine, { lease_id, id, attempt }: Received) =>
  db.one('select howdah.complete($1, $2, $3)', [lease_id, id, attempt]);

const extend = async (db: Engine, { lease_id, id, attempt }: Received, ms: number) => {
  const [row] = await db.rows<{ lease_id: string; visible_at: Date }>(
    'select * from howdah.extend_job($1, $2, $3, $4)',
    [lease_id, id, attempt, ms],
  );
  if (!row) throw new Error('nothing was extended');
  return row;
};

const leases = (db: Engine) => db.one<number>('select count(*)::int from howdah._leases');
const traces = (db: Engine) =>
  db.one<number>(`select (select count(*) from howdah._leases where held is not null)::int
    + (select count(*) from howdah._lease_marks m
      where not exists (select from howdah._leases l where l.id = m.lease_id))::int`);

describe('receive', () => {
  test('takes jobs in order under one lease, which goes with the last of them', async ({ db }) => {
    const queue = await newQueue(db);
    const ids = await db.enqueue(queue, 3);
    const jobs = await receive(db, queue, 2);
    expect(jobs.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    expect(jobs[0]).toMatchObject({ attempt: 1, payload: 1 });
    expect(new Set(jobs.map(({ lease_id }) => lease_id)).size).toBe(1);
    expect(await db.state(String(ids[0]))).toBe('running');
    await db.expectTruth();
    for (const job of jobs) expect(await complete(db, job)).toBe('completed');
    expect(await traces(db)).toBe(0);
    await db.expectTruth();
  });

  test('nothing else is claimed under its lease, which would go without it', async ({ db }) => {
    await db.createQueue('mixed');
    await db.enqueue('mixed', 2);
    const [job] = await db.rows<{ lease_id: string }>("select * from howdah.receive('mixed')");
    expect(await sqlError(db.claim('mixed', String(job?.lease_id)))).toMatchObject({
      code: 'HW023',
    });
    await db.closeLease(String(job?.lease_id));
  });

  test('writes nothing when nothing is ready, or the queue is paused', async ({ db }) => {
    const queue = await newQueue(db);
    const before = await leases(db);
    expect(await receive(db, queue)).toEqual([]);
    await db.enqueue(queue);
    await db.rows('select howdah.pause_queue($1)', [queue]);
    expect(await receive(db, queue)).toEqual([]);
    expect(await leases(db)).toBe(before);
    expect(await db.one('select count(*)::int from howdah._lease_marks')).toBe(0);
  });

  test('refuses a number or a visibility out of bounds, and an unknown queue', async ({ db }) => {
    const queue = await newQueue(db);
    for (const max of [0, -1, 1001]) {
      expect(await sqlError(receive(db, queue, max))).toMatchObject({ code: 'HW070' });
    }
    for (const ms of [-1, 99, 13 * 3_600_000]) {
      expect(await sqlError(receive(db, queue, 1, ms))).toMatchObject({ code: 'HW023' });
    }
    expect(await sqlError(receive(db, 'nowhere'))).toMatchObject({ code: 'HW001' });
  });

  test('a job beyond its waiting TTL is recorded as expired, not given out', async ({ db }) => {
    const queue = await newQueue(db);
    const [late] = await db.enqueue(queue, 1, { ttl_ms: 1 });
    await db.rows('select pg_sleep(0.005)');
    expect(await receive(db, queue)).toEqual([]);
    expect(await db.state(String(late))).toBe('expired');
    expect(await traces(db)).toBe(0);
  });

  test('a member of a group that is settled lets the next one in', async ({ db }) => {
    const queue = await newQueue(db);
    const ids = await db.enqueue(queue, 3, { group: 'a' });
    const first = await receiveOne(db, queue);
    expect(first.id).toBe(ids[0]);
    expect(await receive(db, queue)).toEqual([]);
    await db.rows('select * from howdah.settle_received($1::text::jsonb)', [
      JSON.stringify([
        { lease: first.lease_id, id: first.id, attempt: first.attempt, outcome: 'complete' },
      ]),
    ]);
    await db.expectTruth();
    const second = await receiveOne(db, queue);
    expect(second.id).toBe(ids[1]);
    await complete(db, second);
    await db.expectTruth();
    const third = await receiveOne(db, queue);
    expect(third.id).toBe(ids[2]);
    await complete(db, third);
  });

  test('a queue with limits is pulled within them; a pause that has ended is over', async ({
    db,
  }) => {
    const queue = await newQueue(db, { concurrency_max: 2 });
    await db.enqueue(queue, 3);
    await db.rows(`select howdah.pause_queue($1, null, howdah.clock() + interval '1 hour')`, [
      queue,
    ]);
    expect(await receive(db, queue, 10)).toEqual([]);
    await db.rows(
      `update howdah._queues set paused_until = howdah.clock() - interval '1 ms' where name = $1`,
      [queue],
    );
    const held = await receive(db, queue, 10);
    expect(held).toHaveLength(2);
    expect(await receive(db, queue, 10)).toEqual([]);
    await complete(db, held[0] as Received);
    const more = await receive(db, queue, 10);
    expect(more).toHaveLength(1);
    await db.expectTruth();
    for (const job of [...held.slice(1), ...more]) await complete(db, job);
    await db.expectTruth();
  });

  test('with cursors takes what is behind none of them', async ({ db }) => {
    const queue = await newQueue(db);
    const ids = await db.enqueue(queue, 2);
    const rows = await db.rows<Received>('select * from howdah.receive($1, 10, 30000, $2, $3)', [
      queue,
      [201],
      [ids[0]],
    ]);
    expect(rows.map(({ id }) => id)).toEqual(ids.slice(1));
    await db.expectTruth();
    for (const job of rows) await complete(db, job);
  });
});

describe('visibility', () => {
  test('is what the queue says where the call names none', async ({ db }) => {
    const queue = await newQueue(db, { visibility_ms: 300_000 });
    await db.enqueue(queue, 2, { group: 'g' });
    const [job] = await db.rows<Received & { visible_at: Date; group_key: string }>(
      'select * from howdah.receive($1)',
      [queue],
    );
    const now = await db.one<Date>('select howdah.clock()');
    expect(Number(job?.visible_at) - Number(now)).toBeGreaterThan(290_000);
    expect(job?.group_key).toBe('g');
    await db.closeLease(String(job?.lease_id));
  });

  test('a job that is not settled in time runs again: its attempt counts, no crash does', async ({
    db,
  }) => {
    const queue = await newQueue(db);
    const [id] = await db.enqueue(queue, 1);
    const first = await receiveOne(db, queue);
    await db.killLease(first.lease_id);
    expect(await db.reap()).toMatchObject({ requeued: 1 });
    expect(await db.job(String(id))).toMatchObject({ state: 'ready', crashes: 0 });
    expect(await sqlError(complete(db, first))).toMatchObject({ code: 'HW021' });
    const again = await receiveOne(db, queue);
    expect(again).toMatchObject({ id, attempt: 2, errors: [{ name: 'VisibilityEnded' }] });
    await complete(db, again);
    await db.expectTruth();
  });

  test('out of attempts it is dead', async ({ db }) => {
    const queue = await newQueue(db, { max_attempts: 1 });
    const [id] = await db.enqueue(queue, 1);
    await db.killLease((await receiveOne(db, queue)).lease_id);
    expect(await db.reap()).toMatchObject({ dead: 1 });
    expect(await db.state(String(id))).toBe('dead');
  });

  test('one job of several is extended under a lease of its own', async ({ db }) => {
    const queue = await newQueue(db);
    await db.enqueue(queue, 2);
    const [a, b] = (await receive(db, queue, 2)) as [Received, Received];
    const longer = await extend(db, a, 3_600_000);
    expect(longer.lease_id).not.toBe(a.lease_id);
    expect(longer.visible_at.getTime() - b.visible_at.getTime()).toBeGreaterThan(3_500_000);
    // the old pair is fenced out, the other job is as it was
    expect(await sqlError(complete(db, a))).toMatchObject({ code: 'HW021' });
    await db.killLease(b.lease_id);
    expect(await db.reap()).toMatchObject({ requeued: 1 });
    expect(await db.state(a.id)).toBe('running');
    expect(await db.state(b.id)).toBe('ready');
    await db.expectTruth();
    // alone under its lease it stays there
    const again = await extend(db, { ...a, ...longer }, 1_000);
    expect(again.lease_id).toBe(longer.lease_id);
    expect(again.visible_at < longer.visible_at).toBe(true);
    expect(await complete(db, { ...a, ...again })).toBe('completed');
    await db.expectTruth();
  });

  test('extending is refused when the lease has ended, the job is settled or the time is out of bounds', async ({
    db,
  }) => {
    const queue = await newQueue(db);
    await db.enqueue(queue, 3);
    const [a, b, c] = (await receive(db, queue, 3)) as [Received, Received, Received];
    for (const ms of [-1, 0, 13 * 3_600_000]) {
      expect(await sqlError(extend(db, a, ms))).toMatchObject({ code: 'HW023' });
    }
    await complete(db, a);
    expect(await sqlError(extend(db, a, 1_000))).toMatchObject({ code: 'HW021' });
    await db.killLease(b.lease_id);
    expect(await sqlError(extend(db, b, 1_000))).toMatchObject({ code: 'HW020' });
    // the reaper has not come yet: what is finished meanwhile still counts
    expect(await complete(db, c)).toBe('completed');
    await db.reap();
    expect(await sqlError(extend(db, b, 1_000))).toMatchObject({ code: 'HW020' });
    expect(await traces(db)).toBe(0);
  });
});

describe('settle_received', () => {
  const settle = (db: Engine, asks: unknown) =>
    db.rows('select * from howdah.settle_received($1::text::jsonb)', [JSON.stringify(asks)]);
  const ask = ({ lease_id, id, attempt }: Received, outcome: string, more: object = {}) => ({
    lease: lease_id,
    id,
    attempt,
    outcome,
    ...more,
  });

  test('settles jobs of several leases and drops the leases that hold nothing', async ({ db }) => {
    const queue = await newQueue(db, { backoff_ms: 60_000 });
    await db.enqueue(queue, 5);
    const [a, b] = (await receive(db, queue, 2)) as [Received, Received];
    const [c, d, e] = (await receive(db, queue, 3)) as [Received, Received, Received];
    const rows = await settle(db, [
      ask(d, 'fail', { error: { message: 'no' } }),
      ask(a, 'complete', { result: { ok: true } }),
      ask(b, 'release'),
      ask(c, 'dead_letter', { reason: 'why' }),
      ask({ ...e, attempt: 7 }, 'complete'),
    ]);
    expect(rows).toMatchObject(
      [
        { ordinal: 1, id: d.id, outcome: 'scheduled' },
        { ordinal: 2, id: a.id, outcome: 'completed' },
        { ordinal: 3, id: b.id, outcome: 'ready' },
        { ordinal: 4, id: c.id, outcome: 'dead' },
        { ordinal: 5, id: e.id, outcome: 'stale' },
      ].sort((x, y) => Number(x.id) - Number(y.id)),
    );
    expect(await db.rows('select id, held from howdah._leases where held is not null')).toEqual([
      { id: c.lease_id, held: 1 },
    ]);
    await settle(db, ask(e, 'snooze', { delay_ms: 5 }));
    expect(await traces(db)).toBe(0);
    await db.expectTruth();
  });

  test('refuses what is malformed', async ({ db }) => {
    for (const bad of [null, 'x', [{ id: 1 }], [{ lease: 'x', id: 1, attempt: 1 }]]) {
      expect(await sqlError(settle(db, bad))).toMatchObject({ code: 'HW022' });
    }
  });
});

test('a consumer that closes its lease gives everything back uncounted', async ({ db }) => {
  const queue = await newQueue(db);
  await db.enqueue(queue, 3);
  const [job] = await receive(db, queue, 3);
  expect(await db.closeLease(String(job?.lease_id))).toBe(3);
  expect(await receive(db, queue)).toMatchObject([{ attempt: 2, uncounted: 1 }]);
  await db.expectTruth();
});

test('the worker view does not list pull leases', async ({ db }) => {
  const queue = await newQueue(db);
  await db.enqueue(queue, 1);
  const job = await receiveOne(db, queue);
  expect(await db.rows('select * from howdah.workers where lease_id = $1', [job.lease_id])).toEqual(
    [],
  );
  expect(await db.job(job.id)).toMatchObject({ worker: 'pull' });
});
