import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

describe('open_lease', () => {
  test('gives random positive 63-bit ids', async ({ db }) => {
    const ids = await Promise.all(Array.from({ length: 50 }, () => db.openLease()));
    expect(new Set(ids).size).toBe(50);
    expect(ids.every((id) => BigInt(id) > 0n)).toBe(true);
    expect(ids.some((id) => BigInt(id) > 2n ** 60n)).toBe(true);
  });

  test.for([99, 0, -1, 43_200_001, null])('refuses %s ms', async (leaseMs, { db }) => {
    expect(await sqlError(db.rows(`select howdah.open_lease('w', $1)`, [leaseMs]))).toMatchObject({
      code: 'HW023',
      hint: expect.stringContaining('100 ms to 12 hours'),
    });
  });

  test.for([null, '', 'x'.repeat(201)])('refuses the worker name %s', async (name, { db }) => {
    expect(await sqlError(db.rows('select howdah.open_lease($1, 1000)', [name]))).toMatchObject({
      code: 'HW023',
      hint: expect.any(String),
    });
  });

  test('shows the worker', async ({ db }) => {
    const id = await db.one(`select howdah.open_lease('päul''s', 100, '{"pid": 7}')`);
    await db.openLease('x'.repeat(200), 43_200_000);
    expect(await db.rows('select * from howdah.workers where lease_id = $1', [id])).toMatchObject([
      { worker: "päul's", lease_ms: 100, leads: false, info: { pid: 7 } },
    ]);
  });
});

describe('heartbeat and extend', () => {
  test('renew one row, an ended but not reaped lease too', async ({ db }) => {
    const lease = await db.openLease('w', 60_000);
    await db.killLease(lease);
    expect(await db.rows('select * from howdah.heartbeat($1)', [lease])).toEqual([
      { alive: true, attention: false },
    ]);
    expect(
      await db.one(
        `select expires_at - clock_timestamp() between interval '55 s' and interval '60 s'
         from howdah._leases where id = $1`,
        [lease],
      ),
    ).toBe(true);
  });

  test('say that a lease is gone', async ({ db }) => {
    expect(await db.rows('select * from howdah.heartbeat(1)')).toEqual([
      { alive: false, attention: false },
    ]);
    expect(await sqlError(db.rows('select howdah.extend(1, 1000)'))).toMatchObject({
      code: 'HW020',
      hint: expect.any(String),
    });
    expect(await db.closeLease('1')).toBe(0);
  });

  test('extend sets the end, from now to 12 hours ahead', async ({ db }) => {
    const lease = await db.openLease();
    const end = await db.one<Date>('select howdah.extend($1, 43200000)', [lease]);
    expect(end.getTime() - Date.now()).toBeGreaterThan(43_100_000);
    for (const ms of [-1, 43_200_001, null]) {
      const error = await sqlError(db.rows('select howdah.extend($1, $2)', [lease, ms]));
      expect(error).toMatchObject({ code: 'HW023', hint: expect.any(String) });
    }
    await db.rows('select howdah.extend($1, 0)', [lease]);
    expect(await sqlError(db.rows('select howdah.extend($1, 1000)', [lease]))).toMatchObject({
      code: 'HW020',
    });
  });
});

describe('doorbell', () => {
  test('wakes one sleeper of the queue, and nobody who is awake', async ({ pool, db }) => {
    await db.createQueue('bell');
    await db.createQueue('other');
    const leases = [await db.openLease(), await db.openLease(), await db.openLease()];
    const [sleeper, awake, elsewhere] = leases as [string, string, string];
    await db.rows(`select howdah.sleep($1, '{bell,nowhere}')`, [sleeper]);
    await db.rows(`select howdah.sleep($1, '{bell}'), howdah.wake($1)`, [awake]);
    await db.rows(`select howdah.wake($1)`, [awake]);
    await db.rows(`select howdah.sleep($1, '{other}')`, [elsewhere]);

    const heard: string[] = [];
    const listener = await pool.connect();
    listener.on('notification', ({ channel, payload }) => heard.push(`${channel}:${payload}`));
    for (const lease of leases) await listener.query(`listen "howdah_${lease}"`);
    await db.enqueue('bell', 3);
    await db.enqueue('bell', 1, { delay_ms: 60_000 });
    await db.rows(`select howdah.ring('bell', 1, $1)`, [sleeper]);
    await db.rows(`select howdah.enqueue('{"queue": "bell", "payload": 1}', 'raise', false)`);
    await db.rows('select pg_notify($1, $2)', [`howdah_${elsewhere}`, 'end']);
    await expect.poll(() => heard).toContain(`howdah_${elsewhere}:end`);
    expect(heard.slice(0, -1)).toEqual([`howdah_${sleeper}:qbell`]);
    listener.release(true);
  });

  test('is only for leases and queues that exist', async ({ db }) => {
    expect(await sqlError(db.rows(`select howdah.sleep(1, '{bell}')`))).toMatchObject({
      code: 'HW020',
      hint: expect.any(String),
    });
    expect(await sqlError(db.rows(`select howdah.ring('nowhere')`))).toMatchObject({
      code: 'HW001',
    });
  });

  test('forgets the sleepers of a closed lease', async ({ db }) => {
    await db.createQueue('forgotten');
    const lease = await db.openLease();
    await db.rows(`select howdah.sleep($1, '{forgotten}')`, [lease]);
    await db.closeLease(lease);
    expect(await db.rows('select from howdah._sleepers where lease_id = $1', [lease])).toEqual([]);
  });

  test('rings first those sleepers that have not missed a heartbeat', async ({ db, pool }) => {
    await db.createQueue('bells');
    const [living, silent] = [await db.openLease('living'), await db.openLease('silent')];
    for (const lease of [living, silent])
      await db.rows(`select howdah.sleep($1, '{bells}')`, [lease]);
    // 30 s long, renewed 13 s ago
    await db.rows(
      `update howdah._leases set expires_at = howdah.clock() + interval '17 s' where id = $1`,
      [silent],
    );
    const listener = await pool.connect();
    const rung: string[] = [];
    listener.on('notification', ({ channel }) => rung.push(channel));
    await listener.query(`listen howdah_${living}; listen howdah_${silent}`);
    const ring = async (): Promise<void> => {
      await listener.query(`select howdah.ring('bells')`);
    };
    for (let n = 0; n < 12; n += 1) await ring();
    expect(rung).toEqual(Array(12).fill(`howdah_${living}`));
    await db.closeLease(living);
    await ring();
    expect(rung.at(-1)).toBe(`howdah_${silent}`);
    await listener.query('unlisten *');
    listener.release();
    await db.closeLease(silent);
  });
});

describe('lead', () => {
  const lead = 'select term from howdah.lead($1, $2)';

  test('one leads until its term ends; each new leader has a new term', async ({ db }) => {
    const [one, two] = [await db.openLease('one'), await db.openLease('two')];
    const term = Number(await db.one(lead, [one, 60_000]));
    expect(await db.rows(lead, [two, 60_000])).toEqual([]);
    expect(Number(await db.one(lead, [one, 60_000]))).toBe(term);
    expect(await db.rows('select worker from howdah.workers where leads')).toEqual([
      { worker: 'one' },
    ]);
    await db.rows('select howdah.resign($1)', [two]);
    expect(await db.rows(lead, [two, 60_000])).toEqual([]);
    await db.rows('select howdah.resign($1)', [one]);
    expect(Number(await db.one(lead, [two, 60_000]))).toBe(term + 1);
    await db.closeLease(two);
    expect(Number(await db.one(lead, [one, 60_000]))).toBe(term + 2);
    await db.closeLease(one);
  });

  test('wants a living lease of a worker, and no more than a minute', async ({ db }) => {
    await db.rows(`update howdah._leader set expires_at = '-infinity'`);
    const lease = await db.openLease('one');
    for (const term of [null, 0, 60_001, 2_147_483_647]) {
      await expect(db.rows(lead, [lease, term])).rejects.toMatchObject({ code: 'HW023' });
    }
    for (const none of ['1', null]) {
      await expect(db.rows(lead, [none, 60_000])).rejects.toMatchObject({ code: 'HW020' });
    }
    await db.rows('update howdah._leases set held = 1 where id = $1', [lease]);
    await expect(db.rows(lead, [lease, 60_000])).rejects.toMatchObject({ code: 'HW020' });
    await db.rows(
      `update howdah._leases set held = null, expires_at = howdah.clock() - interval '1 ms' where id = $1`,
      [lease],
    );
    // one that has ended and was not reaped is renewed, as by a heartbeat
    expect(await db.rows(lead, [lease, 60_000])).toHaveLength(1);
    expect(
      await db.one('select expires_at > howdah.clock() from howdah._leases where id = $1', [lease]),
    ).toBe(true);
    await db.closeLease(lease);
    await db.rows(`update howdah._leader set expires_at = '-infinity'`);
  });

  describe('whether living workers may have missed their heartbeats', () => {
    const LEASE_MS = 20_000;
    const TERM_MS = 4_000;

    // the shortest lease decides, and tests before have left some
    test.beforeEach(({ db }) => db.rows('delete from howdah._leases'));

    for (const { what, vacantMs, hadGap } of [
      { what: 'who renews a term that lasts: no', vacantMs: -1_000, hadGap: false },
      { what: 'nobody led for less than half a lease: no', vacantMs: 5_500, hadGap: false },
      { what: 'nobody led for longer, with the term before: yes', vacantMs: 6_500, hadGap: true },
    ]) {
      test(what, async ({ db }) => {
        const lease = await db.openLease('one', LEASE_MS);
        await db.rows('select howdah.lead($1, 60000)', [lease]);
        await db.rows(
          `update howdah._leader set expires_at = howdah.clock() - $1 * interval '1 millisecond'`,
          [vacantMs],
        );
        expect(await elect(db, lease)).toBe(hadGap);
        expect(await elect(db, lease)).toBe(false);
        await db.closeLease(lease);
      });
    }

    test('the shortest lease that has a heartbeat decides', async ({ db }) => {
      const lease = await db.openLease('one', LEASE_MS);
      const short = await db.openLease('two', 10_000);
      const vacate = () =>
        db.rows(`update howdah._leader set expires_at = howdah.clock() - interval '3 seconds'`);
      await vacate();
      expect(await elect(db, lease)).toBe(true);
      await db.rows('update howdah._leases set held = 1 where id = $1', [short]);
      await vacate();
      expect(await elect(db, lease)).toBe(false);
      await db.closeLease(short);
      await db.closeLease(lease);
    });

    test('after a leader that resigned: no', async ({ db }) => {
      const [one, two] = [await db.openLease('one'), await db.openLease('two')];
      await db.rows(`update howdah._leader set expires_at = '-infinity'`);
      expect(await elect(db, one)).toBe(true);
      await db.rows('select howdah.resign($1)', [one]);
      expect(await elect(db, two)).toBe(false);
      await db.closeLease(two);
      await db.closeLease(one);
    });

    function elect(db: Engine, lease: string): Promise<boolean> {
      return db.one(`select had_gap from howdah.lead($1, ${TERM_MS})`, [lease]);
    }
  });
});
