import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const edit = (db: Engine, id: string | undefined, changes: unknown): Promise<string> =>
  db.one('select howdah.edit_job($1, $2::text::jsonb)', [id, JSON.stringify(changes)]);

describe('edit_job', () => {
  test('looks at the payload only where it is changed', async ({ db }) => {
    await db.createQueue('shrunk', { payload_bytes_max: 1000 });
    const [id] = await db.enqueueRows([{ queue: 'shrunk', payload: 'x'.repeat(900) }]);
    await db.rows(`select howdah.alter_queue('shrunk', '{"payload_bytes_max": 100}')`);
    expect(await edit(db, String(id?.id), { priority: 5 })).toBe('ready');
    expect(await sqlError(edit(db, String(id?.id), { payload: 'y'.repeat(900) }))).toMatchObject({
      code: 'HW011',
    });
    await db.expectTruth();
  });

  test('changes payload, headers, priority and time of what waits', async ({ db }) => {
    await db.createQueue('edit');
    const [first, second, later] = await db.enqueue('edit', 3);
    expect(await edit(db, first, { payload: { n: 1 }, headers: { by: 'me' } })).toBe('ready');
    expect(await edit(db, second, { priority: 5 })).toBe('ready');
    expect(await edit(db, later, { delay_ms: 3_600_000 })).toBe('scheduled');
    expect(await db.job(String(later))).toMatchObject({ state: 'scheduled', payload: 3 });
    await db.expectTruth();
    const lease = await db.openLease();
    const jobs = await db.claim('edit', lease, 9);
    expect(jobs.map(({ id, payload, headers }) => ({ id, payload, headers }))).toEqual([
      { id: second, payload: 2, headers: null },
      { id: first, payload: { n: 1 }, headers: { by: 'me' } },
    ]);
    // back to now; headers go away
    await edit(db, later, { headers: { a: 1 } });
    expect(await edit(db, later, { delay_ms: 0, headers: null })).toBe('ready');
    expect(await db.job(String(later))).toMatchObject({ state: 'ready', headers: null });
    expect(await edit(db, later, { run_at: '2100-01-01T00:00:00Z' }).catch(() => 'refused')).toBe(
      'refused',
    );
    const [job] = await db.claim('edit', lease, 9);
    expect(job?.id).toBe(later);
    await db.expectTruth();
  });

  test('a cursor that has passed the job does not hide it in its new lane', async ({ db }) => {
    await db.createQueue('cursor');
    const [low] = await db.enqueue('cursor');
    await db.enqueue('cursor', 3, { priority: 7 });
    const lease = await db.openLease();
    const high = await db.claim('cursor', lease, 3);
    expect(await edit(db, low, { priority: 7 })).toBe('ready');
    const cursors = { 187: String(high.at(-1)?.seq) };
    expect((await db.claim('cursor', lease, 3, cursors)).map(({ id }) => id)).toEqual([low]);
    await db.expectTruth();
  });

  test('the waiting TTL moves with the time', async ({ db }) => {
    await db.createQueue('ttl');
    const [id] = await db.enqueue('ttl', 1, { ttl_ms: 10_000 });
    await edit(db, id, { delay_ms: 60_000 });
    expect(
      await db.one(
        `select round(extract(epoch from expires_at - run_at))::int from howdah.job_states where id = $1`,
        [id],
      ),
    ).toBe(10);
  });

  test('members of a group keep their place', async ({ db }) => {
    await db.createQueue('grouped');
    const [head, next, last] = await db.enqueue('grouped', 3, { group: 'g' });
    expect(await edit(db, next, { payload: 'new', delay_ms: 0, priority: 9 })).toBe('blocked');
    expect(await edit(db, head, { delay_ms: 3_600_000 })).toBe('scheduled');
    const lease = await db.openLease();
    expect(await db.claim('grouped', lease, 3)).toEqual([]);
    expect(await edit(db, head, { delay_ms: 0 })).toBe('ready');
    for (const id of [head, next, last]) {
      const job = await db.claimOne('grouped', lease);
      expect(job.id).toBe(id);
      if (id === next) expect(job.payload).toBe('new');
      await db.complete(lease, [job]);
    }
    await db.expectTruth();
  });

  test('a bounded queue counts the new bytes, and refuses too many', async ({ db }) => {
    await db.createQueue('bounded', { max_bytes: 100 });
    const [id, other] = await db.enqueue('bounded', 2, { payload: 'x'.repeat(38) });
    expect(await edit(db, id, { payload: 'x'.repeat(48) })).toBe('ready');
    expect(await db.stats('bounded')).toMatchObject({ waiting_bytes: '90' });
    await db.expectTruth();
    expect(await sqlError(edit(db, other, { payload: 'x'.repeat(60) }))).toMatchObject({
      code: 'HW040',
      detail: expect.stringContaining('"bound": 100'),
    });
    expect(await edit(db, id, { payload: 1 })).toBe('ready');
    expect(await db.stats('bounded')).toMatchObject({ waiting_bytes: '41' });
    await db.expectTruth();
  });

  test('weight and limits stay', async ({ db }) => {
    await db.createQueue('heavy', { concurrency_max: 5 });
    const [id] = await db.enqueue('heavy', 1, { weight: 5 });
    await edit(db, id, { payload: 'y', priority: 1 });
    const lease = await db.openLease();
    await db.claimOne('heavy', lease);
    expect(await db.one('select permit from howdah._jobs where id = $1', [id])).toBe(5);
    await db.expectTruth();
  });

  test('what runs, has ended, is dead or is not there is refused', async ({ db }) => {
    await db.createQueue('refused');
    await db.enqueue('refused', 2);
    const lease = await db.openLease();
    const [running, dead] = await db.claim('refused', lease, 2);
    if (!running || !dead) throw new Error('two were enqueued');
    const refusal = (id: string | undefined) => sqlError(edit(db, id, { priority: 1 }));
    expect(await refusal(running.id)).toMatchObject({ code: 'HW181', hint: expect.any(String) });
    await db.end(lease, dead, 'dead_letter');
    expect(await refusal(dead.id)).toMatchObject({ code: 'HW182', message: /is dead/ });
    await db.complete(lease, [running]);
    expect(await refusal(running.id)).toMatchObject({ code: 'HW182', message: /it is completed/ });
    expect(await refusal('999999999')).toMatchObject({ code: 'HW180' });
    expect(await sqlError(edit(db, null as never, { priority: 1 }))).toMatchObject({
      code: 'HW180',
    });
    await db.expectTruth();
  });

  test('what is asked for is checked as an enqueue is', async ({ db }) => {
    await db.createQueue('checked', { payload_bytes_max: 20 });
    const [id] = await db.enqueue('checked');
    const before = await db.job(String(id));
    for (const [changes, code] of [
      [{}, 'HW183'],
      [[], 'HW183'],
      [null, 'HW183'],
      [{ weight: 2 }, 'HW183'],
      [{ delay_ms: 1, run_at: '2030-01-01T00:00:00Z' }, 'HW183'],
      [{ priority: 101 }, 'HW012'],
      [{ priority: 'x' }, 'HW012'],
      [{ delay_ms: -1 }, 'HW013'],
      [{ run_at: 'soon' }, 'HW014'],
      [{ headers: 3 }, 'HW015'],
      [{ payload: 'x'.repeat(30) }, 'HW011'],
    ] as const) {
      expect(await sqlError(edit(db, id, changes)), JSON.stringify(changes)).toMatchObject({
        code,
        hint: expect.any(String),
      });
    }
    expect(await db.job(String(id))).toEqual(before);
  });

  test('the waiting TTL moves with the time, and with nothing else', async ({ db }) => {
    await db.createQueue('lasting');
    const [id] = await db.enqueue('lasting', 1, { ttl_ms: 60_000 });
    const end = async () =>
      Number(
        await db.one(
          `select 10 * round(extract(epoch from expires_at - enqueued_at) / 10) from howdah._jobs where id = $1`,
          [id],
        ),
      );
    for (let minute = 1; minute <= 3; minute++) {
      await db.shiftClock(minute * 10_000);
      await edit(db, id, { payload: minute, priority: minute });
    }
    expect(await end()).toBe(60);
    // its wait begins again when it is due; a time that is over means now
    await edit(db, id, { delay_ms: 10_000 });
    expect(await end()).toBe(100);
    await edit(db, id, { run_at: '2020-01-01T00:00:00Z' });
    await edit(db, id, { run_at: '2020-01-01T00:00:00Z' });
    expect(await end()).toBe(90);
    await db.shiftClock(0);
  });
});
