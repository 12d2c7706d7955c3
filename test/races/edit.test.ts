import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sessions.js';

const edit = (db: Engine, id: string | undefined, changes: object): Promise<string> =>
  db.one('select howdah.edit_job($1, $2::text::jsonb)', [id, JSON.stringify(changes)]);

describe('edit against claim', () => {
  test('an edit under way hides the job from claims, which then get what is new', async ({
    a,
    db,
  }) => {
    await db.createQueue('edit-first');
    const [id] = await db.enqueue('edit-first');
    const lease = await db.openLease();
    await a.begin();
    await edit(a, id, { payload: 'new' });
    expect(await db.claim('edit-first', lease)).toEqual([]);
    await a.commit();
    expect(await db.claimOne('edit-first', lease)).toMatchObject({ id, payload: 'new' });
    await db.expectTruth();
  });

  test('claimed first, the edit waits and is refused', async ({ a, b, db }) => {
    await db.createQueue('claim-first');
    const [id] = await db.enqueue('claim-first');
    const lease = await db.openLease();
    await a.begin();
    await a.claim('claim-first', lease);
    const [late] = await b.blocks((session) => sqlError(edit(session, id, { payload: 'new' })));
    await a.commit();
    expect(await late).toMatchObject({ code: 'HW181' });
    expect(await db.job(String(id))).toMatchObject({ payload: 1, state: 'running' });
    await db.expectTruth();
  });
});

describe('edit against the end of another', () => {
  test('a blocked job that gets its turn meanwhile is edited as a ready one', async ({
    a,
    b,
    db,
  }) => {
    await db.createQueue('turn');
    const [, next] = await db.enqueue('turn', 2, { group: 'g' });
    const lease = await db.openLease();
    const head = await db.claimOne('turn', lease);
    await a.begin();
    await a.complete(lease, [head]);
    const [late] = await b.blocks((session) => edit(session, next, { payload: 'n', priority: 3 }));
    await a.commit();
    expect(await late).toBe('ready');
    expect(await db.claimOne('turn', lease)).toMatchObject({ id: next, payload: 'n' });
    await db.expectTruth();
  });

  test('two edits at once both count', async ({ a, b, db }) => {
    await db.createQueue('both');
    const [id] = await db.enqueue('both');
    await a.begin();
    await edit(a, id, { payload: 'a', delay_ms: 60_000 });
    const [late] = await b.blocks((session) => edit(session, id, { priority: 7 }));
    await a.commit();
    expect(await late).toBe('scheduled');
    expect(await db.job(String(id))).toMatchObject({ payload: 'a', priority: 7 });
    await db.expectTruth();
  });

  test('a due job that a worker waits for is not held by edits that take turns', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('restless');
    const [id] = await db.enqueue('restless');
    const lease = await db.openLease();
    await db.rows('select howdah.sleep($1, $2)', [lease, ['restless']]);
    await db.shiftClock(1000);
    await a.begin();
    await a.one(`select howdah.edit_job($1, '{"payload": 2}')`, [id]);
    expect(
      await sqlError(b.one(`select howdah.edit_job($1, '{"payload": 3}')`, [id])),
    ).toMatchObject({
      code: 'HW181',
    });
    await a.commit();
    expect(await db.claimOne('restless', lease)).toMatchObject({ id, payload: 2 });
    await db.shiftClock(0);
  });

  test('cancelled first, the edit is refused', async ({ a, b, db }) => {
    await db.createQueue('cancelled');
    const [id] = await db.enqueue('cancelled');
    await a.begin();
    await a.cancel(String(id));
    const [late] = await b.blocks((session) => sqlError(edit(session, id, { priority: 7 })));
    await a.commit();
    expect(await late).toMatchObject({ code: 'HW182' });
    await db.expectTruth();
  });

  test('a new priority of a blocked job and of an enqueue into its group do not deadlock', async ({
    a,
    b,
    db,
  }) => {
    await db.createQueue('lanes');
    const [, next] = await db.enqueue('lanes', 2, { group: 'g' });
    await a.begin();
    await a.enqueue('lanes', 1, { priority: 50 });
    expect(await edit(b, next, { priority: 60 })).toBe('blocked');
    await a.enqueue('lanes', 1, { group: 'g' }); // wants the group
    await a.commit();
    await db.expectTruth();
  });
});

test('cancel by filter spares what begins meanwhile, and says why', async ({ a, b, db }) => {
  await db.createQueue('spare');
  const [begun, waiting] = await db.enqueue('spare', 2);
  const lease = await db.openLease();
  await a.begin();
  await a.claim('spare', lease);
  const [late] = await b.blocks((session) =>
    session.rows(`select * from howdah.cancel_jobs('{"queue": "spare", "state": "ready"}')`),
  );
  await a.commit();
  expect(await late).toEqual([
    {
      cancelled: 1,
      requested: 0,
      refused: [{ id: Number(begun), outcome: 'running', why: 'it has begun meanwhile' }],
      more: false,
    },
  ]);
  expect(await db.state(String(begun))).toBe('running');
  expect(await db.state(String(waiting))).toBe('cancelled');
  await db.expectTruth();
});

test('who begins to wait while the end is under way is found by a second look', async ({
  a,
  db,
}) => {
  await db.createQueue('late');
  const [id = ''] = await db.enqueue('late');
  const lease = await db.openLease();
  const client = await db.openLease('client');
  const job = await db.claimOne('late', lease);
  await a.begin();
  await a.complete(lease, [job]);
  const look = (add: string[], again: string[]) =>
    db.rows('select id, state from howdah.watch($1, $2, $3, $3, $4)', [client, add, [], again]);
  expect(await look([id], [])).toEqual([]);
  await a.commit();
  expect(await look([], [id])).toEqual([{ id, state: 'completed' }]);
});

test('a stale report does not overwrite that of the next attempt', async ({ a, b, db }) => {
  await db.createQueue('stale-report');
  const [id] = await db.enqueue('stale-report');
  const lost = await db.openLease();
  await db.claim('stale-report', lost);
  const report = (session: Engine, lease: string, attempt: number, progress: string) =>
    session.rows('select * from howdah.report($1, $2::text::jsonb)', [
      lease,
      JSON.stringify([{ id, attempt, progress }]),
    ]);
  await db.killLease(lost);
  await db.reap();
  const lease = await db.openLease();
  await db.claim('stale-report', lease);
  await a.begin();
  await report(a, lease, 2, 'new');
  // the row as a worker would write it that has passed the fence just before
  const [late] = await b.blocks((session) =>
    session.rows(
      `insert into howdah._reports as r (job_id, attempt, progress, reported_at)
      values ($1, 1, '"old"', now()) on conflict (job_id) do update set progress = excluded.progress
      where r.attempt <= excluded.attempt returning progress`,
      [id],
    ),
  );
  await a.commit();
  expect(await late).toEqual([]);
  expect(await db.rows('select progress from howdah.job_progress where id = $1', [id])).toEqual([
    { progress: 'new' },
  ]);
});
