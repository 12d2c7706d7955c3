import { describe, expect } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

const MINUTE_MS = 60_000;

/** Enqueues one job with a key and gives its row. */
async function put(db: Engine, queue: string, payload: unknown, dedupe: object, more: object = {}) {
  const [row] = await db.enqueueRows([{ queue, payload, dedupe, ...more }]);
  if (!row) throw new Error('no row');
  return row as { id: string; created: boolean; same: boolean | null };
}

describe('mode skip', () => {
  test('the duplicate gets the first id, and another payload can be told', async ({ db }) => {
    await db.createQueue('skip');
    const first = await put(db, 'skip', { n: 1, m: 2 }, { key: 'k' });
    expect(first).toMatchObject({ created: true, same: null });
    expect(await put(db, 'skip', { m: 2, n: 1 }, { key: 'k' })).toMatchObject({
      id: first.id,
      created: false,
      same: true,
    });
    expect(await put(db, 'skip', { n: 2 }, { key: 'k' })).toMatchObject({
      id: first.id,
      created: false,
      same: false,
    });
    expect(await db.job(first.id)).toMatchObject({ payload: { n: 1, m: 2 } });
    expect((await put(db, 'skip', 1, { key: 'other' })).created).toBe(true);
    await db.expectTruth();
  });

  test('the key belongs to its queue and outlives the job, for the window', async ({ db }) => {
    await db.createQueue('a');
    await db.createQueue('b');
    const first = await put(db, 'a', 1, { key: 'k' });
    expect((await put(db, 'b', 1, { key: 'k' })).created).toBe(true);
    const lease = await db.openLease();
    await db.complete(lease, [await db.claimOne('a', lease)]);
    expect(await put(db, 'a', 1, { key: 'k' })).toMatchObject({ id: first.id, created: false });
    await db.shiftClock(5 * MINUTE_MS + 1000);
    const next = await put(db, 'a', 1, { key: 'k', window_ms: 315_360_000_000 });
    expect(next.created).toBe(true);
    expect(next.id).not.toBe(first.id);
    await db.shiftClock(9 * 365 * 86_400_000);
    expect(await put(db, 'a', 1, { key: 'k' })).toMatchObject({ id: next.id, created: false });
    await db.shiftClock(0);
  });

  test('duplicates within one statement, among plain jobs, in the order given', async ({ db }) => {
    await db.createQueue('array');
    const rows = await db.enqueueRows([
      { queue: 'array', payload: 0 },
      { queue: 'array', payload: 1, dedupe: { key: 'x' } },
      { queue: 'array', payload: 2 },
      { queue: 'array', payload: 1, dedupe: { key: 'x' } },
      { queue: 'array', payload: 3, dedupe: null },
      { queue: 'array', payload: 4, dedupe: { key: 'x' } },
    ]);
    expect(rows.map(({ created, same }) => [created, same])).toEqual([
      [true, null],
      [true, null],
      [true, null],
      [false, true],
      [true, null],
      [false, false],
    ]);
    expect(rows[3]?.id).toBe(rows[1]?.id);
    const lease = await db.openLease();
    const claimed = await db.claim('array', lease, 9);
    expect(claimed.map(({ payload }) => payload)).toEqual([0, 1, 2, 3]);
    await db.expectTruth();
  });

  test('a transaction that fails leaves no key', async ({ db }) => {
    await db.createQueue('undone');
    const error = await sqlError(
      db.enqueueRows([
        { queue: 'undone', payload: 1, dedupe: { key: 'k' } },
        { queue: 'undone', payload: 1, priority: 101 },
      ]),
    );
    expect(error.code).toBe('HW012');
    expect((await put(db, 'undone', 1, { key: 'k' })).created).toBe(true);
  });

  test('in a report a bad neighbour changes nothing', async ({ db }) => {
    await db.createQueue('report');
    const rows = await db.enqueueRows(
      [
        { queue: 'report', payload: 1, dedupe: { key: 'k' } },
        { queue: 'report', payload: 1, priority: 101 },
        { queue: 'nowhere', payload: 1, dedupe: { key: 'k' } },
        { queue: 'report', payload: 1, dedupe: { key: 'k' } },
      ],
      'report',
    );
    expect(rows.map(({ created, error_code: code }) => [created, code])).toEqual([
      [true, null],
      [false, 'HOWDAH_PRIORITY_INVALID'],
      [false, 'HOWDAH_QUEUE_UNKNOWN'],
      [false, null],
    ]);
  });
});

describe('mode replace', () => {
  test('a waiting job takes the newest payload and its time is pushed back', async ({ db }) => {
    await db.createQueue('debounce', { ttl_ms: 1000 });
    const dedupe = { key: 'k', mode: 'replace' };
    const first = await put(db, 'debounce', 1, dedupe, { delay_ms: 10_000 });
    await db.shiftClock(9_000);
    const second = await put(db, 'debounce', 2, dedupe, { delay_ms: 10_000, headers: { h: 1 } });
    expect(second).toMatchObject({ id: first.id, created: false, same: false });
    await db.shiftClock(11_000);
    await db.promote();
    expect(await db.state(first.id)).toBe('scheduled');
    await db.shiftClock(19_500);
    await db.promote();
    expect(await db.job(first.id)).toMatchObject({
      state: 'ready',
      payload: 2,
      headers: { h: 1 },
    });
    // the waiting TTL moved with the time
    await db.rows('select howdah.expire()');
    expect(await db.state(first.id)).toBe('ready');
    await db.shiftClock(0);
    await db.expectTruth();
  });

  test('the key stays as long as its job waits, and the window after it', async ({ db }) => {
    await db.createQueue('long');
    const dedupe = { key: 'k', mode: 'replace', window_ms: 1000 };
    const first = await put(db, 'long', 1, dedupe, { delay_ms: MINUTE_MS });
    await db.shiftClock(50_000);
    expect((await put(db, 'long', 2, dedupe, { delay_ms: MINUTE_MS })).id).toBe(first.id);
    await db.shiftClock(112_000);
    expect((await put(db, 'long', 3, dedupe)).created).toBe(true);
    await db.shiftClock(0);
  });

  test('once the job runs, a new one is made: the newest payload is never lost', async ({ db }) => {
    await db.createQueue('begun');
    const dedupe = { key: 'k', mode: 'replace' };
    const first = await put(db, 'begun', 1, dedupe);
    const lease = await db.openLease();
    await db.claimOne('begun', lease);
    const second = await put(db, 'begun', 2, dedupe);
    expect(second.created).toBe(true);
    expect(second.id).not.toBe(first.id);
    expect((await put(db, 'begun', 3, dedupe)).id).toBe(second.id);
    expect(await db.job(second.id)).toMatchObject({ payload: 3, state: 'ready' });
    await db.expectTruth();
  });

  test('a ready job may be pushed back, a scheduled one called at once', async ({ db }) => {
    await db.createQueue('moves');
    const dedupe = { key: 'k', mode: 'replace' };
    const { id } = await put(db, 'moves', 1, dedupe);
    await put(db, 'moves', 1, dedupe, { delay_ms: 1000 });
    expect(await db.state(id)).toBe('scheduled');
    await db.expectTruth();
    await put(db, 'moves', 1, dedupe);
    expect(await db.state(id)).toBe('ready');
    await db.expectTruth();
  });

  test('within one statement the last one counts', async ({ db }) => {
    await db.createQueue('last');
    const job = (payload: number, mode: string, delay: number) => ({
      queue: 'last',
      payload,
      delay_ms: delay,
      dedupe: { key: mode, mode },
    });
    const rows = await db.enqueueRows([
      job(1, 'replace', 1000),
      job(1, 'throttle', 1000),
      job(2, 'throttle', 90_000),
      job(2, 'replace', 90_000),
    ]);
    expect(rows.map(({ created }) => created)).toEqual([true, true, false, false]);
    await db.shiftClock(2000);
    await db.promote();
    expect(await db.job(String(rows[0]?.id))).toMatchObject({ payload: 2, state: 'scheduled' });
    expect(await db.job(String(rows[1]?.id))).toMatchObject({ payload: 2, state: 'ready' });
    await db.shiftClock(0);
    await db.expectTruth();
  });
});

describe('mode throttle', () => {
  test('a waiting job takes the newest payload and keeps its time', async ({ db }) => {
    await db.createQueue('throttle');
    const dedupe = { key: 'k', mode: 'throttle' };
    const { id } = await put(db, 'throttle', 1, dedupe, { delay_ms: 10_000 });
    const before = await db.job(id);
    await db.shiftClock(5000);
    const again = await put(db, 'throttle', 2, dedupe, { delay_ms: 10_000 });
    expect(again).toMatchObject({ id, created: false, same: false });
    expect(await db.job(id)).toMatchObject({ payload: 2, run_at: before?.run_at });
    await db.shiftClock(0);
    await db.expectTruth();
  });
});

describe('mode latest', () => {
  test('one runs and one waits, which carries the newest payload', async ({ db }) => {
    await db.createQueue('latest');
    const dedupe = { key: 'k', mode: 'latest' };
    const first = await put(db, 'latest', 1, dedupe);
    const lease = await db.openLease();
    const running = await db.claimOne('latest', lease);
    const second = await put(db, 'latest', 2, dedupe);
    expect(second.created).toBe(true);
    for (const payload of [3, 4]) {
      const again = await put(db, 'latest', payload, dedupe);
      expect(again).toMatchObject({ id: second.id, created: false, same: false });
    }
    await db.shiftClock(1000);
    await db.promote();
    expect(await db.claim('latest', lease, 9)).toEqual([]);
    // through its retries, too
    await db.end(lease, running, 'fail', { delay_ms: 0 });
    await db.promote();
    const retried = await db.claim('latest', lease, 9);
    expect(retried.map(({ id }) => id)).toEqual([first.id]);
    await db.complete(lease, retried);
    await db.promote();
    const next = await db.claim('latest', lease, 9);
    expect(next.map(({ id, payload }) => [id, payload])).toEqual([[second.id, 4]]);
    await db.shiftClock(0);
    await db.expectTruth();
  });

  test('a dead predecessor holds nobody up', async ({ db }) => {
    await db.createQueue('late');
    const dedupe = { key: 'k', mode: 'latest' };
    await put(db, 'late', 1, dedupe);
    const lease = await db.openLease();
    const running = await db.claimOne('late', lease);
    const { id } = await put(db, 'late', 2, dedupe);
    await db.end(lease, running, 'dead_letter');
    await db.shiftClock(1000);
    await db.promote();
    expect(await db.state(id)).toBe('ready');
    await db.shiftClock(0);
  });
});

describe('bad input', () => {
  test('is refused with a code that says so', async ({ db }) => {
    await db.createQueue('bad');
    const bad = [
      'k',
      [],
      {},
      { key: '' },
      { key: 7 },
      { key: null },
      { key: 'x'.repeat(10_240) },
      { key: 'é'.repeat(513) },
      { key: 'k', window_ms: 0 },
      { key: 'k', window_ms: -1 },
      { key: 'k', window_ms: 1.5 },
      { key: 'k', window_ms: '1000' },
      { key: 'k', window_ms: 315_360_000_001 },
      { key: 'k', mode: 'merge' },
      { key: 'k', mode: 7 },
      { key: 'k', windowMs: 7 },
    ];
    for (const dedupe of bad) {
      const error = await sqlError(db.enqueueRows({ queue: 'bad', payload: 1, dedupe }));
      expect(error.code, JSON.stringify(dedupe).slice(0, 80)).toBe('HW042');
      expect(error.message.length).toBeLessThan(300);
    }
    expect(await db.rows(`select from howdah.job_states where queue = 'bad'`)).toEqual([]);
    expect((await put(db, 'bad', 1, { key: 'x'.repeat(1024) })).created).toBe(true);
  });
});

describe('the waiting TTL', () => {
  for (const group of [undefined, 'g']) {
    test(`is as long as at first${group ? ', in a group' : ''}`, async ({ db }) => {
      const queue = `ttl-${group}`;
      await db.createQueue(queue);
      const ids: Record<string, string> = {};
      const options = (mode: string) => ({ ttl_ms: 60_000, ...(group && { group }), mode });
      for (let i = 0; i < 4; i++) {
        await db.shiftClock(i * 10_000);
        for (const mode of ['throttle', 'latest', 'replace']) {
          const { mode: _, ...more } = options(mode);
          const past = mode === 'replace' ? { run_at: '2020-01-01T00:00:00Z' } : {};
          const row = await put(db, queue, i, { key: mode, mode }, { ...more, ...past });
          ids[mode] = row.id;
        }
      }
      const left = await db.rows(
        `select id, 10 * round(extract(epoch from expires_at - enqueued_at) / 10) as seconds from howdah._jobs
        where id = any ($1) order by id`,
        [Object.values(ids)],
      );
      expect(left.map(({ seconds }) => Number(seconds))).toEqual([60, 60, 60]);
      await db.shiftClock(0);
      await db.expectTruth();
    });
  }
});

describe('mode latest in a group where several run at once', () => {
  test('the newer waits for the older, whoever asks to hurry it', async ({ db }) => {
    await db.createQueue('wide', { group_concurrency: 2 });
    const dedupe = { key: 'k', mode: 'latest' };
    const first = await put(db, 'wide', 1, dedupe, { group: 'g' });
    await put(db, 'wide', 'other', { key: 'x' }, { group: 'g' });
    const lease = await db.openLease();
    const [one, other] = await db.claim('wide', lease, 9);
    if (!one || !other) throw new Error('two were ready');
    const second = await put(db, 'wide', 2, dedupe, { group: 'g' });
    expect(second.created).toBe(true);
    await db.shiftClock(1000);
    await db.complete(lease, [other]); // its group may run one more
    await db.promote();
    expect(await db.claim('wide', lease, 9)).toEqual([]);
    expect(await db.rows('select outcome from howdah.run_now($1)', [[second.id]])).toEqual([
      { outcome: 'blocked' },
    ]);
    await db.one(`select howdah.edit_job($1, '{"delay_ms": 0}')`, [second.id]);
    await put(db, 'wide', 3, { key: 'k', mode: 'replace' }, { group: 'g' });
    await db.promote();
    expect(await db.claim('wide', lease, 9)).toEqual([]);
    await db.end(lease, one, 'fail', { delay_ms: 60_000 }); // its retries are waited for
    await db.promote();
    expect(await db.claim('wide', lease, 9)).toEqual([]);
    await db.cancel(first.id);
    await db.promote();
    expect(await db.claim('wide', lease, 9)).toMatchObject([{ id: second.id, payload: 3 }]);
    await db.shiftClock(0);
    await db.expectTruth();
  });

  test('without a group, too', async ({ db }) => {
    await db.createQueue('alone');
    const first = await put(db, 'alone', 1, { key: 'k', mode: 'latest' });
    const lease = await db.openLease();
    const one = await db.claimOne('alone', lease);
    expect(one.id).toBe(first.id);
    const second = await put(db, 'alone', 2, { key: 'k', mode: 'latest' });
    await db.rows('select howdah.run_now($1)', [[second.id]]);
    await put(db, 'alone', 3, { key: 'k', mode: 'replace' }, { run_at: '2020-01-01T00:00:00Z' });
    await db.promote();
    expect(await db.claim('alone', lease, 9)).toEqual([]);
    await db.complete(lease, [one]);
    await db.promote();
    expect(await db.claim('alone', lease, 9)).toMatchObject([{ id: second.id, payload: 3 }]);
    await db.expectTruth();
  });
});

describe('prune_dedupes', () => {
  test('the sweep takes keys whose window has ended, and no others', async ({ db }) => {
    await db.createQueue('pruned');
    await put(db, 'pruned', 1, { key: 'short', window_ms: 1000 });
    await put(db, 'pruned', 1, { key: 'long' });
    await db.shiftClock(2000);
    await db.rows('select howdah.sweep()');
    expect(await db.rows(`select key from howdah._dedupes where key in ('short', 'long')`)).toEqual(
      [{ key: 'long' }],
    );
    await db.shiftClock(0);
  });
});

describe('what a waiting job has now counts, not what it was enqueued with', () => {
  for (const mode of ['skip', 'replace', 'throttle', 'latest']) {
    test(`mode ${mode}: a job that was edited is told from its first payload`, async ({ db }) => {
      const queue = `edited-${mode}`;
      await db.createQueue(queue);
      const later = { delay_ms: MINUTE_MS };
      const first = await put(db, queue, { v: 1 }, { key: 'k', mode }, later);
      await db.one('select howdah.edit_job($1, $2)', [first.id, { payload: { v: 2 } }]);
      const again = await put(db, queue, { v: 1 }, { key: 'k', mode }, later);
      expect(again).toMatchObject({ id: first.id, created: false, same: false });
      const kept = mode === 'skip' ? { v: 2 } : { v: 1 };
      expect(await db.job(first.id)).toMatchObject({ payload: kept });
      expect(await put(db, queue, kept, { key: 'k', mode }, later)).toMatchObject({ same: true });
      await db.expectTruth();
    });
  }

  for (const mode of ['replace', 'throttle', 'latest']) {
    test(`mode ${mode}: newer headers are taken with the same payload`, async ({ db }) => {
      const queue = `headers-${mode}`;
      await db.createQueue(queue);
      const more = (trace: string) => ({ delay_ms: MINUTE_MS, headers: { trace } });
      const first = await put(db, queue, 1, { key: 'k', mode }, more('old'));
      expect(await put(db, queue, 1, { key: 'k', mode }, more('new'))).toMatchObject({
        id: first.id,
        same: true,
      });
      expect(await db.job(first.id)).toMatchObject({ payload: 1, headers: { trace: 'new' } });
      const rows = ['a', 'b'].map((trace) => ({
        queue,
        payload: 1,
        dedupe: { key: 'together', mode },
        ...more(trace),
      }));
      const [made] = await db.enqueueRows(rows);
      expect(await db.job(String(made?.id))).toMatchObject({ headers: { trace: 'b' } });
      await db.expectTruth();
    });
  }
});
