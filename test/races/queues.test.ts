import { describe, expect } from 'vitest';
import { test } from '../support/sessions.js';

describe('queues', () => {
  test('two create_queue at once give one queue, with both policies', async ({ db, a, b }) => {
    await a.begin();
    const id = await a.createQueue('twins', { max_attempts: 3 });
    const [second] = await b.blocks((session) => session.createQueue('twins', { ttl_ms: 5000 }));
    await a.commit();
    expect(await second).toBe(id);
    expect(
      await db.rows(`select max_attempts, ttl_ms from howdah.queue_policies where queue = 'twins'`),
    ).toEqual([{ max_attempts: 3, ttl_ms: '5000' }]);
  });

  test('the first rolls back: the second creates it', async ({ db, a, b }) => {
    await a.begin();
    await a.createQueue('rolled');
    const [second] = await b.blocks((session) => session.createQueue('rolled'));
    await a.rollback();
    expect(await second).toBeGreaterThan(0);
    expect(await db.enqueue('rolled')).toHaveLength(1);
  });

  test('eight at once', async ({ db }) => {
    const ids = await Promise.all(
      Array.from({ length: 8 }, () => db.createQueue('octet', { max_attempts: 4 })),
    );
    expect(new Set(ids).size).toBe(1);
  });

  test('two that change other keys at once: both changes are there', async ({ db, a, b }) => {
    await db.createQueue('deploys');
    await a.begin();
    await a.createQueue('deploys', { max_attempts: 5, concurrency_max: 3, max_depth: 7 });
    const [second] = await b.blocks((session) =>
      session.createQueue('deploys', { timeout_ms: 1000, dead_letter_queue: 'dead-letters' }),
    );
    await a.commit();
    await second;
    expect(
      await db.rows(`select max_attempts, concurrency_max, max_depth, timeout_ms, is_watched
        from howdah._queues where name = 'deploys'`),
    ).toEqual([
      { max_attempts: 5, concurrency_max: 3, max_depth: 7, timeout_ms: 1000, is_watched: true },
    ]);
  });

  test('a declaration that changes nothing waits for nobody', async ({ db, a, b }) => {
    await db.createQueue('declared', { max_attempts: 5 });
    await a.begin();
    await a.rows(`select howdah.pause_queue('declared')`);
    await b.createQueue('declared', { max_attempts: 5 });
    await a.rollback();
  });

  test('new priorities at once: nobody waits, no lane is lost', async ({ db, a, b }) => {
    await db.createQueue('lanes');
    await a.begin();
    await a.enqueue('lanes', 1, { priority: 5 });
    await b.enqueue('lanes', 1, { priority: 6 });
    await b.enqueue('lanes', 1, { priority: 5 });
    const lease = await db.openLease();
    expect(await db.claim('lanes', lease, 9)).toHaveLength(2);
    await a.commit();
    expect(await db.claim('lanes', lease, 9)).toHaveLength(1);
    await db.expectTruth();
  });

  test('an open transaction that uses a priority first stops nothing else', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('mine', { max_attempts: 1 });
    await db.createQueue('other');
    await db.enqueue('mine', 4);
    await db.enqueue('other', 1);
    const [dead, lease] = [await db.openLease('dead'), await db.openLease()];
    await db.claimOne('mine', dead);
    await db.claimOne('other', dead);
    const [released, failed] = await db.claim('mine', lease, 2);
    const [buried] = await db.claim('mine', lease, 1);
    if (!released || !failed || !buried) throw new Error('four were enqueued');
    await a.begin();
    await a.enqueue('mine', 1, { priority: 5 });
    await a.enqueue('dead-letters', 1, { priority: 5 });
    await b.rows(`set lock_timeout = '2s'`);
    // its lane at the head, its lane among the dead, and back
    expect(await b.end(lease, released, 'release')).toBe('ready');
    expect(await b.end(lease, failed, 'fail')).toBe('dead');
    expect(await b.end(lease, buried, 'dead_letter')).toBe('dead');
    expect(await b.rows('select * from howdah.redrive()')).toHaveLength(2);
    await db.killLease(dead);
    expect(await b.reap()).toMatchObject({ leases: 1, requeued: 1, dead: 1 });
    await b.rows(`select howdah.pause_queue('mine')`);
    await b.rows(`select howdah.alter_queue('mine', '{"max_attempts": 2}')`);
    await b.rows(`select howdah.resume_queue('mine')`);
    expect(await b.closeLease(lease)).toBe(0);
    await a.commit();
    await db.expectTruth();
  });

  test('a handler that is told to come later and an operator do not wait for each other', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('told');
    await db.enqueue('told', 2);
    const lease = await db.openLease();
    const [first, second] = await db.claim('told', lease, 2);
    if (!first || !second) throw new Error('two were enqueued');
    const ask = { delay_ms: 60_000 };
    await b.rows(`set lock_timeout = '2s'`);
    await a.begin();
    await a.rows(`select howdah.pause_queue('told')`);
    expect(await b.end(lease, first, 'rate_limited', ask)).toBe('ready');
    await a.commit();
    await a.begin();
    expect(await a.end(lease, second, 'rate_limited', { delay_ms: 90_000 })).toBe('ready');
    await b.rows(`select howdah.resume_queue('told')`);
    await a.commit();
    const [hold] = await db.rows<{ rest: Record<string, number> }>(
      `select rest from howdah.claim_many('told', $1)`,
      [lease],
    );
    expect(hold?.rest.reason).toBe('rate-limited');
    expect(hold?.rest.again_ms).toBeGreaterThan(80_000);
    // the shorter says nothing any more
    await db.rows('select * from howdah.tend_queues()');
    expect(await db.one('select count(*)::int from howdah._holds')).toBe(1);
    await db.expectTruth();
  });

  test('an enqueue that commits after the deletion ends with the dead, not nowhere', async ({
    db,
    a,
    b,
  }) => {
    for (const isForced of [false, true]) {
      await db.createQueue('leaving');
      await a.begin();
      const [ready] = await a.enqueue('leaving', 1);
      const [later] = await a.enqueue('leaving', 1, { run_at: Date.now() + 1000 });
      await b.rows(`select howdah.delete_queue('leaving', $1)`, [isForced]);
      await a.commit();
      await db.rows('select * from howdah.prune()');
      await db.shiftClock(2000);
      await db.promote();
      await db.rows('select * from howdah.prune()');
      await db.shiftClock(0);
      for (const id of [ready, later]) {
        expect(await db.job(String(id))).toMatchObject({
          state: 'dead',
          dead_reason: 'queue deleted',
          origin_queue: 'leaving',
        });
      }
      await db.expectTruth();
    }
  });

  test('an enqueue between the count and the deletion is not discarded unforced', async ({
    db,
    a,
    b,
    pool,
  }) => {
    await db.createQueue('between');
    await db.createQueue('user', { dead_letter_queue: 'between' });
    // the deletion has counted and waits for this row, of a queue that buries its dead there
    await a.begin();
    await a.rows(`select from howdah._queues where name = 'user' for update`);
    const [deleted] = await b.blocks((session) =>
      session.rows(`select howdah.delete_queue('between')`),
    );
    const [id] = await db.enqueue('between');
    await a.commit();
    await deleted;
    expect(await db.state(String(id))).toBe('ready');
    await db.rows('select * from howdah.prune()');
    expect(await db.job(String(id))).toMatchObject({ state: 'dead', dead_reason: 'queue deleted' });
    expect(pool.totalCount).toBeGreaterThan(0);
    await db.expectTruth();
  });

  test('a claim in flight while its queue is deleted: the job can be settled', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('claimed');
    await db.enqueue('claimed');
    const lease = await db.openLease();
    await a.begin();
    const job = await a.claimOne('claimed', lease);
    const [deleted] = await b.blocks((session) =>
      session.rows(`select howdah.delete_queue('claimed', true)`),
    );
    await a.commit();
    await deleted;
    expect(await db.state(job.id)).toBe('running');
    expect(await db.complete(lease, [job])).toEqual([]);
    await db.expectTruth();
  });
});

describe('lead', () => {
  test('of eight at once, one leads', async ({ db }) => {
    const leases = await Promise.all(Array.from({ length: 8 }, (_, i) => db.openLease(`w${i}`)));
    let last = { leader: -1, term: 0 };
    for (let round = 0; round < 5; round += 1) {
      const terms = await Promise.all(
        leases.map((lease) => db.one('select term from howdah.lead($1, 60000)', [lease])),
      );
      const leader = terms.findIndex((term) => term !== undefined);
      expect(terms.filter((term) => term !== undefined)).toHaveLength(1);
      // the term grows with each new leader; one that returns keeps its own
      const term = leader === last.leader ? last.term : last.term + 1;
      expect(terms[leader]).toBe(String(term));
      last = { leader, term };
      await db.rows('select howdah.resign($1)', [leases[leader]]);
    }
  });

  test('who waits for the other to become leader does not become one too', async ({ db, a, b }) => {
    const [one, two] = [await db.openLease(), await db.openLease()];
    await db.rows(`update howdah._leader set expires_at = '-infinity'`);
    await a.begin();
    expect(await a.rows('select term from howdah.lead($1, 60000)', [one])).toHaveLength(1);
    const [second] = await b.blocks((session) =>
      session.rows('select term from howdah.lead($1, 60000)', [two]),
    );
    await a.commit();
    expect(await second).toEqual([]);
  });
});

describe('sleep', () => {
  test('a lease that is closed meanwhile does not sleep on', async ({ db, a, b }) => {
    await db.createQueue('dreams');
    const lease = await db.openLease();
    await a.begin();
    await a.rows(`select howdah.sleep($1, '{dreams}')`, [lease]);
    const [closed] = await b.blocks((session) => session.closeLease(lease));
    await a.commit();
    await closed;
    expect(await db.rows('select from howdah._sleepers where lease_id = $1', [lease])).toEqual([]);
  });
});

describe('prune', () => {
  test('two at once, and settles meanwhile, with the partition of today missing', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('pruned');
    await db.enqueue('pruned', 3);
    const lease = await db.openLease();
    const [first, second] = await db.claim('pruned', lease, 2);
    if (!first || !second) throw new Error('three were enqueued');
    await db.shiftClock(40 * 86_400_000);
    await db.rows(`select howdah.create_queue('pruned', '{"retention_ms": 8640000000}')`);
    await a.begin();
    await a.complete(lease, [first]);
    const [pruned] = await b.blocks((session) => session.rows('select * from howdah.prune()'));
    const again = db.rows('select * from howdah.prune()');
    await a.commit();
    expect(await pruned).toMatchObject([{ created: 4 }]);
    expect(await again).toMatchObject([{ created: 0 }]);
    await db.complete(lease, [second]);
    expect(await db.one('select count(*)::int from howdah._history_default')).toBe(0);
    expect(await db.state(first.id)).toBe('completed');
    await db.shiftClock(0);
    await db.expectTruth();
  });
});

test('a dead-letter queue is deleted while all queues are paused: no deadlock', async ({
  db,
  a,
  b,
  c,
}) => {
  await db.createQueue('letters');
  await db.createQueue('writer', { dead_letter_queue: 'letters' });
  await c.begin();
  await c.rows(`select from howdah._queues where name = 'writer' for update`);
  const [deleted] = await b.blocks((session) =>
    session.rows(`select howdah.delete_queue('letters')`),
  );
  const [paused] = await a.blocks((session) =>
    session.rows(`select * from howdah.pause_queue('*')`),
  );
  await c.commit();
  await deleted;
  await paused;
  await db.rows(`select * from howdah.resume_queue('*')`);
  expect(
    await db.one(`select dead_letter_queue from howdah.queue_policies where queue = 'writer'`),
  ).toBe('dead-letters');
});
