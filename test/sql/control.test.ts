import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const runNow = (db: Engine, ids: (string | null)[]) =>
  db.rows('select * from howdah.run_now($1)', [ids]);

describe('cancel', () => {
  test('ends what waits, asks for what runs, tells the rest', async ({ db }) => {
    await db.createQueue('cancel');
    const lease = await db.openLease();
    const [running, finished, waiting] = await db.enqueue('cancel', 3);
    const [first, second] = await db.claim('cancel', lease, 2);
    if (!first || !second || !running || !finished || !waiting)
      throw new Error('three were enqueued');
    await db.complete(lease, [second]);
    const [later] = await db.enqueue('cancel', 1, { delay_ms: 60_000 });
    const rows = await db.rows('select * from howdah.cancel($1, $2)', [
      [waiting, later, running, finished, '999999', waiting],
      'no more',
    ]);
    expect(Object.fromEntries(rows.map(({ id, outcome }) => [id, outcome]))).toEqual({
      [waiting]: 'cancelled',
      [String(later)]: 'cancelled',
      [running]: 'requested',
      [finished]: 'finished',
      999999: 'unknown',
    });
    expect(
      await db.rows('select state, reason from howdah.history where id = $1', [waiting]),
    ).toEqual([{ state: 'cancelled', reason: 'no more' }]);
    expect(
      await db.rows('select howdah.cancel_requests($1, $2) as id', [lease, [running, waiting]]),
    ).toEqual([{ id: running }]);
    expect(await db.rows('select howdah.cancel_requests($1, $2) as id', ['1', [running]])).toEqual(
      [],
    );
    expect(await db.rows('select * from howdah.heartbeat($1)', [lease])).toEqual([
      { alive: true, attention: true },
    ]);
    expect(await db.rows('select * from howdah.heartbeat($1)', [lease])).toEqual([
      { alive: true, attention: false },
    ]);
    expect(await db.rows('select * from howdah.cancel($1)', [[]])).toEqual([]);
    await db.expectTruth();
  });

  test('what runs keeps the reason that was given, however its attempt ends', async ({ db }) => {
    await db.createQueue('why');
    await db.enqueue('why', 5);
    const lease = await db.openLease();
    const jobs = await db.claim('why', lease, 5);
    const ids = jobs.map(({ id }) => id);
    await db.rows('select howdah.cancel($1, $2)', [ids, 'a wrong address']);
    await db.cancel(...ids); // without a reason, the one before stays
    const [worker, failed, released, snoozed] = jobs;
    if (!worker || !failed || !released || !snoozed) throw new Error('five were enqueued');
    await db.end(lease, worker, 'cancel', { reason: 'cancelled while it ran' });
    await db.end(lease, failed, 'fail');
    await db.end(lease, released, 'release');
    await db.end(lease, snoozed, 'snooze');
    await db.killLease(lease);
    await db.reap();
    expect(await db.rows(`select state, reason from howdah.history where queue = 'why'`)).toEqual(
      Array(5).fill({ state: 'cancelled', reason: 'a wrong address' }),
    );
  });

  test('a request outlives the worker', async ({ db }) => {
    await db.createQueue('orphans');
    const [id] = await db.enqueue('orphans');
    const lease = await db.openLease();
    await db.claimOne('orphans', lease);
    await db.cancel(String(id));
    await db.killLease(lease);
    await db.reap();
    expect(await db.state(String(id))).toBe('cancelled');
    await db.expectTruth();
  });
});

const cancelJobs = async (db: Engine, filter: unknown, ...more: unknown[]) => {
  const [reason = null, limit = 10_000, preview = false] = more;
  const [row] = await db.rows('select * from howdah.cancel_jobs($1::text::jsonb, $2, $3, $4)', [
    JSON.stringify(filter),
    reason,
    limit,
    preview,
  ]);
  return row;
};

describe('cancel_jobs', () => {
  test('ends what the filter fits, in parts, and asks what runs to stop', async ({ db }) => {
    await db.createQueue('many');
    await db.createQueue('others');
    await db.enqueue('others');
    await db.enqueue('many', 3);
    await db.enqueue('many', 2, { delay_ms: 60_000 });
    await db.enqueue('many', 3, { group: 'g' });
    const lease = await db.openLease();
    await db.claim('many', lease, 1);
    const filter = { queue: 'many' };
    expect(await cancelJobs(db, filter, null, 100, true)).toEqual({
      cancelled: 7,
      requested: 1,
      refused: [],
      more: false,
    });
    let [cancelled, requested, calls] = [0, 0, 0];
    for (let more = true; more; calls += 1) {
      const row = await cancelJobs(db, filter, 'stop it', 3);
      cancelled += Number(row?.cancelled);
      requested += Number(row?.requested);
      more = row?.more === true;
    }
    expect({ cancelled, requested, calls }).toEqual({ cancelled: 7, requested: 1, calls: 3 });
    expect(await db.stats('many')).toMatchObject({ ready: '0', scheduled: '0', blocked: '0' });
    expect(await db.stats('others')).toMatchObject({ ready: '1' });
    // asked once, what runs does not match any more
    expect(await cancelJobs(db, filter)).toMatchObject({ cancelled: 0, requested: 0, more: false });
    await db.expectTruth();
  });

  test('narrows by state, group, time and payload', async ({ db }) => {
    await db.createQueue('narrow');
    const [early] = await db.enqueue('narrow', 1, { payload: { a: 1, b: 2 } });
    await db.enqueue('narrow', 2, { payload: { a: 2 } });
    await db.enqueue('narrow', 2, { group: 'x' });
    await db.enqueue('narrow', 1, { group: 'y', delay_ms: 60_000 });
    await db.rows(
      `update howdah._jobs set enqueued_at = enqueued_at - interval '1 hour' where id = $1`,
      [early],
    );
    const count = async (more: object) => {
      const row = await cancelJobs(db, { queue: 'narrow', ...more }, null, 100, true);
      return Number(row?.cancelled) + Number(row?.requested);
    };
    expect(await count({})).toBe(6);
    expect(await count({ state: 'ready' })).toBe(4);
    expect(await count({ state: ['blocked', 'scheduled'] })).toBe(2);
    expect(await count({ state: 'running' })).toBe(0);
    expect(await count({ group: 'x' })).toBe(2);
    expect(await count({ payload: { a: 2 } })).toBe(2);
    expect(await count({ older_than_ms: 60_000 })).toBe(1);
    expect(await count({ until: new Date(Date.now() - 60_000) })).toBe(1);
    expect(await count({ since: new Date(Date.now() - 60_000) })).toBe(5);
  });

  test('a job that has begun meanwhile is spared where only ready ones were meant', async ({
    db,
  }) => {
    await db.createQueue('spared');
    const [id] = await db.enqueue('spared');
    const lease = await db.openLease();
    await db.claim('spared', lease, 1);
    expect(await db.rows('select * from howdah.cancel($1, null, false)', [[id]])).toEqual([
      { id, outcome: 'running', why: 'it has begun meanwhile' },
    ]);
    expect(await db.rows('select * from howdah.cancel($1)', [[id, '999999999']])).toEqual([
      { id, outcome: 'requested', why: 'it runs: its worker has been told to stop' },
      { id: '999999999', outcome: 'unknown', why: 'no such job, or no longer in the history' },
    ]);
  });

  test('a cancelled head lets its group go on', async ({ db }) => {
    await db.createQueue('fifo');
    const [head, next] = await db.enqueue('fifo', 2, { group: 'g' });
    expect(await cancelJobs(db, { queue: 'fifo', state: 'ready' })).toMatchObject({ cancelled: 1 });
    expect(await db.state(String(head))).toBe('cancelled');
    const lease = await db.openLease();
    expect((await db.claimOne('fifo', lease)).id).toBe(next);
    await db.expectTruth();
  });

  test('10,000 ready jobs at once', async ({ db }) => {
    await db.createQueue('flood');
    for (let i = 0; i < 10; i += 1) await db.enqueue('flood', 1000);
    expect(await cancelJobs(db, { queue: 'flood', state: 'ready' })).toMatchObject({
      cancelled: 10_000,
    });
    await db.expectTruth();
  });

  test('refuses a filter that is wrong', async ({ db }) => {
    await db.createQueue('wrong');
    for (const filter of [
      [],
      { kind: 1 },
      { state: 'dead' },
      { state: [] },
      { state: 7 },
      { since: 'soon' },
      { older_than_ms: 'x' },
    ]) {
      expect(await sqlError(cancelJobs(db, filter)), JSON.stringify(filter)).toMatchObject({
        code: 'HW030',
        hint: expect.any(String),
      });
    }
    expect(await sqlError(cancelJobs(db, { queue: 'nowhere' }))).toMatchObject({ code: 'HW001' });
  });
});

describe('run_now', () => {
  test('hurries what waits', async ({ db }) => {
    await db.createQueue('hurry');
    const [later] = await db.enqueue('hurry', 1, { delay_ms: 3_600_000 });
    const [ready] = await db.enqueue('hurry');
    const lease = await db.openLease();
    const ids = [String(later), String(ready), '999999'];
    expect(await runNow(db, ids)).toEqual([
      { id: later, outcome: 'ready' },
      { id: ready, outcome: 'ready' },
      { id: '999999', outcome: 'unknown' },
    ]);
    expect(Number((await db.stats('hurry')).backlog_age_ms)).toBeGreaterThanOrEqual(0);
    const jobs = await db.claim('hurry', lease, 9);
    expect(jobs.map(({ id }) => id)).toEqual([ready, later]);
    expect(await runNow(db, [String(later)])).toEqual([{ id: later, outcome: 'running' }]);
    const [job] = jobs;
    if (job) await db.end(lease, job, 'dead_letter');
    expect(await runNow(db, [String(ready)])).toEqual([{ id: ready, outcome: 'ready' }]);
    expect(await db.job(String(ready))).toMatchObject({
      queue: 'hurry',
      state: 'ready',
      attempt: 0,
    });
    await db.complete(lease, await db.claim('hurry', lease, 9));
    expect(await runNow(db, [String(ready)])).toEqual([{ id: ready, outcome: 'finished' }]);
    await db.expectTruth();
  });
});

describe('pause and resume', () => {
  test('keep the first time and the last reason; unknown queues are refused', async ({ db }) => {
    await db.createQueue('pause');
    await db.rows(`select howdah.pause_queue('pause', 'one')`);
    const at = await db.one(`select paused_at from howdah.queue_policies where queue = 'pause'`);
    await db.rows(`select howdah.pause_queue('pause', repeat('x', 900))`);
    expect(
      await db.one(`select paused_at from howdah.queue_policies where queue = 'pause'`),
    ).toEqual(at);
    expect(await db.stats('pause')).toMatchObject({ paused: true, paused_reason: 'x'.repeat(500) });
    await db.rows(`select howdah.resume_queue('pause')`);
    expect(await db.stats('pause')).toMatchObject({ paused: false, paused_reason: null });
    for (const call of [
      `pause_queue('nowhere')`,
      `resume_queue('nowhere')`,
      `delete_queue('nowhere')`,
      `pause_queue(null)`,
      `pause_queue('no-where*')`,
      `resume_queue('')`,
    ]) {
      expect(await sqlError(db.rows(`select howdah.${call}`))).toMatchObject({
        code: 'HW001',
        hint: expect.any(String),
      });
    }
  });
});

describe('a name with a *', () => {
  test('means every queue that fits, and nothing else', async ({ db }) => {
    for (const queue of ['mail.out', 'mail.in_box', 'mail.inxbox', 'mailbox']) {
      await db.createQueue(queue);
    }
    const names = (call: string) => db.one<string[]>(`select howdah.${call}`);
    const paused = async () =>
      (
        await db.rows<{ queue: string }>(
          `select queue from howdah.queue_stats where paused and queue like 'mail%' order by 1`,
        )
      ).map(({ queue }) => queue);
    expect(await names(`pause_queue('mail.*', 'storm')`)).toEqual([
      'mail.in_box',
      'mail.inxbox',
      'mail.out',
    ]);
    expect(await paused()).toEqual(['mail.in_box', 'mail.inxbox', 'mail.out']);
    expect(await names(`resume_queue('*in_box')`)).toEqual(['mail.in_box']);
    expect(await paused()).toEqual(['mail.inxbox', 'mail.out']);
    expect(await names(`close_queue('mail*x', 'over')`)).toEqual([
      'mail.in_box',
      'mail.inxbox',
      'mailbox',
    ]);
    expect(await names(`open_queue('mailb*')`)).toEqual(['mailbox']);
    expect((await sqlError(names(`resume_queue('mail%')`))).code).toBe('HW001');
    await db.rows(`select howdah.delete_queue('mail.out')`);
    expect(await names(`resume_queue('mail.*')`)).toHaveLength(2);
  });
});

describe('delete_queue', () => {
  const remove = (db: Engine, name: string, force = false) =>
    db.rows('select howdah.delete_queue($1, $2)', [name, force]);

  test('refuses while jobs are there; forced, it discards what waits', async ({ db }) => {
    await db.createQueue('doomed');
    const [running, waiting] = await db.enqueue('doomed', 2);
    const [later] = await db.enqueue('doomed', 1, { delay_ms: 60_000 });
    const lease = await db.openLease();
    const job = await db.claimOne('doomed', lease);
    expect(await sqlError(remove(db, 'doomed'))).toMatchObject({
      code: 'HW005',
      hint: expect.stringContaining('force'),
    });
    await remove(db, 'doomed', true);
    expect(await db.state(String(waiting))).toBe('discarded');
    expect(await db.state(String(later))).toBe('discarded');
    expect(await sqlError(db.enqueue('doomed'))).toMatchObject({ code: 'HW001' });
    expect(await sqlError(db.claim('doomed', lease))).toMatchObject({ code: 'HW001' });
    // its worker is not disturbed; what it leaves is kept with the dead
    expect(await db.end(lease, job, 'fail', { delay_ms: 0 })).toBe('ready');
    await db.rows('select * from howdah.prune()');
    expect(await db.job(String(running))).toMatchObject({
      state: 'dead',
      queue: 'dead-letters',
      dead_reason: 'queue deleted',
    });
    await db.expectTruth();
  });

  test('a new queue of the same name is another one', async ({ db }) => {
    const id = await db.createQueue('reborn', { max_attempts: 2 });
    await remove(db, 'reborn');
    expect(await db.createQueue('reborn')).not.toBe(id);
    expect(
      await db.rows(`select max_attempts from howdah.queue_policies where queue = 'reborn'`),
    ).toEqual([{ max_attempts: 10 }]);
  });

  test('leaves no dead in a deleted dead-letter queue', async ({ db }) => {
    await db.createQueue('tomb');
    await db.createQueue('alive', { dead_letter_queue: 'tomb' });
    await db.enqueue('alive', 2);
    const lease = await db.openLease();
    for (const job of await db.claim('alive', lease, 2)) await db.end(lease, job, 'dead_letter');
    const [first, second] = await db.claim('tomb', lease, 2);
    if (!first || !second) throw new Error('two were dead');
    expect(await sqlError(remove(db, 'tomb'))).toMatchObject({ code: 'HW005' });
    await remove(db, 'tomb', true);
    expect(
      await db.rows(`select dead_letter_queue from howdah.queue_policies where queue = 'alive'`),
    ).toEqual([{ dead_letter_queue: 'dead-letters' }]);
    expect(await db.end(lease, first, 'dead_letter')).toBe('dead');
    expect(await db.end(lease, second, 'release')).toBe('ready');
    for (let i = 0; i < 3; i += 1) await db.rows('select * from howdah.prune()');
    for (const { id } of [first, second]) {
      expect(await db.job(id)).toMatchObject({
        state: 'dead',
        queue: 'dead-letters',
        origin_queue: 'alive',
      });
    }
    expect(await db.stats('alive')).toMatchObject({ buried: '2' });
    expect(
      await db.one(`select sum(buried)::int from (select queue_id, buried from howdah._counters
      union all select queue_id, buried from howdah._counter_deltas) c join howdah._queues q on q.id = queue_id
      where q.name = 'tomb'`),
    ).toBe(2);
    await db.expectTruth();
  });

  test('the default dead-letter queue stays', async ({ db }) => {
    expect(await sqlError(remove(db, 'dead-letters', true))).toMatchObject({
      code: 'HW005',
      hint: expect.any(String),
    });
  });
});

test('a limit of none, or less, leaves nothing more to do', async ({ db }) => {
  for (const limit of [0, -5, null]) {
    const [row] = await db.rows('select * from howdah.cancel_jobs($1, null, $2)', [{}, limit]);
    expect(row).toMatchObject({ cancelled: 0, requested: 0, more: false });
  }
});
