import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sessions.js';

interface Received {
  readonly lease_id: string;
  readonly id: string;
  readonly attempt: number;
}

let queues = 0;

async function received(db: Engine, count: number, visibilityMs = 30_000): Promise<Received[]> {
  queues += 1;
  const queue = `pull-race-${queues}`;
  await db.createQueue(queue);
  await db.enqueue(queue, count);
  return db.rows('select * from howdah.receive($1, $2, $3)', [queue, count, visibilityMs]);
}

const complete = (db: Engine, { lease_id, id, attempt }: Received) =>
  db.one('select howdah.complete($1, $2, $3)', [lease_id, id, attempt]);
const extend = (db: Engine, { lease_id, id, attempt }: Received) =>
  db.rows('select * from howdah.extend_job($1, $2, $3, 60000)', [lease_id, id, attempt]);
const leaseIsGone = async (db: Engine, { lease_id }: Received) =>
  (await db.rows('select from howdah._leases where id = $1', [lease_id])).length === 0;

describe('the reaper against a consumer', () => {
  test('reaping first: complete waits for the job and is refused', async ({ a, b, db }) => {
    const [job] = (await received(db, 1)) as [Received];
    await db.killLease(job.lease_id);
    await a.begin();
    await a.reap();
    const [late] = await b.blocks((session) => sqlError(complete(session, job)));
    await a.commit();
    expect(await late).toMatchObject({ code: 'HW021' });
    expect(await db.state(job.id)).toBe('ready');
    await db.expectTruth();
  });

  test('reaping first: extend is refused at once, for the lease has ended', async ({
    a,
    b,
    db,
  }) => {
    const [job] = (await received(db, 1)) as [Received];
    await db.killLease(job.lease_id);
    await a.begin();
    await a.reap();
    expect(await sqlError(extend(b, job))).toMatchObject({ code: 'HW020' });
    await a.commit();
    expect(await db.state(job.id)).toBe('ready');
    await db.expectTruth();
  });

  test('completing or extending first: the reaper passes that lease over', async ({ a, db }) => {
    for (const call of [complete, extend]) {
      const [job, other] = (await received(db, 2)) as [Received, Received];
      await a.begin();
      await call(a, job);
      await db.rows(`select howdah.reap()`);
      expect(await db.state(other.id)).toBe('running');
      await a.commit();
      await complete(db, other);
      expect(await leaseIsGone(db, other)).toBe(true);
      await db.expectTruth();
    }
  });
});

test('two jobs of one lease settled at once: both count, and the lease goes', async ({
  a,
  b,
  db,
}) => {
  const [first, second] = (await received(db, 2)) as [Received, Received];
  await a.begin();
  await complete(a, first);
  const [waiting] = await b.blocks((session) => complete(session, second));
  await a.commit();
  expect(await waiting).toBe('completed');
  expect(await leaseIsGone(db, first)).toBe(true);
  await db.expectTruth();
});

test('one job moved by extend while the other is settled', async ({ a, b, db }) => {
  const [first, second] = (await received(db, 2)) as [Received, Received];
  await a.begin();
  const [moved] = await extend(a, first);
  const [waiting] = await b.blocks((session) => complete(session, second));
  await a.commit();
  expect(await waiting).toBe('completed');
  expect(await leaseIsGone(db, first)).toBe(true);
  expect(await complete(db, { ...first, lease_id: String(moved?.lease_id) })).toBe('completed');
  await db.expectTruth();
});

test('two consumers never receive the same job', async ({ a, b, db }) => {
  const queue = `pull-race-${++queues}`;
  await db.createQueue(queue);
  const ids = await db.enqueue(queue, 3);
  await a.begin();
  const [one] = await a.rows<Received>('select * from howdah.receive($1, 1)', [queue]);
  const others = await b.rows<Received>('select * from howdah.receive($1, 5)', [queue]);
  await a.commit();
  expect([one?.id, ...others.map(({ id }) => id)]).toEqual(ids);
  await db.expectTruth();
});

test('two workers that meet pills for all at once tell everybody, and wait for nobody', async ({
  a,
  b,
  db,
}) => {
  const queue = `pull-race-${++queues}`;
  await db.createQueue(queue);
  const open = () =>
    db.one<string>('select howdah.open_lease($1, 30000, $2)', [
      'w',
      JSON.stringify({ queues: [queue] }),
    ]);
  const leases = [await open(), await open()] as const;
  for (let n = 0; n < 2; n++) await db.rows(`select howdah.stop_consumers($1, 'all')`, [queue]);
  const pills = [await db.claimOne(queue, leases[0]), await db.claimOne(queue, leases[1])] as const;
  const obey = (session: Engine, n: 0 | 1) =>
    session.one('select howdah.obey_stop($1, $2, $3)', [leases[n], pills[n].id, pills[n].attempt]);
  await a.begin();
  expect(await obey(a, 0)).toBe('stop');
  // neither locks the lease of the other
  expect(await obey(b, 1)).toBe('stop');
  await a.commit();
  for (const lease of leases) {
    const [notice] = await db.rows(
      'select from howdah._lease_notices where lease_id = $1 and drain_reason is not null',
      [lease],
    );
    expect(notice).toBeDefined();
  }
  await db.expectTruth();
});
