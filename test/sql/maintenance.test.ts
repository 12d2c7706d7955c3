import { describe, expect } from 'vitest';
import { test } from '../support/sql-test.js';

const DAY_MS = 86_400_000;

describe('promote', () => {
  test('makes what is due ready, in order of its time, and tells when the next is', async ({
    db,
  }) => {
    await db.createQueue('due');
    const now = Date.now();
    const [third] = await db.enqueue('due', 1, { run_at: now + 30_000 });
    const [first] = await db.enqueue('due', 1, { run_at: now + 10_000, priority: 0 });
    const [second] = await db.enqueue('due', 1, { run_at: now + 20_000 });
    const idle = await db.promote();
    expect(idle).toMatchObject({ promoted: 0 });
    expect(Number(idle.next_ms)).toBeGreaterThan(0);
    expect(Number(idle.next_ms)).toBeLessThanOrEqual(10_000);
    await db.shiftClock(25_000);
    const { promoted, next_ms } = await db.promote();
    expect(promoted).toBe(2);
    expect(Number(next_ms)).toBeLessThanOrEqual(5_000);
    await db.shiftClock(31_000);
    expect(await db.promote()).toMatchObject({ promoted: 1, next_ms: null });
    const lease = await db.openLease();
    expect((await db.claim('due', lease, 9)).map(({ id }) => id)).toEqual([first, second, third]);
    await db.shiftClock(0);
    await db.expectTruth();
  });

  test('from its mark it forgets nothing, however many are due at one instant', async ({ db }) => {
    await db.createQueue('ties');
    await db.enqueue('ties', 25, { run_at: Date.now() + 60_000 });
    await db.shiftClock(61_000);
    let mark = '-infinity';
    const counts: unknown[] = [];
    for (let i = 0; i < 4; i += 1) {
      const found = await db.promote(10, mark);
      counts.push([found.promoted, found.next_ms]);
      mark = String(found.mark);
    }
    expect(counts).toEqual([
      [10, '0'],
      [10, '0'],
      [5, null],
      [0, null],
    ]);
    await db.shiftClock(0);
    await db.expectTruth();
  });
});

describe('reap', () => {
  test('gives back what a dead worker held, at the head, the attempt and the crash counted', async ({
    db,
  }) => {
    await db.createQueue('reap', { max_crashes: 2 });
    const [id] = await db.enqueue('reap', 2);
    const lease = await db.openLease('victim');
    await db.claimOne('reap', lease);
    expect(await db.reap()).toEqual({ leases: 0, requeued: 0, dead: 0 });
    await db.killLease(lease);
    expect(await db.reap()).toEqual({ leases: 1, requeued: 1, dead: 0 });
    const next = await db.openLease('next');
    const again = await db.claimOne('reap', next);
    expect(again).toMatchObject({
      id,
      attempt: 2,
      uncounted: 0,
      errors: [
        { name: 'LeaseExpired', message: 'worker victim stopped renewing its lease', attempt: 1 },
      ],
    });
    await db.killLease(next);
    expect(await db.reap()).toEqual({ leases: 1, requeued: 0, dead: 1 });
    expect(await db.job(again.id)).toMatchObject({
      state: 'dead',
      dead_reason: 'crashed its worker',
      crashes: 0,
    });
    await db.expectTruth();
  });

  test('buries who is out of attempts', async ({ db }) => {
    await db.createQueue('last', { max_attempts: 1 });
    const [id] = await db.enqueue('last');
    const lease = await db.openLease();
    await db.claimOne('last', lease);
    await db.killLease(lease);
    expect(await db.reap()).toMatchObject({ dead: 1 });
    expect(await db.job(String(id))).toMatchObject({ dead_reason: 'attempts exhausted' });
    await db.expectTruth();
  });

  test('is bounded, and goes on where it stopped', async ({ db }) => {
    await db.createQueue('piece');
    await db.enqueue('piece', 7);
    await db.enqueue('piece', 3, { priority: 9 });
    const lease = await db.openLease();
    await db.claim('piece', lease, 10);
    await db.killLease(lease);
    expect(await db.reap(4)).toEqual({ leases: 0, requeued: 4, dead: 0 });
    await db.expectTruth();
    expect(await db.reap(4)).toEqual({ leases: 0, requeued: 4, dead: 0 });
    expect(await db.reap(4)).toEqual({ leases: 1, requeued: 2, dead: 0 });
    expect(await db.stats('piece')).toMatchObject({ ready: '10', running: '0' });
    await db.expectTruth();
  });
});

describe('close_lease', () => {
  test('gives everything back, attempts and crashes uncounted', async ({ db }) => {
    await db.createQueue('close', { max_attempts: 1 });
    await db.enqueue('close', 3);
    const lease = await db.openLease();
    await db.claim('close', lease, 3);
    expect(await db.closeLease(lease)).toBe(3);
    expect(await db.closeLease(lease)).toBe(0);
    const next = await db.openLease();
    expect(await db.claim('close', next, 9)).toMatchObject(
      [1, 2, 3].map((payload) => ({ payload, attempt: 2, uncounted: 1, errors: null })),
    );
    await db.closeLease(next);
    await db.expectTruth();
  });

  test('refuses a snapshot that may be older than its last claim', async ({ pool, db }) => {
    await db.createQueue('snapshot');
    await db.enqueue('snapshot');
    const lease = await db.openLease();
    const client = await pool.connect();
    await client.query('begin isolation level repeatable read');
    await client.query('select 1 from howdah._jobs');
    await db.claimOne('snapshot', lease);
    await expect(client.query('select howdah.close_lease($1)', [lease])).rejects.toMatchObject({
      code: '25001',
    });
    await client.query('rollback');
    client.release();
    await db.expectTruth();
    expect(await db.closeLease(lease)).toBe(1);
  });
});

describe('find_orphans', () => {
  test('leaves jobs whose lease was lost to the reaper, a bounded walk at a time', async ({
    db,
  }) => {
    await db.createQueue('orphans');
    const [id] = await db.enqueue('orphans', 8);
    const [lost, alive] = [await db.openLease(), await db.openLease()];
    await db.claim('orphans', lost, 3);
    await db.claim('orphans', alive, 2);
    await db.rows('delete from howdah._lease_marks where lease_id = $1', [lost]);
    await db.rows('delete from howdah._leases where id = $1', [lost]);
    const walk = async (after: unknown) =>
      (await db.rows('select * from howdah.find_orphans($1, 5)', [after]))[0];
    const first = await walk(Number(id) - 1);
    expect(first).toMatchObject({ looked: 5, orphans: 3 });
    expect(await walk(first?.mark)).toEqual({ looked: 3, orphans: 0, mark: '0' });
    expect(await walk(Number(id) - 1)).toMatchObject({ orphans: 0 });
    expect(await db.reap()).toEqual({ leases: 1, requeued: 3, dead: 0 });
    expect(await db.stats('orphans')).toMatchObject({ ready: '6', running: '2' });
    await db.expectTruth();
    await db.closeLease(alive);
  });

  test('nothing waits for a lease that is not there', async ({ db }) => {
    await db.createQueue('orphan');
    const [id = ''] = await db.enqueue('orphan');
    const lease = await db.openLease();
    await db.claimOne('orphan', lease);
    await db.rows('delete from howdah._leases where id = $1', [lease]);
    expect(await db.cancel(id)).toEqual([{ id, outcome: 'requested' }]);
    await expect(
      db.rows(`select howdah.edit_job($1, '{"payload": 2}')`, [id]),
    ).rejects.toMatchObject({ code: 'HW181' });
    await db.rows('select howdah.find_orphans()');
    await db.reap();
    expect(await db.state(id)).toBe('cancelled');
    await db.rows('delete from howdah._lease_marks where lease_id = $1', [lease]);
  });
});

describe('return_strays', () => {
  test('gives back what the lease holds beyond what is known, attempts uncounted', async ({
    db,
  }) => {
    await db.createQueue('stray', { max_attempts: 1 });
    await db.enqueue('stray', 4);
    const [lease, other] = [await db.openLease(), await db.openLease()];
    const [known] = await db.claim('stray', lease, 3);
    await db.claim('stray', other, 1);
    expect(await db.returnStrays(lease, [known.id, '77'])).toBe(2);
    expect(await db.returnStrays(lease, [known.id])).toBe(0);
    expect(await db.stats('stray')).toMatchObject({ ready: '2', running: '2' });
    await db.expectTruth();
    expect(await db.claim('stray', lease, 9)).toMatchObject(
      [2, 3].map((payload) => ({ payload, attempt: 2, uncounted: 1, errors: null })),
    );
    await db.closeLease(lease);
    expect(await db.returnStrays(lease, [])).toBeNull();
  });

  test('also members of groups, heads and followers', async ({ db }) => {
    await db.createQueue('stray-group');
    const ids = await db.enqueue('stray-group', 3, { group: 'g' });
    const lease = await db.openLease();
    const turn = `select ids from howdah.claim_many('stray-group', $1, p_turn => 3)`;
    expect(await db.one(turn, [lease])).toBe(ids.join());
    expect(await db.returnStrays(lease, [])).toBe(3);
    await db.expectTruth();
    expect(await db.one(turn, [lease])).toBe(ids.join());
    await db.expectTruth();
  });
});

describe('expire', () => {
  test('records the waiting whose TTL has ended, ready or scheduled, and no others', async ({
    db,
  }) => {
    await db.createQueue('ttl', { ttl_ms: 60_000 });
    const [ready, running, retried] = await db.enqueue('ttl', 3);
    const [later] = await db.enqueue('ttl', 1, { delay_ms: 30_000 });
    const [longer] = await db.enqueue('ttl', 1, { ttl_ms: 3_600_000 });
    await db.rows(`update howdah._jobs set expires_at = null where id = any($1)`, [[retried]]);
    const lease = await db.openLease('w', 43_200_000);
    await db.rows(`update howdah._jobs set lane = 200 where id = $1`, [running]);
    expect((await db.claimOne('ttl', lease)).id).toBe(running);
    expect(await db.one('select howdah.expire()')).toBe(0);
    await db.shiftClock(61_000);
    expect(await db.one('select howdah.expire()')).toBe(1);
    await db.shiftClock(91_000);
    expect(await db.one('select howdah.expire(1)')).toBe(1);
    expect(
      await Promise.all([ready, later, running, retried, longer].map((id) => db.state(String(id)))),
    ).toEqual(['expired', 'expired', 'running', 'ready', 'ready']);
    await db.shiftClock(0);
    await db.expectTruth();
  });
});

describe('roll_up', () => {
  test('folds what was counted, in pieces, without changing a sum', async ({ db }) => {
    await db.createQueue('fold');
    for (let i = 0; i < 5; i += 1) await db.enqueue('fold', i + 1);
    const before = await db.stats('fold');
    const [row] = await db.rows('select * from howdah.roll_up(2)');
    expect(row).toMatchObject({ rolled: 2 });
    expect(await db.stats('fold')).toMatchObject({ ready: before.ready, enqueued: '15' });
    await db.rows('select * from howdah.roll_up(100000, 0)');
    expect(await db.one('select count(*)::int from howdah._counter_deltas')).toBe(0);
    expect(await db.rows('select * from howdah.roll_up()')).toMatchObject([{ rolled: 0 }]);
    expect(await db.stats('fold')).toMatchObject({ ready: '15', enqueued: '15' });
    await db.expectTruth();
  });
});

describe('prune', () => {
  const partitions = `select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'howdah._history'::regclass and c.relname <> '_history_default' order by 1`;
  const prune = 'select * from howdah.prune()';

  test('keeps four days of partitions ahead; a second call does nothing', async ({ db }) => {
    expect(await db.rows(prune)).toMatchObject([{ created: 0, dropped: 0, problems: null }]);
    expect(await db.rows(partitions)).toHaveLength(4);
    await db.shiftClock(DAY_MS);
    expect(await db.rows(prune)).toMatchObject([{ created: 1, dropped: 0, problems: null }]);
    await db.shiftClock(0);
  });

  test('moves what was finished while the partition of its day was missing', async ({ db }) => {
    await db.createQueue('missing', { retention_ms: 30 * DAY_MS });
    await db.shiftClock(20 * DAY_MS);
    const ids = await db.enqueue('missing', 3);
    const lease = await db.openLease();
    await db.complete(lease, await db.claim('missing', lease, 3));
    const count = (table: string) =>
      db.one(`select count(*)::int from howdah.${table} where id = any($1)`, [ids]);
    expect(await count('_history_default')).toBe(3);
    expect(await db.rows(prune)).toMatchObject([{ created: 4 }]);
    expect([await count('_history_default'), await count('_history')]).toEqual([0, 3]);
    await db.shiftClock(0);
    await db.expectTruth();
  });

  test('drops a day when the longest retention has passed, and not while it is read', async ({
    pool,
    db,
  }) => {
    await db.createQueue('missing', { retention_ms: 10 * DAY_MS });
    const before = await db.rows<{ relname: string }>(partitions);
    const oldest = String(before[0]?.relname);
    await db.shiftClock(10 * DAY_MS);
    expect(await db.rows(prune)).toMatchObject([{ dropped: 0 }]);
    await db.shiftClock(11 * DAY_MS + 60_000);
    const reader = await pool.connect();
    await reader.query('begin');
    await reader.query(`select * from howdah.${oldest}`);
    expect(await db.rows(prune)).toMatchObject([{ dropped: 0 }]);
    await reader.query('commit');
    reader.release();
    expect(await db.rows(prune)).toMatchObject([{ dropped: 1 }]);
    expect(
      (await db.rows<{ relname: string }>(partitions)).map(({ relname }) => relname),
    ).not.toContain(oldest);
    await db.shiftClock(0);
  });

  test('waits no longer than 100 ms for who uses the default partition, and makes the days later', async ({
    pool,
    db,
  }) => {
    await db.shiftClock(40 * DAY_MS);
    const reader = await pool.connect();
    await reader.query('begin');
    await reader.query('select * from howdah._history_default');
    const create = "select howdah._create_partition((howdah.clock() at time zone 'UTC')::date)";
    await expect(db.rows(create)).rejects.toMatchObject({ code: '55P03' });
    expect(await db.rows(prune)).toMatchObject([{ created: 0, problems: null }]);
    await reader.query('commit');
    reader.release();
    expect(await db.rows(prune)).toMatchObject([{ created: 4, problems: null }]);
    await db.shiftClock(0);
  });
});
