import { describe, expect } from 'vitest';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sql-test.js';

/** A lease claims, and its worker dies. @returns the ids it held */
async function crash(db: Engine, queue: string, limit: number): Promise<string[]> {
  const lease = await db.openLease();
  const ids = (await db.claim(queue, lease, limit)).map(({ id }) => id);
  await db.killLease(lease);
  await db.reap();
  return ids;
}

async function lanesOf(db: Engine, queue: string): Promise<number[]> {
  const rows = await db.rows<{ lane: number }>(
    'select j.lane from howdah._jobs j join howdah._queues q on q.id = j.queue_id where q.name = $1 order by j.id',
    [queue],
  );
  return rows.map(({ lane }) => lane);
}

describe('suspects', () => {
  test('after one crash a few at once, after two alone, and nothing beside them', async ({
    db,
  }) => {
    await db.createQueue('ladder');
    const ids = await db.enqueue('ladder', 8);
    expect(await crash(db, 'ladder', 8)).toEqual(ids);
    await db.enqueue('ladder', 5);
    expect(await crash(db, 'ladder', 8)).toEqual(ids.slice(0, 2));
    expect((await lanesOf(db, 'ladder')).slice(0, 3)).toEqual([-1800, -1800, -800]);

    const lease = await db.openLease();
    expect((await db.claim('ladder', lease, 100)).map(({ id }) => id)).toEqual([ids[0]]);
    expect((await db.claim('ladder', lease, 100)).map(({ id }) => id)).toEqual([ids[1]]);
    const rest = await db.claim('ladder', lease, 500);
    expect(rest.map(({ id }) => id)).toEqual(ids.slice(2));
    expect(await db.claim('ladder', lease, 100)).toHaveLength(5);
    await db.closeLease(lease);
    await db.expectTruth();
  });

  test('of many no more than 32 at once', async ({ db }) => {
    await db.createQueue('many');
    await db.enqueue('many', 200);
    await crash(db, 'many', 200);
    const lease = await db.openLease();
    expect(await db.claim('many', lease, 500)).toHaveLength(32);
    expect(await db.claim('many', lease, 40)).toHaveLength(10);
    expect(await db.claim('many', lease, 1)).toHaveLength(1);
    await db.closeLease(lease);
    await db.expectTruth();
  });

  test('only who was alone is buried for its crashes', async ({ db }) => {
    await db.createQueue('low', { max_crashes: 1 });
    const ids = await db.enqueue('low', 3);
    await crash(db, 'low', 3);
    expect(await db.stats('low')).toMatchObject({ ready: '3', dead: '0' });
    expect(await crash(db, 'low', 3)).toEqual([ids[0]]);
    expect(await db.job(String(ids[0]))).toMatchObject({
      state: 'dead',
      dead_reason: 'crashed its worker',
      last_error: 'worker tester stopped renewing its lease while it ran this job alone',
    });
    const lease = await db.openLease();
    for (const id of ids.slice(1)) {
      const job = await db.claimOne('low', lease);
      expect(job.id).toBe(id);
      expect(await db.end(lease, job, 'complete')).toBe('completed');
    }
    await db.expectTruth();
  });

  test('a last attempt that ended among others is given once more, alone; a single one is not', async ({
    db,
  }) => {
    await db.createQueue('two', { max_attempts: 2 });
    const [a, b] = await db.enqueue('two', 2);
    const [once] = await db.enqueue('two', 1, { max_attempts: 1 });
    const first = await db.openLease();
    for (const job of await db.claim('two', first, 2))
      await db.end(first, job, 'fail', { delay_ms: 0 });
    expect(await crash(db, 'two', 3)).toEqual([once, a, b]);
    expect(await db.state(String(once))).toBe('dead');
    expect(await lanesOf(db, 'two')).toEqual([-1800, -1800]);
    const last = await db.openLease();
    const again = await db.claimOne('two', last);
    expect(again).toMatchObject({ id: a, attempt: 3, uncounted: 1 });
    expect(await db.end(last, again, 'fail')).toBe('dead');
    expect(await crash(db, 'two', 9)).toEqual([b]);
    expect(await db.job(String(b))).toMatchObject({ dead_reason: 'attempts exhausted' });
    await db.expectTruth();
  });

  test('an attempt that ends in order clears a job; one given back unbegun stays a suspect', async ({
    db,
  }) => {
    await db.createQueue('clear', { backoff_ms: 0, backoff_jitter: 0 });
    const [id] = await db.enqueue('clear', 1, { priority: 5 });
    await crash(db, 'clear', 1);
    const lease = await db.openLease();
    await db.end(lease, await db.claimOne('clear', lease), 'release');
    expect(await lanesOf(db, 'clear')).toEqual([-810]);
    expect(await db.job(String(id))).toMatchObject({ priority: 5, crashes: 1 });
    await db.end(lease, await db.claimOne('clear', lease), 'fail');
    expect(await lanesOf(db, 'clear')).toEqual([191]);
    // it is still known that it crashed once
    await crash(db, 'clear', 1);
    expect(await lanesOf(db, 'clear')).toEqual([-1810]);
    await db.end(lease, await db.claimOne('clear', lease), 'dead_letter');
    expect(await db.job(String(id))).toMatchObject({ state: 'dead', priority: 5, crashes: 0 });
    await db.expectTruth();
  });

  test('set aside: not begun, so neither crash nor attempt counts', async ({ db }) => {
    await db.createQueue('aside');
    const [id] = await db.enqueue('aside');
    await crash(db, 'aside', 1);
    const lease = await db.openLease();
    await db.claimOne('aside', lease);
    expect(await db.one('select howdah.set_aside($1, $2)', [lease, [id]])).toBe(true);
    await db.killLease(lease);
    await db.reap();
    expect(await db.job(String(id))).toMatchObject({ state: 'ready', crashes: 1, attempt: 1 });
    expect(await db.one('select howdah.set_aside($1, null)', [lease])).toBe(false);
    await db.expectTruth();
  });

  test('in company: a crash counts, and nobody is buried for it; alone at the next one it is', async ({
    db,
  }) => {
    await db.createQueue('company', { max_crashes: 2 });
    const [id] = await db.enqueue('company');
    await crash(db, 'company', 1);
    for (const crashes of [2, 3]) {
      const lease = await db.openLease();
      await db.claimOne('company', lease);
      const said = await db.one('select howdah.set_aside($1, null, $2)', [lease, [id]]);
      expect(said).toBe(true);
      await db.killLease(lease);
      await db.reap();
      expect(await db.job(String(id))).toMatchObject({ state: 'ready', crashes });
      expect(await lanesOf(db, 'company')).toEqual([-1800]);
    }
    await crash(db, 'company', 1);
    expect(await db.job(String(id))).toMatchObject({ dead_reason: 'crashed its worker' });
    await db.expectTruth();
  });

  test('keep their turn in their group, and their permit is counted', async ({ db }) => {
    await db.createQueue('seam', { concurrency_max: 3 });
    const [head, next] = await db.enqueue('seam', 2, { group: 'g' });
    await db.enqueue('seam', 2);
    await crash(db, 'seam', 9);
    expect(await db.state(String(next))).toBe('blocked');
    const lease = await db.openLease();
    const claimed: string[] = [];
    for (let n = 0; n < 4; n += 1) {
      const job = await db.claimOne('seam', lease);
      claimed.push(job.id);
      await db.complete(lease, [job]);
      await db.expectTruth();
    }
    expect(claimed[0]).toBe(head);
    expect(claimed[3]).toBe(next);
  });

  test('of a turn only who ran is one: those behind it keep their places, and run when it is dead', async ({
    db,
  }) => {
    await db.createQueue('turns', { max_crashes: 2 });
    const ids = await db.enqueue('turns', 4, { group: 'g' });
    const claimTurn = async (lease: string) => {
      const [row] = await db.rows<{ ids: string }>(
        `select ids from howdah.claim_many('turns', $1, 10, '{}', '{}', 4) where lane is not null`,
        [lease],
      );
      return row?.ids.split(',');
    };
    const killAfter = async (lease: string) => {
      await db.killLease(lease);
      await db.reap();
      await db.expectTruth();
    };
    const crashes = async () =>
      (
        await db.rows<{ crashes: number }>(
          'select crashes from howdah._jobs where id = any ($1) order by id',
          [ids],
        )
      ).map((row) => row.crashes);
    const first = await db.openLease();
    expect(await claimTurn(first)).toEqual(ids);
    await db.settle(first, { id: ids[0], attempt: 1, outcome: 'complete' });
    await killAfter(first); // while it ran the second, which followed the first
    expect(await crashes()).toEqual([1, 0, 0]);
    for (const id of ids.slice(2)) expect(await db.state(id)).toBe('blocked');

    const second = await db.openLease();
    expect(await claimTurn(second)).toEqual([ids[1]]); // nobody follows a suspect
    expect(await claimTurn(second)).toBeUndefined();
    await killAfter(second);
    expect(await db.state(ids[1] as string)).toBe('dead');
    const third = await db.openLease();
    expect(await claimTurn(third)).toEqual(ids.slice(2));
    const settled = ids.slice(2).map((id) => ({ id, attempt: 2, outcome: 'complete' }));
    for (const ask of settled) {
      expect(await db.settle(third, ask)).toMatchObject([{ outcome: 'completed' }]);
    }
    await db.closeLease(third);
    await db.expectTruth();
  });

  test('receive() takes them as a claim does; visibility that ends is no crash', async ({ db }) => {
    await db.createQueue('pulled');
    const ids = await db.enqueue('pulled', 8);
    await crash(db, 'pulled', 8);
    const rows = await db.rows<{ id: string; lease_id: string }>(
      'select * from howdah.receive($1, 8)',
      ['pulled'],
    );
    expect(rows.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    await db.killLease(String(rows[0]?.lease_id));
    await db.reap();
    expect(await db.job(String(ids[0]))).toMatchObject({ state: 'ready', crashes: 1 });
    expect((await lanesOf(db, 'pulled'))[0]).toBe(-800);
    await db.expectTruth();
  });
});
