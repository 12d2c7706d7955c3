import { describe, expect } from 'vitest';
import type { ClaimedRow, Engine } from '../support/engine.js';
import { test } from '../support/sessions.js';

const OUTCOMES = [
  ['complete', 'completed'],
  ['fail', 'scheduled'],
  ['snooze', 'scheduled'],
  ['release', 'ready'],
  ['dead_letter', 'dead'],
  ['cancel', 'cancelled'],
  ['expire', 'expired'],
] as const;

let queues = 0;

async function running(db: Engine): Promise<{ queue: string; lease: string; job: ClaimedRow }> {
  queues += 1;
  const queue = `race-${queues}`;
  await db.createQueue(queue, { backoff_ms: 60_000 });
  await db.enqueue(queue);
  const lease = await db.openLease();
  return { queue, lease, job: await db.claimOne(queue, lease) };
}

describe('settle against reap', () => {
  test.for(OUTCOMES)(
    '%s first, not yet committed: the reaper passes it by',
    async ([outcome, state], { db, a, b }) => {
      const { lease, job } = await running(db);
      await db.killLease(lease);
      await a.begin();
      expect(await a.end(lease, job, outcome, { delay_ms: 60_000 })).toBe(state);
      expect(await b.reap()).toEqual({ leases: 0, requeued: 0, dead: 0 });
      await a.commit();
      expect(await db.state(job.id)).toBe(state);
      expect(await b.reap()).toEqual({ leases: 1, requeued: 0, dead: 0 });
      expect(await db.state(job.id)).toBe(state);
      await db.expectTruth();
    },
  );

  test.for(OUTCOMES)('%s rolled back: the next reap takes it', async ([outcome], { db, a, b }) => {
    const { lease, job } = await running(db);
    await db.killLease(lease);
    await a.begin();
    await a.end(lease, job, outcome);
    expect(await b.reap()).toMatchObject({ leases: 0, requeued: 0 });
    await a.rollback();
    expect(await b.reap()).toEqual({ leases: 1, requeued: 1, dead: 0 });
    expect(await db.job(job.id)).toMatchObject({ state: 'ready', attempt: 1, crashes: 1 });
    await db.expectTruth();
  });

  test.for(OUTCOMES)('reaped first: %s waits, then is stale', async ([outcome], { db, a, b }) => {
    const { lease, job } = await running(db);
    await db.killLease(lease);
    await a.begin();
    expect(await a.reap()).toEqual({ leases: 1, requeued: 1, dead: 0 });
    const [late] = await b.blocks((session) => session.end(lease, job, outcome));
    await a.commit();
    expect(await late).toBe('stale');
    expect(await db.job(job.id)).toMatchObject({ state: 'ready', attempt: 1, crashes: 1 });
    await db.expectTruth();
  });

  test('reaped first, rolled back: the settle is accepted', async ({ db, a, b }) => {
    const { lease, job } = await running(db);
    await db.killLease(lease);
    await a.begin();
    await a.reap();
    const [late] = await b.blocks((session) => session.complete(lease, [job]));
    await a.rollback();
    expect(await late).toEqual([]);
    expect(await db.state(job.id)).toBe('completed');
    await db.expectTruth();
  });

  test('complete of many, of which one was reaped and claimed elsewhere', async ({ db, a, b }) => {
    const { queue, lease, job } = await running(db);
    await db.enqueue(queue, 1);
    await db.killLease(lease);
    await a.begin();
    await a.reap();
    const [late] = await b.blocks((session) => session.complete(lease, [job]));
    await a.commit();
    expect(await late).toEqual([job.id]);
    const next = await db.openLease();
    const again = await db.claimOne(queue, next);
    expect(again).toMatchObject({ id: job.id, attempt: 2 });
    // the zombie tries everything with the old fence, and with the new attempt under its old lease
    for (const [outcome] of OUTCOMES) {
      expect(await db.end(lease, job, outcome)).toBe('stale');
      expect(await db.end(lease, again, outcome)).toBe('stale');
      expect(await db.end(next, job, outcome)).toBe('stale');
    }
    expect(await db.complete(next, [again])).toEqual([]);
    await db.expectTruth();
  });
});

describe('settle against settle', () => {
  test('the same attempt ends once', async ({ db, a, b }) => {
    const { lease, job } = await running(db);
    await a.begin();
    await a.end(lease, job, 'fail', { delay_ms: 0 });
    const [second] = await b.blocks((session) => session.complete(lease, [job]));
    await a.commit();
    expect(await second).toEqual([job.id]);
    expect(await db.state(job.id)).toBe('ready');
    await db.expectTruth();
  });

  test('completes of the same jobs in opposite order do not deadlock', async ({ db, a, b }) => {
    await db.createQueue('opposite');
    await db.enqueue('opposite', 3);
    const lease = await db.openLease();
    const jobs = await db.claim('opposite', lease, 3);
    const [, , last] = jobs;
    if (!last) throw new Error('three were enqueued');
    await a.begin();
    await a.complete(lease, [jobs[0] as ClaimedRow]);
    const [second] = await b.blocks((session) => session.complete(lease, [...jobs].reverse()));
    // had b begun with the last job, this would deadlock
    await a.complete(lease, [last]);
    await a.commit();
    expect((await second)?.sort()).toEqual([jobs[0]?.id, last.id].sort());
    await db.expectTruth();
  });

  test('settle names jobs in any order and locks them by id', async ({ db, a, b }) => {
    await db.createQueue('by-id');
    await db.enqueue('by-id', 2);
    const lease = await db.openLease();
    const [one, two] = await db.claim('by-id', lease, 2);
    if (!one || !two) throw new Error('two were enqueued');
    const ask = ({ id, attempt }: ClaimedRow) => ({ id, attempt, outcome: 'release' });
    await a.begin();
    await a.settle(lease, ask(one));
    const [second] = await b.blocks((session) => session.settle(lease, ask(two), ask(one)));
    await a.settle(lease, ask(two));
    await a.commit();
    expect((await second)?.map(({ outcome }) => outcome)).toEqual(['stale', 'stale']);
    await db.expectTruth();
  });
});

describe('cancel against the others', () => {
  test('settle first: cancel waits and sees what became of the job', async ({ db, a, b }) => {
    for (const [outcome, expected] of [
      ['complete', 'finished'],
      ['fail', 'cancelled'],
      ['release', 'cancelled'],
    ] as const) {
      const { lease, job } = await running(db);
      await a.begin();
      await a.end(lease, job, outcome);
      const [cancelled] = await b.blocks((session) => session.cancel(job.id));
      await a.commit();
      expect(await cancelled).toEqual([{ id: job.id, outcome: expected }]);
      await db.expectTruth();
    }
  });

  test('cancel first: a failing settle waits and ends the job', async ({ db, a, b }) => {
    const { lease, job } = await running(db);
    await a.begin();
    expect(await a.cancel(job.id)).toEqual([{ id: job.id, outcome: 'requested' }]);
    const [settled] = await b.blocks((session) => session.end(lease, job, 'fail'));
    await a.commit();
    expect(await settled).toBe('cancelled');
    await db.expectTruth();
  });

  test('a claim in flight: cancel waits and asks its worker', async ({ db, a, b }) => {
    await db.createQueue('cancel-claim');
    const [id] = await db.enqueue('cancel-claim');
    const lease = await db.openLease();
    await a.begin();
    const job = await a.claimOne('cancel-claim', lease);
    const [cancelled] = await b.blocks((session) => session.cancel(String(id)));
    await a.commit();
    expect(await cancelled).toEqual([{ id, outcome: 'requested' }]);
    expect(await db.rows('select * from howdah.heartbeat($1)', [lease])).toEqual([
      { alive: true, attention: true },
    ]);
    expect(await db.end(lease, job, 'snooze')).toBe('cancelled');
    await db.expectTruth();
  });

  test('cancel first: a claim passes the job by', async ({ db, a, b }) => {
    await db.createQueue('cancel-first');
    const [id] = await db.enqueue('cancel-first');
    const lease = await db.openLease();
    await a.begin();
    await a.cancel(String(id));
    expect(await b.claim('cancel-first', lease)).toEqual([]);
    await a.rollback();
    expect(await b.claim('cancel-first', lease)).toHaveLength(1);
    await db.expectTruth();
  });

  test.for([
    ['commit', 'cancelled', 0],
    ['rollback', 'ready', 1],
  ] as const)(
    'close_lease does not wait for a cancel: the reaper ends it after a %s, or gives it back',
    async ([end, state, attempts], { db, a, b }) => {
      const { queue, lease, job } = await running(db);
      await a.begin();
      await a.cancel(job.id);
      expect(await b.closeLease(lease)).toBe(0);
      await db.reap();
      await a[end]();
      await db.reap();
      expect(await db.state(job.id)).toBe(state);
      const [again] = await db.claim(queue, await db.openLease());
      // given back as by the good-bye itself: no attempt is burnt, and it is no suspect
      expect(again ? again.attempt - again.uncounted : 0).toBe(attempts);
      await db.expectTruth();
    },
  );

  test('cancel waits for close_lease, and cancels what it gave back', async ({ db, a, b }) => {
    const { lease, job } = await running(db);
    await a.begin();
    expect(await a.closeLease(lease)).toBe(1);
    const [cancelled] = await b.blocks((session) => session.cancel(job.id));
    await a.commit();
    expect(await cancelled).toEqual([{ id: job.id, outcome: 'cancelled' }]);
    await db.expectTruth();
  });

  test('what is gone was completed by the sender exactly if the transaction it names was committed', async ({
    db,
    a,
  }) => {
    await db.createQueue('told');
    await db.enqueue('told');
    const lease = await db.openLease();
    const job = await db.claimOne('told', lease);
    const stranger = await db.openLease();
    const told = async (note: object): Promise<unknown> => {
      const ask = { id: job.id, attempt: 1, outcome: 'fail', ...note };
      return (await db.settle(stranger, ask))[0]?.outcome;
    };
    const note = `select pg_current_xact_id()::text as xact,
      (extract(epoch from howdah.clock()) * 1000000)::bigint::text as xact_at`;
    const noted = async (): Promise<object> => (await a.rows(note))[0] as object;
    const complete = async (): Promise<object> => {
      await a.begin();
      await a.rows('select howdah.complete($1, $2, 1)', [lease, job.id]);
      return noted();
    };
    const rolledBack = await complete();
    expect(await told(rolledBack)).toBe('stale');
    await a.rollback();
    expect(await told(rolledBack)).toBe('stale');

    // a crash can lose a transaction and give its number to the next, whatever that does
    await a.begin();
    const reused = await noted();
    await a.commit();
    expect(await told(reused)).toBe('stale');
    const committed = await complete();
    await a.commit();
    expect(await told(committed)).toBe('completed');
    expect(await told({ ...committed, xact_at: undefined })).toBe('completed');
    expect(await told(reused)).toBe('stale');
    const toldOf = (xact: unknown) => told({ ...committed, xact });
    for (const other of ['9000000000000000000', '99999999999999999999', '-1', '', 'x', null, {}]) {
      expect(await toldOf(other)).toBe('stale');
    }
  });
});
