import { describe, expect, test } from 'vitest';
import { cronTimes } from '../../../../src/core/schedule/cron.js';
import { decideTimes, type Standing } from '../../../../src/core/schedule/nominal-times.js';

const hourly = cronTimes('0 * * * *', 'UTC');
const at = (hour: number, minute = 0, second = 0) => Date.UTC(2027, 0, 1, hour, minute, second);

const decide = (more: Partial<Standing>) =>
  decideTimes(hourly, {
    afterMs: at(0),
    nextMs: null,
    nowMs: at(1),
    missed: 'once',
    missedMax: 100,
    runsMax: 1000,
    ...more,
  });

describe('nominal times', () => {
  test('nothing is due before its time; exactly at it, it is', () => {
    expect(decide({ nowMs: at(1) - 1 })).toEqual({
      runs: [],
      skipped: null,
      after: at(0),
      next: at(1),
    });
    expect(decide({ nowMs: at(1) })).toEqual({
      runs: [at(1)],
      skipped: null,
      after: at(1),
      next: at(2),
    });
  });

  test.each(['skip', 'once', 'all'] as const)(
    'up to a minute late is on time, with %s',
    (missed) => {
      const nowMs = at(1, 0, 59);
      expect(decide({ nowMs, missed })).toMatchObject({ runs: [at(1)], skipped: null });
    },
  );

  test('skip: what was missed gets no job, what is due now does', () => {
    expect(decide({ missed: 'skip', nowMs: at(5, 30) })).toEqual({
      runs: [],
      skipped: at(5),
      after: at(5),
      next: at(6),
    });
    expect(decide({ missed: 'skip', nowMs: at(5, 0, 10) })).toEqual({
      runs: [at(5)],
      skipped: at(4),
      after: at(5),
      next: at(6),
    });
  });

  test('once: one job for all that was missed, that of the latest', () => {
    expect(decide({ nowMs: at(5, 30) })).toEqual({
      runs: [at(5)],
      skipped: null,
      after: at(5),
      next: at(6),
    });
    expect(decide({ nowMs: at(5, 0, 10) })).toMatchObject({ runs: [at(5)], after: at(5) });
  });

  test('all: a job each, up to the bound, and the rest in the next decision', () => {
    const nowMs = at(5, 30);
    expect(decide({ missed: 'all', nowMs })).toMatchObject({
      runs: [at(1), at(2), at(3), at(4), at(5)],
      skipped: null,
      after: at(5),
    });
    expect(decide({ missed: 'all', nowMs, missedMax: 2 })).toMatchObject({
      runs: [at(4), at(5)],
      skipped: at(3),
      after: at(5),
    });
    const some = decide({ missed: 'all', nowMs, runsMax: 2 });
    expect(some).toMatchObject({ runs: [at(1), at(2)], after: at(2), next: at(3) });
    expect(decide({ missed: 'all', nowMs, afterMs: some.after })).toMatchObject({
      runs: [at(3), at(4), at(5)],
    });
  });

  test('years of seconds cost no more than a moment', () => {
    const often = cronTimes('*/2 * * * * *', 'UTC');
    const nowMs = Date.UTC(2047, 0, 1, 0, 0, 1);
    const given = { afterMs: at(0), nextMs: null, nowMs, missedMax: 3, runsMax: 1000 };
    const began = performance.now();
    expect(decideTimes(often, { ...given, missed: 'skip' }).runs).toHaveLength(30);
    expect(decideTimes(often, { ...given, missed: 'once' }).runs).toHaveLength(30);
    expect(decideTimes(often, { ...given, missed: 'all' }).runs).toHaveLength(33);
    expect(performance.now() - began).toBeLessThan(1000);
  });

  test('a clock that went back decides nothing twice', () => {
    const decision = decide({ nowMs: at(5) });
    expect(decide({ afterMs: decision.after, nowMs: at(3) })).toEqual({
      runs: [],
      skipped: null,
      after: at(5),
      next: at(6),
    });
  });
});
