import { describe, expect } from 'vitest';
import { sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

describe('claim', () => {
  test('takes the ready in order of priority, then of readiness', async ({ db }) => {
    await db.createQueue('order');
    const low = await db.enqueue('order', 2, { priority: -100 });
    const plain = await db.enqueue('order', 2);
    const high = await db.enqueue('order', 2, { priority: 100 });
    await db.enqueue('order', 1, { delay_ms: 60_000 });
    const lease = await db.openLease();
    const first = await db.claim('order', lease, 3);
    const rest = await db.claim('order', lease, 10);
    expect([...first, ...rest].map(({ id }) => id)).toEqual([...high, ...plain, ...low]);
    expect(first[0]).toMatchObject({
      attempt: 1,
      uncounted: 0,
      payload: 1,
      headers: null,
      max_attempts: 10,
      expired: false,
      errors: null,
    });
    expect(await db.claim('order', lease, 10)).toEqual([]);
    expect(await db.stats('order')).toMatchObject({ ready: '0', running: '6', scheduled: '1' });
    await db.expectTruth();
  });

  test('looks only forward from the cursors, lane by lane', async ({ db }) => {
    await db.createQueue('cursors');
    await db.enqueue('cursors', 3);
    await db.enqueue('cursors', 3, { priority: 1 });
    const lease = await db.openLease();
    const rows = await db.rows<{ lane: number; seq: string }>(
      `select lane, seq from howdah._jobs j join howdah._queues q on q.id = j.queue_id
       where q.name = 'cursors' order by seq`,
    );
    const [, second] = rows as { lane: number; seq: string }[];
    const claimed = await db.claim('cursors', lease, 10, {
      [second?.lane ?? 0]: second?.seq ?? '',
    });
    expect(claimed.map(({ payload, lane }) => [payload, lane])).toEqual([
      [1, 199],
      [2, 199],
      [3, 199],
      [3, 201],
    ]);
    await db.expectTruth();
  });

  test('claim_many gives a lane in one row, and says more of what is out of the ordinary', async ({
    db,
  }) => {
    await db.createQueue('lists', { max_attempts: 7 });
    const plain = await db.enqueue('lists', 2);
    const [odd] = await db.enqueue('lists', 1, { headers: { a: '1,2' }, max_attempts: 3 });
    const [high] = await db.enqueue('lists', 1, { priority: 1 });
    const lease = await db.openLease();
    const again = await db.claimOne('lists', lease);
    expect(again.id).toBe(high);
    await db.end(lease, again, 'release');
    const rows = await db.rows<Record<string, unknown>>(
      'select * from howdah.claim_many($1, $2, 10)',
      ['lists', lease],
    );
    expect(rows).toEqual([
      {
        lane: 198,
        ids: high,
        enqueued: expect.stringMatching(/^\d{13}$/),
        payloads: '1',
        rest: { [String(high)]: [expect.any(Number), 2, 1, false, null, null, null, null] },
        max_attempts: 7,
      },
      {
        lane: 201,
        ids: [...plain, odd].join(),
        enqueued: expect.stringMatching(/^\d{13}(,\d{13}){2}$/),
        payloads: '1,2,1',
        rest: { [String(odd)]: [Number(odd), 1, 0, false, 3, { a: '1,2' }, null, null] },
        max_attempts: 7,
      },
    ]);
    await db.expectTruth();
  });

  test('large payloads come apart, after their lane and in its order; or not at all', async ({
    db,
  }) => {
    for (const [transfer, policy] of [
      ['apart', {}],
      ['apart', { concurrency_max: 100 }],
      ['none', {}],
      ['none', { concurrency_max: 100 }],
    ] as const) {
      const queue = `${transfer}${'concurrency_max' in policy ? '-within-limits' : ''}`;
      await db.createQueue(queue, policy);
      const [low] = await db.enqueue(queue, 1, { priority: -1 });
      const head = await db.enqueue(queue, 1, { group: 'g' });
      const plain = await db.enqueue(queue, 2);
      const behind = await db.enqueue(queue, 2, { group: 'g' });
      const lease = await db.openLease();
      const found = await db.rows<{ lane: number; ids: string | null; payloads: string | null }>(
        `select lane, ids, payloads from howdah.claim_many($1, $2, 10, p_turn => 5, p_payloads => $3)
        where lane is not null`,
        [queue, lease, transfer],
      );
      const followers = 'concurrency_max' in policy ? [] : behind;
      const payloadRow = (lane: number, payloads: string) => ({ lane, ids: null, payloads });
      const payloads = [
        ...['1', '1', '2'].map((text) => payloadRow(201, text)),
        ...(followers.length > 0 ? [payloadRow(201, '1,2')] : []),
      ];
      const isApart = transfer === 'apart';
      expect(found).toEqual([
        { lane: 201, ids: [...head, ...plain, ...followers].join(), payloads: null },
        ...(isApart ? payloads : []),
        { lane: 203, ids: low, payloads: null },
        ...(isApart ? [payloadRow(203, '1')] : []),
      ]);
    }
    await db.expectTruth();
  });

  test('a way of payloads that there is not is refused, and nothing is claimed', async ({ db }) => {
    await db.createQueue('ways');
    const [id] = await db.enqueue('ways');
    const claim = `select from howdah.claim_many('ways', $1, p_payloads => 'by mail')`;
    expect(await sqlError(db.rows(claim, [await db.openLease()]))).toMatchObject({
      code: 'HW070',
      hint: 'use together, apart or none',
    });
    expect(await db.state(String(id))).toBe('ready');
  });

  test('bounds what one call takes', async ({ db }) => {
    await db.createQueue('bounded');
    await db.enqueue('bounded', 5);
    const lease = await db.openLease();
    for (const limit of [0, -1, -2147483648]) {
      expect(await db.claim('bounded', lease, limit)).toEqual([]);
    }
    expect(await db.claim('bounded', lease, 2147483647)).toHaveLength(5);
  });

  test('refuses an unknown queue and a lease that is gone', async ({ db }) => {
    await db.createQueue('guarded');
    await db.enqueue('guarded');
    const lease = await db.openLease();
    for (const name of ['nowhere', '', "x'--", null]) {
      expect(await sqlError(db.claim(name as string, lease))).toMatchObject({
        code: 'HW001',
        hint: expect.any(String),
      });
    }
    expect(await sqlError(db.claim('guarded', '1'))).toMatchObject({
      code: 'HW020',
      hint: expect.any(String),
    });
    expect(await sqlError(db.claim('guarded', null as unknown as string))).toMatchObject({
      code: 'HW020',
    });
  });

  test('takes nothing from a paused queue', async ({ db }) => {
    await db.createQueue('paused');
    await db.enqueue('paused');
    const lease = await db.openLease();
    await db.rows(`select howdah.pause_queue('paused')`);
    expect(await db.claim('paused', lease)).toEqual([]);
    await db.rows(`select howdah.resume_queue('paused')`);
    expect(await db.claim('paused', lease)).toHaveLength(1);
  });

  test('tells that the waiting TTL has ended', async ({ db }) => {
    await db.createQueue('late', { ttl_ms: 60_000 });
    await db.enqueue('late', 1);
    await db.enqueue('late', 1, { ttl_ms: 1 });
    const lease = await db.openLease();
    await expect
      .poll(() =>
        db.one(`select count(*)::int from howdah._jobs where expires_at < clock_timestamp()`),
      )
      .toBe(1);
    expect((await db.claim('late', lease, 9)).map(({ expired }) => expired)).toEqual([false, true]);
  });

  test('survives a sequence that was set back behind its cursors', async ({ db }) => {
    await db.createQueue('failover');
    await db.enqueue('failover', 50);
    const lease = await db.openLease();
    const before = await db.claim('failover', lease, 50);
    await db.complete(lease, before);
    await db.rows('delete from howdah._history');
    const cursors = { 201: before.at(-1)?.seq ?? '' };
    await db.rows(`select setval('howdah.job_seq', $1)`, [Number(before[0]?.seq) - 1]);

    const ids = await db.enqueue('failover', 10);
    expect((await db.claim('failover', lease, 5, cursors)).map(({ id }) => id)).toEqual(
      ids.slice(0, 5),
    );
    await db.expectTruth();

    // the sequence grows past the old cursors again: what is behind them is found by the sweep
    await db.enqueue('failover', 50);
    const seen = new Set<string>();
    for (let round = 0; round < 3; round += 1) {
      for (const { id } of await db.claim('failover', lease, 100, cursors)) seen.add(id);
      await db.one('select howdah.sweep()');
    }
    expect(seen.size).toBe(55);
    await db.killLease(lease);
    expect(await db.reap()).toMatchObject({ requeued: 60 });
    await db.expectTruth();
  });

  test('a cursor that is wrong hides nothing for long', async ({ db }) => {
    await db.createQueue('liar');
    await db.enqueue('liar', 5);
    const last = await db.one<string>('select last_value from howdah.job_seq');
    const lease = await db.openLease();
    expect(await db.claim('liar', lease, 9, { 201: last })).toEqual([]);
    expect(await db.one('select howdah.sweep()')).toBeGreaterThanOrEqual(5);
    expect(await db.claim('liar', lease, 9, { 201: last })).toHaveLength(5);
    await db.expectTruth();
  });
});
