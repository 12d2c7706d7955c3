import { describe, expect, test } from 'vitest';
import { cronTimes } from '../../../../src/core/schedule/cron.js';

const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;

/** Local time as a number, by Intl alone: what no code under test has a part in. */
function localOf(zone: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat('sv', {
    timeZone: zone,
    dateStyle: 'short',
    timeStyle: 'medium',
  });
  return (ms) => Date.parse(`${format.format(ms).replace(' ', 'T')}Z`);
}

/** Where the clocks of a zone change, by steps of a week and then by halves. */
function changesOf(local: (ms: number) => number, from: number, to: number): number[] {
  const changes: number[] = [];
  for (let week = from; week < to; week += WEEK_MS) {
    let [low, high] = [week, week + WEEK_MS];
    const offset = (ms: number): number => local(ms) - ms;
    if (offset(low) === offset(high)) continue;
    while (high - low > 60_000) {
      const middle = Math.floor((low + high) / 120_000) * 60_000;
      if (offset(middle) === offset(low)) low = middle;
      else high = middle;
    }
    changes.push(high);
  }
  return changes;
}

/** The first moment at which a clock on the wall shows that time of that date, or a later one. */
function firstShowing(local: (ms: number) => number, wall: number): number {
  let [low, high] = [wall - 2 * DAY_MS, wall + 2 * DAY_MS];
  // local time is not monotonic where clocks go back: the first of two is found by walking back
  while (high - low > 60_000) {
    const middle = Math.floor((low + high) / 120_000) * 60_000;
    if (local(middle) >= wall) high = middle;
    else low = middle;
  }
  if (local(high) - local(high - 60_000) > 60_000) return high; // the end of a gap
  for (let back = high - 60_000; back > high - 3 * 3_600_000; back -= 60_000) {
    if (local(back) >= wall) high = back;
  }
  return high;
}

describe('a daily time comes once on every local date', () => {
  test('of every change of clocks of every zone, 2020 to 2037', () => {
    const seen = new Set<string>();
    const wrong: string[] = [];
    let checked = 0;
    for (const zone of Intl.supportedValuesOf('timeZone')) {
      const local = localOf(zone);
      const changes = changesOf(local, Date.UTC(2020, 0, 1), Date.UTC(2038, 0, 1));
      for (const change of changes) {
        const key = `${change} ${local(change)} ${local(change - 60_000)}`;
        if (seen.has(key)) continue;
        seen.add(key);
        for (const [hour, minute] of [
          [23, 30],
          [0, 30],
        ] as const) {
          const times = cronTimes(`${minute} ${hour} * * *`, zone);
          const day = Math.floor(local(change - 60_000) / DAY_MS) * DAY_MS;
          for (const date of [day, day + DAY_MS]) {
            const wanted = firstShowing(local, date + hour * 3_600_000 + minute * 60_000);
            checked += 1;
            if (times.next(wanted - 60_000) !== wanted) {
              wrong.push(`${zone} ${hour}:${minute} ${new Date(date).toISOString().slice(0, 10)}`);
            }
          }
        }
      }
    }
    expect(checked).toBeGreaterThan(1_000);
    expect(wrong).toEqual([]);
  }, 120_000);

  test('of Nuuk, where the last hour of a day in March is not there: forwards and backwards', () => {
    const times = cronTimes('30 23 * * *', 'America/Nuuk');
    const end = Date.parse('2026-03-29T01:00:00Z');
    expect(times.next(Date.parse('2026-03-28T12:00:00Z'))).toBe(end);
    expect(times.next(end)).toBe(Date.parse('2026-03-30T00:30:00Z'));
    expect(times.last(end + 1, 2)).toEqual([Date.parse('2026-03-28T01:30:00Z'), end]);
  });
});
