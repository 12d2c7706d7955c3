import { describe, expect } from 'vitest';
import type { ClaimedRow, Engine } from '../support/engine.js';
import { test } from '../support/sessions.js';

let queues = 0;

/** A queue with a group of so many jobs, of which those that have a turn run. */
async function running(
  db: Engine,
  count = 2,
  policy: object = {},
): Promise<{ queue: string; ids: string[]; lease: string; jobs: ClaimedRow[]; job: ClaimedRow }> {
  queues += 1;
  const queue = `group-race-${queues}`;
  await db.createQueue(queue, policy);
  const ids = await db.enqueue(queue, count, { group: 'g' });
  const lease = await db.openLease();
  const jobs = await db.claim(queue, lease, count);
  return { queue, ids, lease, jobs, job: jobs[0] as ClaimedRow };
}

describe('enqueue against settle of the same group', () => {
  test.for(['complete', 'dead_letter'])(
    'enqueue first: %s does not wait, and its job is admitted a moment later',
    async (outcome, { db, a, b }) => {
      const { queue, lease, job } = await running(db, 1);
      await a.begin();
      const [next] = await a.enqueue(queue, 1, { group: 'g' });
      expect(await b.end(lease, job, outcome)).toMatch(/completed|dead/);
      await db.expectTruth();
      expect(await db.promote()).toMatchObject({ next_ms: '100' });
      await a.commit();
      expect(await db.state(next ?? '')).toBe('blocked');
      await db.promote();
      expect(await db.state(next ?? '')).toBe('ready');
      await db.expectTruth();
    },
  );

  test('enqueue first, rolled back: the group ends', async ({ db, a, b }) => {
    const { queue, lease, job } = await running(db, 1);
    await a.begin();
    await a.enqueue(queue, 1, { group: 'g' });
    expect(await b.complete(lease, [job])).toEqual([]);
    await a.rollback();
    expect(await db.foldGroups()).toEqual({ folded: 1, is_left: false });
    await db.expectTruth();
    const rows = await db.rows(
      'select g.* from howdah._groups g join howdah._queues q on q.id = g.queue_id where q.name = $1',
      [queue],
    );
    expect(rows).toEqual([]);
  });

  test('settle of the last first: enqueue waits, and its job has a turn', async ({ db, a, b }) => {
    const { queue, lease, job } = await running(db, 1);
    await a.begin();
    await a.complete(lease, [job]);
    const [enqueued] = await b.blocks((session) => session.enqueue(queue, 2, { group: 'g' }));
    await a.commit();
    const [first = '', second = ''] = (await enqueued) ?? [];
    expect([await db.state(first), await db.state(second)]).toEqual(['ready', 'blocked']);
    await db.expectTruth();
  });

  test('settle first, rolled back: the new job waits', async ({ db, a, b }) => {
    const { queue, lease, job } = await running(db, 1);
    await a.begin();
    await a.complete(lease, [job]);
    const [enqueued] = await b.blocks((session) => session.enqueue(queue, 1, { group: 'g' }));
    await a.rollback();
    expect(await db.state((await enqueued)?.[0] ?? '')).toBe('blocked');
    await db.expectTruth();
  });
});

test('two enqueues into a new group: one is admitted; the earlier id goes before the later', async ({
  db,
  a,
  b,
}) => {
  await db.createQueue('both');
  await a.begin();
  const [first] = await a.enqueue('both', 1, { group: 'g' });
  const [enqueued] = await b.blocks((session) => session.enqueue('both', 1, { group: 'g' }));
  const [third] = await a.enqueue('both', 1, { group: 'g' });
  await a.commit();
  const [second] = (await enqueued) ?? [];
  expect(Number(second)).toBeLessThan(Number(third));
  const lease = await db.openLease();
  const order: string[] = [];
  for (const _ of [1, 2, 3]) {
    const job = await db.claimOne('both', lease);
    order.push(job.id);
    await db.complete(lease, [job]);
    await db.expectTruth();
  }
  expect(order).toEqual([first, second, third]);
});

test('a late joiner with an earlier id is not lost behind the mark', async ({ db, a, b }) => {
  await db.createQueue('mark');
  const lease = await db.openLease();
  await db.enqueue('mark', 1, { group: 'g' });
  // b draws its id, then waits for the group, which goes on over later ids
  await a.begin();
  await a.enqueue('mark', 1, { group: 'g' });
  const [late] = await b.blocks((session) => session.enqueue('mark', 1, { group: 'g' }));
  await a.enqueue('mark', 3, { group: 'g' });
  for (const _ of [1, 2, 3]) await a.complete(lease, await a.claim('mark', lease, 1));
  await a.commit();
  await late;
  await db.expectTruth();
  const states = await db.rows<{ n: number }>(
    `select count(*)::int as n from howdah.job_states where queue = 'mark'`,
  );
  expect(states).toEqual([{ n: 3 }]);
  for (const _ of [1, 2, 3]) {
    await db.complete(lease, [await db.claimOne('mark', lease)]);
    await db.expectTruth();
  }
});

describe('settle against settle', () => {
  test('two of one group: each admits one more', async ({ db, a, b }) => {
    const { ids, lease, jobs } = await running(db, 5, { group_concurrency: 2 });
    const [one, two] = jobs as [ClaimedRow, ClaimedRow];
    await a.begin();
    await a.complete(lease, [one]);
    expect(await b.complete(lease, [two])).toEqual([]);
    await a.commit();
    expect(await db.foldGroups()).toEqual({ folded: 1, is_left: false });
    expect(await Promise.all(ids.map((id) => db.state(id)))).toEqual([
      'completed',
      'completed',
      'ready',
      'ready',
      'blocked',
    ]);
    await db.expectTruth();
  });

  test('settles of the same groups wait for each other in no order of their jobs', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('order', { group_concurrency: 2 });
    // y before x, so that jobs by id and groups by key differ
    const rows = await db.enqueueRows(
      ['y', 'x', 'x', 'y', 'z', 'z'].map((group) => ({ queue: 'order', payload: group, group })),
    );
    const lease = await db.openLease();
    const jobs = await db.claim('order', lease, 6);
    expect(jobs.map(({ id }) => id)).toHaveLength(rows.length);
    const of = (group: string) => jobs.filter(({ payload }) => payload === group);
    const [y1, y2] = of('y') as [ClaimedRow, ClaimedRow];
    const [x1, x2] = of('x') as [ClaimedRow, ClaimedRow];
    await a.begin();
    await a.end(lease, (of('z') as [ClaimedRow])[0], 'complete');
    const zx = [of('z')[1], x1, y1] as ClaimedRow[];
    await b.begin();
    expect(await b.complete(lease, zx)).toEqual([]); // holds x and y, and leaves z
    await Promise.all([
      a.settle(lease, ...[y2].map(({ id, attempt }) => ({ id, attempt, outcome: 'cancel' }))),
      db.complete(lease, [x2]),
    ]);
    await db.expectTruth();
    await Promise.all([a.commit(), b.commit()]);
    expect(await db.foldGroups()).toEqual({ folded: 3, is_left: false });
    await db.expectTruth();
    expect(
      await db.rows('select from howdah._groups where key in ($1, $2, $3)', ['x', 'y', 'z']),
    ).toEqual([]);
  });
});

describe('cancel', () => {
  test('of the head against its completion: the next is admitted once', async ({ db, a, b }) => {
    const { ids, lease, job } = await running(db, 3);
    await a.begin();
    await a.complete(lease, [job]);
    const [cancelled] = await b.blocks((session) => session.cancel(job.id));
    await a.commit();
    expect(await cancelled).toEqual([{ id: job.id, outcome: 'finished' }]);
    expect(await Promise.all(ids.map((id) => db.state(id)))).toEqual([
      'completed',
      'ready',
      'blocked',
    ]);
    await db.expectTruth();
  });

  test('of a waiting one that is admitted meanwhile', async ({ db, a, b }) => {
    const { ids, lease, job } = await running(db, 3);
    await a.begin();
    await a.complete(lease, [job]);
    const [cancelled] = await b.blocks((session) => session.cancel(ids[1] ?? ''));
    await a.commit();
    expect(await cancelled).toEqual([{ id: ids[1], outcome: 'cancelled' }]);
    expect(await db.state(ids[2] ?? '')).toBe('ready');
    await db.expectTruth();
  });

  test('of a waiting one first: the settle does not wait; the one after it is admitted', async ({
    db,
    a,
    b,
  }) => {
    const { ids, lease, job } = await running(db, 3);
    await a.begin();
    await a.cancel(ids[1] ?? '');
    expect(await b.complete(lease, [job])).toEqual([]);
    await a.commit();
    await db.foldGroups();
    expect(await db.state(ids[2] ?? '')).toBe('ready');
    await db.expectTruth();
  });

  test('first, rolled back: the order is kept', async ({ db, a, b }) => {
    const { ids, lease, job } = await running(db, 3);
    await a.begin();
    await a.cancel(ids[1] ?? '');
    expect(await b.complete(lease, [job])).toEqual([]);
    await a.rollback();
    await db.foldGroups();
    expect(await db.state(ids[1] ?? '')).toBe('ready');
    expect(await db.state(ids[2] ?? '')).toBe('blocked');
    await db.expectTruth();
  });

  test('of one admitted between two looks: it is locked before any group', async ({
    db,
    a,
    b,
    c,
  }) => {
    const { queue, ids, lease, job } = await running(db, 3);
    const [, second = '', third = ''] = ids;
    const [other = ''] = await db.enqueue(queue, 1);
    await a.begin();
    await a.lockJob(other);
    // b looks for unblocked jobs and waits for one of them; only then is the second job admitted
    const [cancelled] = await b.blocks((session) => session.cancel(other, second, third));
    await db.complete(lease, [job]);
    await c.begin();
    await c.lockJob(second);
    await a.commit();
    await b.waitsFor(c);
    // a deadlock, if b held the group of the third meanwhile
    expect(await c.cancel(second)).toEqual([{ id: second, outcome: 'cancelled' }]);
    await c.commit();
    expect(await cancelled).toEqual(
      // those that have ended come last
      [third, other, second].map((id) => ({
        id,
        outcome: id === second ? 'finished' : 'cancelled',
      })),
    );
    await db.expectTruth();
  });

  test('of many waiting ones and many settles of their groups at once: no deadlock', async ({
    db,
    pool,
  }) => {
    await db.createQueue('storm', { group_concurrency: 2 });
    const jobs = Array.from({ length: 400 }, (_, i) => ({
      queue: 'storm',
      payload: i,
      group: `g${(i * 7) % 13}`,
    }));
    const ids = (await db.enqueueRows(jobs)).map(({ id }) => String(id));
    const doomed = ids.filter((_, i) => i % 3 === 0);
    const work = async (): Promise<void> => {
      const lease = await db.openLease();
      for (;;) {
        const claimed = await db.claim('storm', lease, 7);
        if (claimed.length === 0) return;
        const half = claimed.filter((_, i) => i % 2 === 0);
        await db.complete(lease, half);
        for (const job of claimed) {
          if (!half.includes(job)) await db.end(lease, job, 'release');
        }
      }
    };
    const cancel = async (): Promise<void> => {
      for (let i = 0; i < doomed.length; i += 10) await db.cancel(...doomed.slice(i, i + 10));
    };
    const more = async (): Promise<void> => {
      for (let i = 0; i < 40; i += 1) await db.enqueue('storm', 3, { group: `g${i % 13}` });
    };
    await Promise.all([work(), cancel(), work(), more(), cancel()]);
    await db.foldGroups();
    await work();
    await db.expectTruth();
    const { rows } = await pool.query(
      `select count(*)::int as n from howdah.job_states where queue = 'storm'`,
    );
    expect(rows).toEqual([{ n: 0 }]);
  });
});

describe('upkeep waits for nobody', () => {
  test('a producer that holds the group: expire leaves its members for later', async ({
    db,
    a,
    b,
  }) => {
    const { queue, ids } = await running(db, 1);
    ids.push(...(await db.enqueue(queue, 1, { group: 'g', ttl_ms: 1 })));
    await expect
      .poll(() =>
        db.one(`select count(*)::int from howdah._jobs
      where expires_at < howdah.clock()`),
      )
      .toBe(1);
    await a.begin();
    await a.enqueue(queue, 1, { group: 'g' });
    expect(await b.one('select howdah.expire()')).toBe(0);
    await a.commit();
    expect(await b.one('select howdah.expire()')).toBe(1);
    await db.expectTruth();
  });

  test('the reaper takes its members all the same', async ({ db, a, b }) => {
    const { queue, lease, job } = await running(db, 1, { max_attempts: 1 });
    await db.killLease(lease);
    await a.begin();
    await a.enqueue(queue, 1, { group: 'g' });
    expect(await b.reap()).toMatchObject({ dead: 1 });
    expect(await db.state(job.id)).toBe('dead');
    await a.commit();
    expect(await db.foldGroups()).toEqual({ folded: 1, is_left: false });
    await db.expectTruth();
    expect(await db.claim(queue, await db.openLease())).toHaveLength(1);
  });
});

test('a transaction that raises group_concurrency holds up no group, and upkeep opens them when it has ended', async ({
  db,
  a,
  b,
}) => {
  await db.createQueue('raised');
  await db.enqueue('raised', 3, { group: 'g' });
  await a.begin();
  await a.rows(`select howdah.alter_queue('raised', '{"group_concurrency": 2}')`);
  await b.rows(`set lock_timeout = '2s'`);
  await b.enqueue('raised', 1, { group: 'g' });
  await db.rows('select howdah.tend_queues()');
  expect(await db.stats('raised')).toMatchObject({ ready: '1', blocked: '3' });
  await a.commit();
  await db.rows('select howdah.tend_queues()');
  expect(await db.stats('raised')).toMatchObject({ ready: '2', blocked: '2' });
  await db.expectTruth();
});
