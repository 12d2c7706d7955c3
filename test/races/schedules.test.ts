import { expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sessions.js';

const MINUTE = 60_000;

async function newSchedule(db: Engine, name: string): Promise<{ id: string; plan: string }> {
  await db.createQueue('raced');
  await db.rows(`select howdah.put_schedule($1, '{"cron": "* * * * *", "queue": "raced"}')`, [
    name,
  ]);
  const [row] = await db.rows<{ id: string; revision: string; after_at: Date }>(
    'select id, revision, after_at from howdah._schedules where name = $1',
    [name],
  );
  const { id, revision, after_at } = row as NonNullable<typeof row>;
  const at = Math.ceil(after_at.getTime() / MINUTE) * MINUTE;
  const plan = {
    id,
    revision: Number(revision),
    runs: [at],
    skipped: null,
    after: at,
    next: at + MINUTE,
  };
  return { id, plan: JSON.stringify([plan]) };
}

const fire = async (db: Engine, plan: string) =>
  (
    await db.rows('select planned, enqueued from howdah.fire_schedules($1::text::jsonb)', [plan])
  )[0];

const jobs = (db: Engine) =>
  db.one<string>(`select count(*) from howdah.jobs where queue = 'raced'`);

test('of two leaders with one plan, one enqueues, and the other does not wait', async ({
  db,
  a,
  b,
}) => {
  const { plan } = await newSchedule(db, 'two-leaders');
  const before = Number(await jobs(db));
  await a.begin();
  expect(await fire(a, plan)).toEqual({ planned: 1, enqueued: 1 });
  expect(await fire(b, plan)).toEqual({ planned: 0, enqueued: 0 });
  await a.commit();
  expect(await fire(b, plan)).toEqual({ planned: 0, enqueued: 0 });
  expect(Number(await jobs(db))).toBe(before + 1);
});

test('a leader that is rolled back leaves the nominal time to the other', async ({ db, a, b }) => {
  const { plan } = await newSchedule(db, 'rolled-back');
  const before = Number(await jobs(db));
  await a.begin();
  await fire(a, plan);
  expect(await fire(b, plan)).toEqual({ planned: 0, enqueued: 0 });
  await a.rollback();
  expect(await fire(b, plan)).toEqual({ planned: 1, enqueued: 1 });
  expect(Number(await jobs(db))).toBe(before + 1);
});

test('a change while a leader fires waits, and voids the next plan', async ({ db, a, b }) => {
  const { plan } = await newSchedule(db, 'edited');
  await a.begin();
  await fire(a, plan);
  const [change] = await b.blocks(() =>
    b.one(`select howdah.put_schedule('edited', '{"cron": "0 0 * * *", "queue": "raced"}')`),
  );
  await a.commit();
  expect(await change).toBe('changed');
  expect(await fire(db, plan)).toEqual({ planned: 0, enqueued: 0 });
});

test('one that is being changed in an open transaction holds up no other', async ({ db, a, b }) => {
  const open = await newSchedule(db, 'open-transaction');
  const other = await newSchedule(db, 'beside-it');
  await a.begin();
  await a.rows(`select howdah.run_schedule('open-transaction')`);
  const due = await b.one<[string][]>('select due from howdah.due_schedules(2000)');
  const ids = due.map(([id]) => id);
  expect([ids.includes(open.id), ids.includes(other.id)]).toEqual([false, true]);
  const both = `[${open.plan.slice(1, -1)},${other.plan.slice(1, -1)}]`;
  expect(await fire(b, both)).toEqual({ planned: 1, enqueued: 1 });
  await a.rollback();
  expect(await fire(b, both)).toEqual({ planned: 1, enqueued: 1 });
});

test('two processes that declare the same schedules at once agree', async ({ db, a, b }) => {
  await db.createQueue('raced');
  const sync = (session: Engine, name: string) =>
    session.rows(
      `select * from howdah.sync_schedules('raced', jsonb_build_array(
      jsonb_build_object('name', $1::text, 'cron', '0 3 * * *', 'queue', 'raced')))`,
      [name],
    );
  await a.begin();
  expect(await sync(a, 'declared')).toEqual([{ name: 'declared', change: 'created' }]);
  const [second] = await b.blocks(() => sync(b, 'declared'));
  await a.commit();
  expect(await second).toEqual([{ name: 'declared', change: 'unchanged' }]);
});
