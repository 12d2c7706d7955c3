import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

let queues = 0;

async function newQueue(db: Engine): Promise<string> {
  queues += 1;
  await db.createQueue(`stop-${queues}`);
  return `stop-${queues}`;
}

const openWorker = (db: Engine, queue: string, worker = 'w') =>
  db.one<string>('select howdah.open_lease($1, 30000, $2)', [
    worker,
    JSON.stringify({ queues: [queue] }),
  ]);
const place = (db: Engine, queue: string, mode: string | null = 'one') =>
  db.one<string>('select howdah.stop_consumers($1, $2)', [queue, mode]);
const obey = (db: Engine, lease: string, job: { id: string; attempt: number }) =>
  db.one<string | null>('select howdah.obey_stop($1, $2, $3)', [lease, job.id, job.attempt]);
const order = (db: Engine, lease: string) =>
  db.one<string | null>('select howdah.drain_order($1)', [lease]);

describe('a poison pill', () => {
  test('stands behind what is ready, whatever its priority', async ({ db }) => {
    const queue = await newQueue(db);
    const ids = await db.enqueue(queue, 2);
    const [low] = await db.enqueue(queue, 1, { priority: -50 });
    const pill = await place(db, queue);
    const later = await db.enqueue(queue, 1, { priority: -50 });
    const jobs = await db.claim(queue, await openWorker(db, queue), 10);
    expect(jobs.map(({ id }) => id)).toEqual([...ids, low, pill, ...later]);
    expect(jobs[3]).toMatchObject({ headers: { 'howdah-stop': 'one' } });
    await db.expectTruth();
  });

  test('for one stops who meets it and is gone', async ({ db }) => {
    const queue = await newQueue(db);
    const [a, b] = [await openWorker(db, queue), await openWorker(db, queue)];
    const id = await place(db, queue);
    const pill = await db.claimOne(queue, a);
    expect(await obey(db, b, pill)).toBe('ignored'); // not its own
    expect(await obey(db, a, pill)).toBe('stop');
    expect(await order(db, a)).toBe(`poison pill ${id}`);
    expect(await order(db, b)).toBe(null);
    expect(await db.state(id)).toBe('completed');
    expect(await obey(db, a, pill)).toBe(null);
    await db.expectTruth();
  });

  test('for all stops those that were there when it was placed', async ({ db }) => {
    const queue = await newQueue(db);
    const [a, b] = [await openWorker(db, queue), await openWorker(db, queue)];
    const elsewhere = await openWorker(db, await newQueue(db));
    await place(db, queue, 'all');
    const late = await openWorker(db, queue);
    const pill = await db.claimOne(queue, late);
    expect(await obey(db, late, pill)).toBe('ignored');
    const orders = await Promise.all([a, b, elsewhere, late].map((lease) => order(db, lease)));
    expect(orders).toEqual([expect.any(String), expect.any(String), null, null]);
    await db.expectTruth();
  });

  test('that is forged stops nobody; an unknown queue or mode is refused', async ({ db }) => {
    const queue = await newQueue(db);
    const lease = await openWorker(db, queue);
    await db.enqueue(queue, 1, { headers: { 'howdah-stop': 'all' } });
    expect(await obey(db, lease, await db.claimOne(queue, lease))).toBe(null);
    expect(await sqlError(place(db, 'nowhere'))).toMatchObject({ code: 'HW001' });
    for (const mode of ['both', null]) {
      expect(await sqlError(place(db, queue, mode))).toMatchObject({ code: 'HW073' });
    }
  });

  test('waits in a paused queue, and can be cancelled', async ({ db }) => {
    const queue = await newQueue(db);
    const lease = await openWorker(db, queue);
    await db.rows('select howdah.pause_queue($1)', [queue]);
    const id = await place(db, queue);
    expect(await db.claim(queue, lease)).toEqual([]);
    await db.cancel(id);
    await db.rows('select howdah.resume_queue($1)', [queue]);
    expect(await db.claim(queue, lease)).toEqual([]);
    await place(db, queue);
    expect(await db.one('select count(*)::int from howdah._pills where job_id = $1', [id])).toBe(0);
    await db.expectTruth();
  });

  test('of which the worker died stops another', async ({ db }) => {
    const queue = await newQueue(db);
    const [a, b] = [await openWorker(db, queue), await openWorker(db, queue)];
    await place(db, queue);
    const pill = await db.claimOne(queue, a);
    await db.killLease(a);
    await db.reap();
    expect(await obey(db, a, pill)).toBe('ignored');
    expect(await obey(db, b, await db.claimOne(queue, b))).toBe('stop');
    await db.expectTruth();
  });

  test('that a pull consumer receives is settled by it', async ({ db }) => {
    const queue = await newQueue(db);
    await place(db, queue);
    const [job] = await db.rows<{ lease_id: string; id: string; attempt: number }>(
      'select * from howdah.receive($1)',
      [queue],
    );
    if (!job) throw new Error('no pill');
    expect(await obey(db, job.lease_id, job)).toBe('stop');
    expect(await db.rows('select from howdah._leases where id = $1', [job.lease_id])).toEqual([]);
    await db.expectTruth();
  });
});

describe('drain_worker', () => {
  const drain = (db: Engine, worker: string | null) =>
    db.rows('select * from howdah.drain_worker($1)', [worker]);

  test('orders workers by name or id to drain', async ({ db }) => {
    const queue = await newQueue(db);
    const [a, b, c] = [
      await openWorker(db, queue, 'twin'),
      await openWorker(db, queue, 'twin'),
      await openWorker(db, queue, 'third'),
    ];
    expect(await drain(db, c)).toEqual([{ lease_id: c, worker: 'third' }]);
    expect(await order(db, a)).toBe(null);
    expect((await drain(db, 'twin')).map(({ lease_id }) => lease_id).sort()).toEqual([a, b].sort());
    expect(await order(db, a)).toBe('drained by an operator');
    expect(await db.rows('select draining from howdah.workers where lease_id = $1', [b])).toEqual([
      { draining: true },
    ]);
    expect(await db.rows('select * from howdah.heartbeat($1)', [a])).toEqual([
      { alive: true, attention: true },
    ]);
  });

  test('refuses a worker that is not there, or is dead', async ({ db }) => {
    const lease = await openWorker(db, await newQueue(db), 'dead');
    await db.killLease(lease);
    for (const name of ['dead', 'nobody', null]) {
      expect(await sqlError(drain(db, name))).toMatchObject({ code: 'HW071' });
    }
  });
});
