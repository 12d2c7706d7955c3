import { describe, expect } from 'vitest';
import { test } from '../support/sessions.js';

describe('claim against claim', () => {
  test('two at once share the jobs; what one gives up the other gets', async ({ db, a, b }) => {
    await db.createQueue('shared');
    const ids = await db.enqueue('shared', 6);
    const [one, two] = [await db.openLease(), await db.openLease()];
    await a.begin();
    const first = await a.claim('shared', one, 3);
    const second = await b.claim('shared', two, 6);
    expect([...first, ...second].map(({ id }) => id)).toEqual(ids);
    await a.rollback();
    // behind the cursor of the second worker now
    const cursors = { 201: second.at(-1)?.seq ?? '' };
    expect(await b.claim('shared', two, 6, cursors)).toEqual([]);
    expect(await db.one('select howdah.sweep()')).toBe(3);
    expect((await b.claim('shared', two, 6, cursors)).map(({ id }) => id)).toEqual(ids.slice(0, 3));
    await db.expectTruth();
  });

  test('of one lease: neither gets what the other has, and both are covered by its marks', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('same-lease');
    await db.enqueue('same-lease', 4);
    const lease = await db.openLease();
    await db.claim('same-lease', lease, 1);
    await a.begin();
    expect(await a.claim('same-lease', lease, 2)).toHaveLength(2);
    expect(await b.claim('same-lease', lease, 9)).toHaveLength(1);
    await a.commit();
    await db.expectTruth();
    await db.killLease(lease);
    expect(await db.reap()).toMatchObject({ leases: 1, requeued: 4 });
    await db.expectTruth();
  });
});

describe('a lease that ends while a claim is in flight', () => {
  test('claim first: close_lease waits and gives its jobs back', async ({ db, a, b }) => {
    await db.createQueue('in-flight');
    await db.enqueue('in-flight', 2);
    const lease = await db.openLease();
    await a.begin();
    expect(await a.claim('in-flight', lease, 2)).toHaveLength(2);
    const [closed] = await b.blocks((session) => session.closeLease(lease));
    await a.commit();
    expect(await closed).toBe(2);
    expect(await db.stats('in-flight')).toMatchObject({ ready: '2', running: '0' });
    await db.expectTruth();
  });

  test('claim first: return_strays waits and gives its jobs back', async ({ db, a, b }) => {
    await db.createQueue('in-doubt');
    await db.enqueue('in-doubt', 3);
    const lease = await db.openLease();
    const known = await db.claimOne('in-doubt', lease);
    await a.begin();
    expect(await a.claim('in-doubt', lease, 2)).toHaveLength(2);
    const [returned] = await b.blocks((session) => session.returnStrays(lease, [known.id]));
    await a.commit();
    expect(await returned).toBe(2);
    expect(await db.stats('in-doubt')).toMatchObject({ ready: '2', running: '1' });
    await db.expectTruth();
  });

  test('close_lease first: the claim waits and is refused', async ({ db, a, b }) => {
    await db.createQueue('refused');
    await db.enqueue('refused');
    const lease = await db.openLease();
    await a.begin();
    await a.closeLease(lease);
    const [claimed] = await b.blocks((session) => session.claim('refused', lease));
    await a.commit();
    await expect(claimed).rejects.toMatchObject({ code: 'HW020' });
    expect(await db.stats('refused')).toMatchObject({ ready: '1', running: '0' });
    await db.expectTruth();
  });

  test('claim first, under an expired lease: the reaper passes the lease by', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('expired-lease');
    await db.enqueue('expired-lease');
    const lease = await db.openLease();
    await db.killLease(lease);
    await a.begin();
    const claimed = await a.claim('expired-lease', lease);
    expect(await b.reap()).toEqual({ leases: 0, requeued: 0, dead: 0 });
    await a.commit();
    await db.expectTruth();
    expect(await b.reap()).toEqual({ leases: 1, requeued: claimed.length, dead: 0 });
    await db.expectTruth();
  });

  test('reap first: the claim waits and is refused', async ({ db, a, b }) => {
    await db.createQueue('reap-first');
    await db.enqueue('reap-first');
    const lease = await db.openLease();
    await db.killLease(lease);
    await a.begin();
    expect(await a.reap()).toMatchObject({ leases: 1 });
    const [claimed] = await b.blocks((session) => session.claim('reap-first', lease));
    await a.commit();
    await expect(claimed).rejects.toMatchObject({ code: 'HW020' });
    await db.expectTruth();
  });
});

describe('heartbeat against reap', () => {
  test('heartbeat first: the reaper passes the lease by, and the job stays', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('beat');
    await db.enqueue('beat');
    const lease = await db.openLease();
    const job = await db.claimOne('beat', lease);
    await db.killLease(lease);
    await a.begin();
    expect(await a.rows('select alive from howdah.heartbeat($1)', [lease])).toEqual([
      { alive: true },
    ]);
    expect(await b.reap()).toMatchObject({ leases: 0, requeued: 0 });
    await a.commit();
    expect(await b.reap()).toMatchObject({ leases: 0, requeued: 0 });
    expect(await db.complete(lease, [job])).toEqual([]);
    await db.expectTruth();
  });

  test('reap first: the heartbeat waits and hears that the lease is gone', async ({ db, a, b }) => {
    await db.createQueue('gone');
    await db.enqueue('gone');
    const lease = await db.openLease();
    await db.claimOne('gone', lease);
    await db.killLease(lease);
    await a.begin();
    expect(await a.reap()).toMatchObject({ leases: 1, requeued: 1 });
    const [beat] = await b.blocks((session) =>
      session.rows('select alive from howdah.heartbeat($1)', [lease]),
    );
    await a.commit();
    expect(await beat).toEqual([{ alive: false }]);
    await db.expectTruth();
  });

  test('two reapers share the leases, and no job is given back twice', async ({ db, a, b }) => {
    await db.createQueue('reapers');
    await db.enqueue('reapers', 4);
    for (let i = 0; i < 2; i += 1) {
      const lease = await db.openLease();
      await db.claim('reapers', lease, 2);
      await db.killLease(lease);
    }
    await a.begin();
    expect(await a.reap(2)).toMatchObject({ leases: 1, requeued: 2 });
    // the first reaper locked the second lease too, or did not: either way nothing is done twice
    const other = await b.reap();
    await a.commit();
    const rest = await b.reap();
    expect(other.requeued + rest.requeued).toBe(2);
    expect(other.leases + rest.leases).toBe(1);
    await db.expectTruth();
  });
});

describe('late commits', () => {
  test('a job that drew a low seq and commits behind every cursor is found by the sweep', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('late');
    await a.begin();
    const [late] = await a.enqueue('late');
    const [early] = await b.enqueue('late');
    expect(BigInt(String(late))).toBeLessThan(BigInt(String(early)));
    const lease = await db.openLease();
    const [job] = await db.claim('late', lease, 9);
    expect(job?.id).toBe(early);
    const cursors = { 201: job?.seq ?? '' };
    await a.commit();
    expect(await db.claim('late', lease, 9, cursors), 'hidden').toEqual([]);
    expect(await db.one('select howdah.sweep()')).toBe(1);
    expect(await db.one('select howdah.sweep()')).toBe(0);
    expect(await db.claim('late', lease, 9, cursors)).toMatchObject([{ id: late, attempt: 1 }]);
    await db.expectTruth();
  });

  test('without cursors it is found at once', async ({ db, a, b }) => {
    await db.createQueue('late-plain');
    await a.begin();
    const [late] = await a.enqueue('late-plain');
    await b.enqueue('late-plain');
    const lease = await db.openLease();
    await db.claim('late-plain', lease, 9);
    await a.commit();
    expect(await db.claim('late-plain', lease, 9)).toMatchObject([{ id: late }]);
    await db.expectTruth();
  });

  test('sweep and claim at once: the job is taken once', async ({ db, a, b }) => {
    await db.createQueue('sweep');
    await a.begin();
    await a.enqueue('sweep', 3);
    await b.enqueue('sweep');
    const lease = await db.openLease();
    await db.claim('sweep', lease, 9);
    await a.commit();
    await a.begin();
    expect(await a.claim('sweep', lease, 1)).toHaveLength(1);
    expect(await b.one('select howdah.sweep()')).toBe(2);
    await a.commit();
    expect(await b.claim('sweep', lease, 9)).toHaveLength(2);
    await db.expectTruth();
  });

  test('what is being swept is passed by, and taken afterwards', async ({ db, a, b }) => {
    await db.createQueue('swept');
    await a.begin();
    await a.enqueue('swept', 2);
    await b.enqueue('swept');
    const lease = await db.openLease();
    await db.claim('swept', lease, 9);
    await a.commit();
    await a.begin();
    expect(await a.one('select howdah.sweep()')).toBe(2);
    expect(await b.claim('swept', lease, 9)).toEqual([]);
    await a.commit();
    expect(await b.claim('swept', lease, 9)).toHaveLength(2);
    await db.expectTruth();
  });

  test('a due job whose transaction commits behind the mark is found from the start', async ({
    db,
    a,
    b,
  }) => {
    await db.createQueue('late-due');
    await a.begin();
    await a.enqueue('late-due', 1, { run_at: Date.now() + 1000 });
    await b.enqueue('late-due', 1, { run_at: Date.now() + 2000 });
    await db.shiftClock(3000);
    const { mark } = await db.promote();
    await a.commit();
    expect(await db.promote(1000, String(mark))).toMatchObject({ promoted: 0 });
    expect(await db.promote()).toMatchObject({ promoted: 1 });
    await db.shiftClock(0);
    await db.expectTruth();
  });
});

describe('promote against promote', () => {
  test('each job becomes ready once', async ({ db, a, b }) => {
    await db.createQueue('promote');
    await db.enqueue('promote', 6, { run_at: Date.now() + 60_000 });
    await db.shiftClock(61_000);
    await a.begin();
    expect(await a.promote(4)).toMatchObject({ promoted: 4 });
    expect(await b.promote()).toMatchObject({ promoted: 2 });
    await a.commit();
    expect(await b.promote()).toMatchObject({ promoted: 0 });
    expect(await db.stats('promote')).toMatchObject({ ready: '6', scheduled: '0' });
    await db.shiftClock(0);
    await db.expectTruth();
  });
});
