import { describe, expect } from 'vitest';
import { type Cursors, type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';

interface Said {
  readonly place: number;
  readonly state: string;
  readonly again_ms: string | null;
}

/** Looks at queues with cursors as a worker does. @returns what is said, by name */
async function look(
  db: Engine,
  lease: string,
  queues: readonly string[],
  cursors: Readonly<Record<string, Cursors>> = {},
): Promise<Record<string, string>> {
  const first: number[] = [];
  const lanes: number[] = [];
  const after: string[] = [];
  for (const queue of queues) {
    first.push(lanes.length + 1);
    for (const [lane, seq] of Object.entries(cursors[queue] ?? {})) {
      lanes.push(Number(lane));
      after.push(seq);
    }
  }
  const rows = await db.rows<Said>('select * from howdah.ready_queues($1, $2, $3, $4, $5)', [
    lease,
    queues,
    first,
    lanes,
    after,
  ]);
  return Object.fromEntries(rows.map(({ place, state }) => [queues[place - 1] ?? '?', state]));
}

describe('ready_queues', () => {
  test('names the queues that have something, and those that are missing', async ({ db }) => {
    const lease = await db.openLease();
    for (const queue of ['r-empty', 'r-plain', 'r-high', 'r-later', 'r-busy', 'r-gone']) {
      await db.createQueue(queue);
    }
    await db.enqueue('r-plain');
    await db.enqueue('r-high', 1, { priority: 50 });
    await db.enqueue('r-later', 1, { delay_ms: 60_000 });
    await db.enqueue('r-busy', 2);
    await db.claim('r-busy', lease, 10);
    await db.rows("select howdah.delete_queue('r-gone')");
    const queues = ['r-empty', 'r-plain', 'r-high', 'r-never', 'r-later', 'r-busy', 'r-gone'];
    const expected = {
      'r-plain': 'ready',
      'r-high': 'ready',
      'r-never': 'missing',
      'r-gone': 'missing',
    };
    expect(await look(db, lease, queues)).toEqual(expected);
    // without cursors at all, as another language may ask
    const plain = await db.rows<Said>('select * from howdah.ready_queues($1, $2)', [lease, queues]);
    expect(plain.map(({ place }) => queues[place - 1]).sort()).toEqual(
      Object.keys(expected).sort(),
    );
    expect(await look(db, lease, [])).toEqual({});
  });

  test('looks forward from the cursors of each queue; one ahead of the sequence is ignored', async ({
    db,
  }) => {
    const lease = await db.openLease();
    const queues = ['c-none', 'c-one', 'c-two', 'c-three'];
    for (const queue of queues) await db.createQueue(queue);
    const seqs: Record<string, string> = {};
    for (const queue of queues) seqs[queue] = (await db.enqueue(queue))[0] ?? '';
    await db.enqueue('c-three', 1, { priority: 1 });
    const at = (queue: string): Cursors => ({ 201: seqs[queue] ?? '' });
    expect(
      await look(db, lease, queues, {
        'c-one': { 201: '1', 203: '5' },
        'c-two': at('c-two'),
        'c-three': at('c-three'),
      }),
    ).toEqual({ 'c-none': 'ready', 'c-one': 'ready', 'c-three': 'ready' });
    const far = { 201: '9000000000000' };
    expect(await look(db, lease, queues, { 'c-one': far, 'c-two': at('c-two') })).toEqual({
      'c-none': 'ready',
      'c-one': 'ready',
      'c-three': 'ready',
    });
  });

  test('says why a queue gives nothing, and when to come again', async ({ db }) => {
    const lease = await db.openLease();
    await db.createQueue('h-paused');
    await db.createQueue('h-waits');
    await db.createQueue('h-limited', { concurrency_max: 1 });
    await db.createQueue('h-rate', { rate_max: 1, rate_ms: 3_600_000, rate_burst: 1 });
    await db.createQueue('h-open', { breaker_failures: 1 });
    await db.createQueue('h-room', { concurrency_max: 2, rate_max: 100, breaker_failures: 3 });
    const queues = ['h-paused', 'h-waits', 'h-limited', 'h-rate', 'h-open', 'h-room'];
    const later = "howdah.clock() + interval '1 hour'";
    await db.rows(`select howdah.pause_queue('h-paused')`);
    await db.rows(`select howdah.pause_queue('h-waits', 'test', ${later})`);
    await db.rows(`select howdah.set_circuit('h-open', 'open', 'test', ${later})`);
    // what stops a queue is said whether it has jobs or not, as a claim does
    expect(await look(db, lease, queues)).toEqual({
      'h-waits': 'paused',
      'h-open': 'circuit-open',
    });
    for (const queue of queues) await db.enqueue(queue, 3);
    for (const queue of ['h-limited', 'h-rate']) {
      await db.claim(queue, lease, 5);
      expect(await db.claim(queue, lease, 5)).toEqual([]);
    }
    expect(await look(db, lease, queues)).toEqual({
      'h-waits': 'paused',
      'h-limited': 'concurrency',
      'h-rate': 'rate',
      'h-open': 'circuit-open',
      'h-room': 'ready',
    });
    const [waits] = await db.rows<Said>('select * from howdah.ready_queues($1, $2)', [
      lease,
      ['h-waits'],
    ]);
    expect(Number(waits?.again_ms)).toBeGreaterThan(3_500_000);
    await db.rows(`select howdah.resume_queue('h-paused'), howdah.resume_queue('h-waits')`);
    expect(await look(db, lease, ['h-paused', 'h-waits'])).toEqual({
      'h-paused': 'ready',
      'h-waits': 'ready',
    });
    await db.expectTruth();
  });

  test('a lease that has ended is told so', async ({ db }) => {
    const lease = await db.openLease();
    await db.closeLease(lease);
    expect((await sqlError(look(db, lease, ['any']))).code).toBe('HW020');
  });

  test('reads a bounded part of each queue, however much runs in it', async ({ db }) => {
    const lease = await db.openLease();
    const buffers = async (queues: readonly string[]): Promise<number> => {
      const text = 'explain (analyze, buffers, format json) select howdah.ready_queues($1, $2)';
      const values = [lease, queues];
      for (let n = 0; n < 7; n++) await db.rows(text, values); // the plan is settled then
      const [row] = await db.rows<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
        text,
        values,
      );
      const plan = row?.['QUERY PLAN'][0]?.Plan ?? {};
      return (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0);
    };
    const idle = Array.from({ length: 2_000 }, (_, n) => `b-${n}`);
    await db.rows('select howdah.create_queue(q) from unnest($1::text[]) q', [idle]);
    await db.rows('vacuum analyze howdah._queues');
    const some = await buffers(idle.slice(0, 200));
    const all = await buffers(idle);
    expect(all).toBeLessThan(12 * idle.length);
    expect(all).toBeLessThan(12 * Math.max(some, 200));
    await db.createQueue('b-runs');
    await db.enqueue('b-runs', 5_000);
    await db.claim('b-runs', lease, 5_000);
    expect(await buffers(['b-runs'])).toBeLessThan(200);
    expect(await look(db, lease, ['b-runs'])).toEqual({ 'b-runs': 'ready' }); // a claim will tell
  });
});
