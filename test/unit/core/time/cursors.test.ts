import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Cursors } from '../../../../src/core/time/cursors.js';

function claim(cursors: Cursors, now: number, seqs: number[], isShort: boolean, lane = 201) {
  const start = cursors.start(now);
  for (const seq of seqs) cursors.advance(lane, seq);
  cursors.finish(start, isShort, 1);
  return start;
}

describe('Cursors', () => {
  test('begins at zero', () => {
    expect(new Cursors().start(0)).toMatchObject({ lanes: [], after: [] });
  });

  test('after a full claim the next begins at the cursor', () => {
    const cursors = new Cursors();
    claim(cursors, 0, [1, 2, 3], false);
    expect(cursors.start(10)).toMatchObject({ lanes: [201], after: [3], isDeep: false });
  });

  test('after a short claim the next begins where the cursor stood 250 ms ago', () => {
    const cursors = new Cursors();
    for (let now = 0; now <= 1000; now += 10) claim(cursors, now, [now], false);
    claim(cursors, 1005, [1005], true);
    const { after, isDeep } = cursors.start(1010);
    expect(isDeep).toBe(false);
    expect(after[0]).toBeLessThanOrEqual(760);
    expect(after[0]).toBeGreaterThanOrEqual(690);
  });

  test('a deep claim begins where the cursor stood 2 s ago, every 50 ms', () => {
    const cursors = new Cursors();
    const deep: number[] = [];
    for (let now = 0; now <= 5000; now += 10) {
      const { isDeep, after } = claim(cursors, now, [now], false);
      if (!isDeep) continue;
      deep.push(now);
      if (now > 2100)
        expect(now - (after[0] ?? 0)).toSatisfy((ms: number) => ms >= 2000 && ms < 2070);
    }
    expect(deep.length).toBe(101);
  });

  test('deep claims that cost much become rare, and frequent again', () => {
    const cursors = new Cursors();
    cursors.finish(cursors.start(0), false, 20);
    expect(cursors.start(999).isDeep).toBe(false);
    const start = cursors.start(1000);
    expect(start.isDeep).toBe(true);
    cursors.finish(start, false, 1);
    expect(cursors.start(1050).isDeep).toBe(true);
  });

  test('of many lanes those are forgotten in which nothing was claimed for a minute', () => {
    const cursors = new Cursors();
    for (let lane = 1; lane <= 400; lane++) claim(cursors, 0, [lane], false, lane);
    expect(cursors.start(10).lanes).toHaveLength(400);
    for (let now = 50; now <= 59_000; now += 50) claim(cursors, now, [1_000 + now], false, 201);
    expect(cursors.start(59_050).lanes).toHaveLength(400);
    for (let now = 59_100; now <= 65_000; now += 50)
      claim(cursors, now, [99_000 + now], false, 201);
    const { lanes, after } = cursors.start(65_010);
    expect(lanes).toHaveLength(8);
    expect(after[lanes.indexOf(201)]).toBeGreaterThan(99_000);
    // one that is used again is known again, and few are never forgotten
    claim(cursors, 65_020, [7_000_000], false, 5);
    expect(cursors.start(65_021).lanes).toContain(5);
    expect(cursors.start(999_000).lanes).toHaveLength(8);
  });

  test('a deep claim that takes no longer than others costs nothing', () => {
    const cursors = new Cursors();
    cursors.finish(cursors.start(0), false, 1);
    for (let i = 0; i < 40; i++) cursors.finish(cursors.start(1), false, 12);
    cursors.finish(cursors.start(50), false, 12);
    expect(cursors.start(100).isDeep).toBe(true);
  });

  test('never begins ahead of where the cursor stood, and forgets old positions', () => {
    const steps = fc.array(
      fc.record({
        wait: fc.integer({ min: 0, max: 3000 }),
        rows: fc.integer({ min: 0, max: 50 }),
        isShort: fc.boolean(),
      }),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(steps, (given) => {
        const cursors = new Cursors();
        const stood: { at: number; seq: number }[] = [{ at: Number.NEGATIVE_INFINITY, seq: 0 }];
        let now = 0;
        let seq = 0;
        let wasShort = false;
        for (const { wait, rows, isShort } of given) {
          now += wait;
          const start = cursors.start(now);
          const back = start.isDeep ? 2000 : wasShort ? 250 : 0;
          const bound = stood.findLast(({ at }) => at <= now - back)?.seq ?? 0;
          expect(start.after[0] ?? 0).toBeLessThanOrEqual(back === 0 ? seq : bound);
          for (let i = 0; i < rows; i++) cursors.advance(201, ++seq);
          stood.push({ at: now, seq });
          cursors.finish(start, isShort, 1);
          wasShort = isShort;
        }
      }),
    );
  });
});
