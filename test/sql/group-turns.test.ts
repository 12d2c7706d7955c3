import { describe, expect } from 'vitest';
import type { ClaimedRow, Engine } from '../support/engine.js';
import { test } from '../support/sql-test.js';

/** What claim_many() gave of one job: its fence, and whether it follows. */
type Taken = Pick<ClaimedRow, 'id' | 'attempt'> & { readonly follows: boolean };

/** Claims as a worker does, with followers. */
async function claimTurn(db: Engine, queue: string, lease: string, turn = 10): Promise<Taken[]> {
  const lanes = await db.rows<{ ids: string; rest: Record<string, unknown[]> }>(
    `select ids, rest from howdah.claim_many($1, $2, 10, '{}', '{}', $3) where lane is not null`,
    [queue, lease, turn],
  );
  return lanes.flatMap(({ ids, rest }) =>
    ids.split(',').map((id) => ({
      id,
      attempt: rest?.[id] === undefined ? 1 : Number(rest[id][1]),
      follows: rest?.[id]?.[8] === true,
    })),
  );
}

async function states(db: Engine, ids: readonly string[]): Promise<(string | undefined)[]> {
  return Promise.all(ids.map((id) => db.state(id)));
}

async function groupsOf(db: Engine, queue: string): Promise<unknown[]> {
  return db.rows(
    `select g.* from howdah._groups g join howdah._queues q on q.id = g.queue_id where q.name = $1`,
    [queue],
  );
}

/** A queue with one group of so many jobs, all held by one lease. */
async function held(db: Engine, queue: string, count: number, policy: object = {}) {
  await db.createQueue(queue, { backoff_ms: 60_000, backoff_jitter: 0, ...policy });
  const ids = await db.enqueue(queue, count, { group: 'g' });
  const lease = await db.openLease();
  const jobs = await claimTurn(db, queue, lease, count);
  expect(jobs.map(({ id }) => id)).toEqual(ids);
  return { ids, lease, jobs: jobs as unknown as ClaimedRow[] };
}

/** The rest of a queue, one turn after another, in the order it would run. */
async function drain(db: Engine, queue: string, turn = 10): Promise<string[]> {
  const lease = await db.openLease();
  const order: string[] = [];
  for (let jobs = await claimTurn(db, queue, lease, turn); jobs.length > 0; ) {
    order.push(...jobs.map(({ id }) => id));
    for (const job of jobs) await db.complete(lease, [job as unknown as ClaimedRow]);
    jobs = await claimTurn(db, queue, lease, turn);
  }
  return order;
}

describe('a turn of several members', () => {
  test('the next in line come with the head, marked; others stay blocked', async ({ db }) => {
    await db.createQueue('turn');
    const ids = await db.enqueue('turn', 5, { group: 'g' });
    const lease = await db.openLease();
    expect(await claimTurn(db, 'turn', lease, 3)).toEqual([
      { id: ids[0], attempt: 1, follows: false },
      { id: ids[1], attempt: 1, follows: true },
      { id: ids[2], attempt: 1, follows: true },
    ]);
    expect(await states(db, ids)).toEqual(['running', 'running', 'running', 'blocked', 'blocked']);
    await db.expectTruth();
    expect(await claimTurn(db, 'turn', lease, 3)).toEqual([]);
  });

  test('nobody gets followers who did not ask for them', async ({ db }) => {
    await db.createQueue('plain');
    await db.enqueue('plain', 3, { group: 'g' });
    const lease = await db.openLease();
    expect(await db.claim('plain', lease, 10)).toHaveLength(1);
    await db.enqueue('plain', 3, { group: 'pulled' });
    expect(await db.rows(`select id from howdah.receive('plain', 10)`)).toHaveLength(1);
    await db.expectTruth();
  });

  test.for([
    ['more than one at once', { group_concurrency: 2 }, 2],
    ['a limit', { concurrency_max: 5 }, 1],
    ['a rate per key', { group_rate_max: 1000 }, 1],
  ] as const)('there are none with %s', async ([, policy, count], { db }) => {
    const name = `none-${Object.keys(policy)[0]}`;
    await db.createQueue(name, policy);
    await db.enqueue(name, 5, { group: 'g' });
    const lease = await db.openLease();
    expect(await claimTurn(db, name, lease)).toHaveLength(count);
    await db.expectTruth();
  });

  test('settled in order, one after another or together, the next turn begins with the next', async ({
    db,
  }) => {
    const { ids, lease, jobs } = await held(db, 'settle', 6);
    const [more] = await db.enqueue('settle', 1, { group: 'g' });
    for (const job of jobs.slice(0, 2)) await db.complete(lease, [job]);
    await db.expectTruth();
    await db.complete(lease, jobs.slice(2, 5));
    expect(await db.state(String(more))).toBe('blocked');
    await db.complete(lease, jobs.slice(5));
    expect(await states(db, [...ids, String(more)])).toEqual([
      ...ids.map(() => 'completed'),
      'ready',
    ]);
    await db.expectTruth();
    expect(await drain(db, 'settle')).toEqual([more]);
    expect(await groupsOf(db, 'settle')).toEqual([]);
  });

  test('complete_led settles one member, with its result, fenced', async ({ db }) => {
    const { ids, lease, jobs } = await held(db, 'led', 3);
    const led = (job: ClaimedRow, attempt: number, result: unknown = null) =>
      db.one<boolean>('select howdah.complete_led($1, $2, $3, $4)', [
        lease,
        job.id,
        attempt,
        JSON.stringify(result),
      ]);
    const [first, second, third] = jobs as [ClaimedRow, ClaimedRow, ClaimedRow];
    expect(await led(first, 2)).toBe(false);
    expect(await led(first, 1, { sum: 1 })).toBe(true);
    expect(await led(first, 1)).toBe(false);
    await db.expectTruth();
    expect(
      await db.rows('select result, state, worker from howdah.jobs where id = $1', [ids[0]]),
    ).toEqual([{ result: { sum: 1 }, state: 'completed', worker: 'tester' }]);
    expect(await led(second, 1)).toBe(true);
    // the last of all: nobody led it, and still the group ends
    expect(await led(third, 1)).toBe(true);
    expect(await groupsOf(db, 'led')).toEqual([]);
    await db.expectTruth();
  });

  test('many groups at once, each in its order', async ({ db }) => {
    await db.createQueue('many');
    const jobs = Array.from({ length: 60 }, (_, n) => ({
      queue: 'many',
      payload: n,
      group: `g${n % 7}`,
      priority: n % 7,
    }));
    await db.enqueueRows(jobs);
    const order = await drain(db, 'many', 4);
    expect(order).toHaveLength(60);
    const groups = await db.rows<{ id: string; group_key: string }>(
      `select id, group_key from howdah.jobs where queue = 'many'`,
    );
    for (const key of new Set(groups.map(({ group_key }) => group_key))) {
      const of = groups.filter(({ group_key }) => group_key === key).map(({ id }) => id);
      const ran = order.filter((id) => of.includes(id)).map(Number);
      expect(ran).toEqual([...ran].sort((a, b) => a - b));
    }
    await db.expectTruth();
  });

  test.for([
    ['is not due', { delay_ms: 60_000 }],
    ['has another priority', { priority: 5 }],
  ] as const)('it ends before a member that %s', async ([what, options], { db }) => {
    await db.createQueue(what.replaceAll(' ', '-'));
    const queue = what.replaceAll(' ', '-');
    const ids = [
      ...(await db.enqueue(queue, 2, { group: 'g' })),
      ...(await db.enqueue(queue, 1, { group: 'g', ...options })),
      ...(await db.enqueue(queue, 1, { group: 'g' })),
    ];
    const lease = await db.openLease();
    expect((await claimTurn(db, queue, lease)).map(({ id }) => id)).toEqual(ids.slice(0, 2));
    await db.expectTruth();
  });
});

test('a turn carries about a megabyte of payloads', async ({ db }) => {
  await db.createQueue('heavy');
  const payload = 'x'.repeat(400_000);
  const rows = await db.enqueueRows(
    Array.from({ length: 5 }, () => ({ queue: 'heavy', payload, group: 'g' })),
  );
  const ids = rows.map(({ id }) => id);
  const lease = await db.openLease();
  expect((await claimTurn(db, 'heavy', lease)).map(({ id }) => id)).toEqual(ids.slice(0, 3));
  await db.expectTruth();
});

describe('when a member does not end', () => {
  test.for(['fail', 'snooze'])(
    '%s: it is the head, those behind it wait again behind it',
    async (outcome, { db }) => {
      const { ids, lease, jobs } = await held(db, `head-${outcome}`, 4);
      const [more] = await db.enqueue(`head-${outcome}`, 1, { group: 'g' });
      await db.complete(lease, jobs.slice(0, 1));
      expect(await db.end(lease, jobs[1] as ClaimedRow, outcome, { delay_ms: 60_000 })).toBe(
        'scheduled',
      );
      await db.expectTruth();
      expect(
        await db.rows(
          `select head_id, head_state, waiting, admitted from howdah.blocked_groups where queue = $1`,
          [`head-${outcome}`],
        ),
      ).toEqual([{ head_id: ids[1], head_state: 'scheduled', waiting: 1, admitted: 3 }]);
      for (const job of jobs.slice(2)) {
        expect(await db.end(lease, job, 'release')).toBe('ready');
        await db.expectTruth();
      }
      expect(await states(db, [...ids, String(more)])).toEqual([
        'completed',
        'scheduled',
        'blocked',
        'blocked',
        'blocked',
      ]);
      expect(await db.job(ids[2] ?? '')).toMatchObject({ attempt: 0 });
      await db.rows('select * from howdah.run_now($1)', [[ids[1]]]);
      expect(await drain(db, `head-${outcome}`)).toEqual([...ids.slice(1), more]);
      await db.expectTruth();
    },
  );

  test('all given back in one statement keep their order, and burn no attempt', async ({ db }) => {
    const { ids, lease, jobs } = await held(db, 'all-back', 4, { max_attempts: 1 });
    await db.settle(lease, ...jobs.map(({ id, attempt }) => ({ id, attempt, outcome: 'release' })));
    expect(await states(db, ids)).toEqual(['ready', 'blocked', 'blocked', 'blocked']);
    await db.expectTruth();
    expect(await drain(db, 'all-back')).toEqual(ids);
  });

  test('a follower that is released while it runs is the first in line', async ({ db }) => {
    const { ids, lease, jobs } = await held(db, 'first-in-line', 3);
    await db.complete(lease, jobs.slice(0, 1));
    await db.settle(
      lease,
      ...jobs.slice(1).map(({ id, attempt }) => ({ id, attempt, outcome: 'release' })),
    );
    expect(await states(db, ids)).toEqual(['completed', 'ready', 'blocked']);
    await db.expectTruth();
    expect(await drain(db, 'first-in-line')).toEqual(ids.slice(1));
  });

  test('dead: the next goes on; redriven it joins at the tail', async ({ db }) => {
    const { ids, lease, jobs } = await held(db, 'dies', 3);
    const [more] = await db.enqueue('dies', 1, { group: 'g' });
    await db.complete(lease, jobs.slice(0, 1));
    expect(await db.end(lease, jobs[1] as ClaimedRow, 'dead_letter')).toBe('dead');
    await db.rows(`select * from howdah.redrive('{"queue": "dies"}')`);
    await db.expectTruth();
    await db.complete(lease, jobs.slice(2));
    expect(await drain(db, 'dies')).toEqual([more, ids[1]]);
    await db.expectTruth();
  });

  test('cancel of a follower in the middle', async ({ db }) => {
    const { ids, lease, jobs } = await held(db, 'middle', 3);
    expect(await db.cancel(ids[1] ?? '')).toEqual([{ id: ids[1], outcome: 'requested' }]);
    // its worker may have given it back before it heard of that
    expect(await db.end(lease, jobs[1] as ClaimedRow, 'release')).toBe('cancelled');
    await db.expectTruth();
    await db.complete(lease, [jobs[0] as ClaimedRow, jobs[2] as ClaimedRow]);
    await db.expectTruth();
    expect(await groupsOf(db, 'middle')).toEqual([]);
  });
});

describe('when their worker dies', () => {
  test('all go back in order; only the one that may have run counts', async ({ db }) => {
    const { ids, lease, jobs } = await held(db, 'dead', 5, { max_crashes: 2 });
    await db.complete(lease, jobs.slice(0, 1));
    await db.killLease(lease);
    expect(await db.reap()).toMatchObject({ leases: 1, requeued: 4, dead: 0 });
    expect(await states(db, ids)).toEqual(['completed', 'ready', 'blocked', 'blocked', 'blocked']);
    await db.expectTruth();
    const counts = await db.rows(
      'select attempt, crashes from howdah.job_states where queue = $1 order by id',
      ['dead'],
    );
    expect(counts).toEqual([
      { attempt: 1, crashes: 1 },
      { attempt: 0, crashes: 0 },
      { attempt: 0, crashes: 0 },
      { attempt: 0, crashes: 0 },
    ]);
    // it runs alone now, and once it is out of crashes the others go on
    const second = await db.openLease();
    expect((await claimTurn(db, 'dead', second)).map(({ id }) => id)).toEqual([ids[1]]);
    await db.killLease(second);
    expect(await db.reap()).toMatchObject({ requeued: 0, dead: 1 });
    await db.expectTruth();
    expect(await drain(db, 'dead')).toEqual(ids.slice(2));
  });

  test('in several calls, bounded, the same', async ({ db }) => {
    const { ids, lease } = await held(db, 'bounded', 5);
    await db.killLease(lease);
    for (let round = 0; round < 3; round += 1) {
      await db.reap(2);
      await db.expectTruth();
    }
    const rows = await db.rows(
      'select id, state, crashes from howdah.job_states where queue = $1 order by id',
      ['bounded'],
    );
    expect(rows.map(({ crashes }) => crashes)).toEqual([1, 0, 0, 0, 0]);
    expect(await drain(db, 'bounded')).toEqual(ids);
  });

  test('a good-bye gives all back, without an attempt', async ({ db }) => {
    const { ids, lease, jobs } = await held(db, 'bye', 4);
    await db.complete(lease, jobs.slice(0, 1));
    expect(await db.closeLease(lease)).toBe(3);
    expect(await states(db, ids)).toEqual(['completed', 'ready', 'blocked', 'blocked']);
    expect(await db.job(ids[1] ?? '')).toMatchObject({ attempt: 0 });
    await db.expectTruth();
    expect(await drain(db, 'bye')).toEqual(ids.slice(1));
  });

  test('a zombie can settle nothing of what was given back', async ({ db }) => {
    const { lease, jobs } = await held(db, 'zombie', 3);
    await db.killLease(lease);
    await db.reap();
    expect(await db.complete(lease, jobs)).toHaveLength(3);
    expect(await db.stats('zombie')).toMatchObject({ completed: '0' });
    await db.expectTruth();
  });
});
