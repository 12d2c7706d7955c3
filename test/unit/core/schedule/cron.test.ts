import { describe, expect, test } from 'vitest';
import type { HowdahError } from '../../../../src/core/errors.js';
import { cronTimes, normalizeCron } from '../../../../src/core/schedule/cron.js';

/** The next times, as `from` would list them. */
function nextTimes(cron: string, zone: string, from: string, count: number): string[] {
  const times = cronTimes(cron, zone);
  const found: string[] = [];
  let at: number | undefined = Date.parse(from);
  while (found.length < count) {
    at = times.next(at);
    if (at === undefined) break;
    found.push(new Date(at).toISOString().replace('.000Z', 'Z'));
  }
  return found;
}

function errorOf(run: () => unknown): Partial<HowdahError> {
  try {
    run();
  } catch (error) {
    return error as HowdahError;
  }
  throw new Error('was not refused');
}

describe('a fixed daily time', () => {
  /** Each in the gap, or in the hour that comes twice, of its zone. */
  const cases = [
    ['Europe/Berlin', '30 2 * * *'],
    ['America/New_York', '30 2 * * *'],
    ['America/New_York', '30 1 * * *'],
    ['Australia/Lord_Howe', '15 2 * * *'], // moves by half an hour
    ['Australia/Lord_Howe', '45 1 * * *'],
    ['Asia/Kathmandu', '45 5 * * *'], // never moves
    ['America/St_Johns', '30 2 * * *'],
    ['America/St_Johns', '30 1 * * *'],
    ['America/Santiago', '30 0 * * *'], // its gap is at midnight
    ['UTC', '0 0 * * *'],
  ] as const;

  test.each(cases)('in %s, %s, runs once per local date', (zone, cron) => {
    const times = cronTimes(cron, zone);
    const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short' });
    const dates: string[] = [];
    let at: number = Date.UTC(2027, 0, 1, 12);
    const end = Date.UTC(2029, 0, 1, 12);
    for (let next = times.next(at); next !== undefined && next < end; next = times.next(at)) {
      at = next;
      dates.push(format.format(at));
    }
    expect(dates.length).toBe(731); // two years, one of them a leap year
    expect(new Set(dates).size).toBe(731);
  });
});

describe('daylight saving', () => {
  test('a fixed time in the gap runs when the gap ends', () => {
    expect(nextTimes('30 2 * * *', 'Europe/Berlin', '2027-03-27T12:00:00Z', 2)).toEqual([
      '2027-03-28T01:00:00Z',
      '2027-03-29T00:30:00Z',
    ]);
    expect(nextTimes('15 2 * * *', 'Australia/Lord_Howe', '2027-10-02T00:00:00Z', 2)).toEqual([
      '2027-10-02T15:30:00Z',
      '2027-10-03T15:15:00Z',
    ]);
  });

  test('one that comes twice runs at the first occurrence', () => {
    expect(nextTimes('30 1 * * *', 'America/New_York', '2027-11-07T00:00:00Z', 2)).toEqual([
      '2027-11-07T05:30:00Z',
      '2027-11-08T06:30:00Z',
    ]);
    // asked in between, too
    expect(nextTimes('30 1 * * *', 'America/New_York', '2027-11-07T05:45:00Z', 1)).toEqual([
      '2027-11-08T06:30:00Z',
    ]);
  });

  test('a list of hours is fixed times: each once, those that meet at the end of a gap together', () => {
    expect(nextTimes('0 1,2,3 * * *', 'Europe/Berlin', '2027-10-30T22:00:00Z', 4)).toEqual([
      '2027-10-30T23:00:00Z',
      '2027-10-31T00:00:00Z',
      '2027-10-31T02:00:00Z',
      '2027-11-01T00:00:00Z',
    ]);
    expect(nextTimes('0 1,2,3 * * *', 'Europe/Berlin', '2027-03-27T22:00:00Z', 3)).toEqual([
      '2027-03-28T00:00:00Z',
      '2027-03-28T01:00:00Z',
      '2027-03-28T23:00:00Z',
    ]);
  });

  test('what recurs through the day skips the gap and runs on both occurrences', () => {
    expect(nextTimes('30 * * * *', 'Europe/Berlin', '2027-03-28T00:00:00Z', 2)).toEqual([
      '2027-03-28T00:30:00Z',
      '2027-03-28T01:30:00Z',
    ]);
    expect(nextTimes('*/30 2 * * *', 'Europe/Berlin', '2027-10-30T22:00:00Z', 5)).toEqual([
      '2027-10-31T00:00:00Z',
      '2027-10-31T00:30:00Z',
      '2027-10-31T01:00:00Z',
      '2027-10-31T01:30:00Z',
      '2027-11-01T01:00:00Z',
    ]);
  });
});

describe('looking back', () => {
  const zones = [
    'Europe/Berlin',
    'America/New_York',
    'Australia/Lord_Howe',
    'Asia/Kathmandu',
    'America/St_Johns',
  ];
  const expressions = ['30 2 * * *', '30 1 * * *', '45 1,2 * * *', '*/20 1-3 * * *', '@hourly'];
  /** Each around a change of a clock. */
  const days = ['2027-03-14', '2027-03-28', '2027-04-04', '2027-10-03', '2027-10-31', '2027-11-07'];

  test.each(zones)('in %s finds the times that looking forward does', (zone) => {
    for (const expression of expressions) {
      const times = cronTimes(expression, zone);
      for (const day of days) {
        const [from, to] = [-36, 36].map((hours) => Date.parse(day) + hours * 3_600_000) as [
          number,
          number,
        ];
        const forward: number[] = [];
        let at = times.next(from - 1);
        for (; at !== undefined && at < to; at = times.next(at)) forward.push(at);
        const back = times.last(to, forward.length + 1).filter((each) => each >= from);
        expect(back, `${expression} around ${day}`).toEqual(forward);
      }
    }
  });
});

describe('expressions', () => {
  test.each([
    ['0 0 29 2 *', ['2028-02-29T00:00:00Z']],
    ['0 0 L * *', ['2027-01-31T00:00:00Z', '2027-02-28T00:00:00Z']],
    ['0 0 * * 1#2', ['2027-01-11T00:00:00Z']],
    ['0 0 13 * 5', ['2027-01-08T00:00:00Z', '2027-01-13T00:00:00Z']], // either
    ['0 9 * * MON-FRI', ['2027-01-01T09:00:00Z', '2027-01-04T09:00:00Z']],
    ['*/10 * * * * *', ['2027-01-01T00:00:10Z', '2027-01-01T00:00:20Z']],
    ['@daily', ['2027-01-02T00:00:00Z']],
    ['0-58/2 * * * * *', ['2027-01-01T00:00:02Z']],
    ['0,59 30 * * * *', ['2027-01-01T00:30:00Z', '2027-01-01T00:30:59Z']], // an hour later again
  ])('%s', (cron, expected) => {
    expect(nextTimes(cron, 'UTC', '2027-01-01T00:00:00Z', expected.length)).toEqual(expected);
  });

  test('last() gives the times before, the oldest first', () => {
    const times = cronTimes('0 * * * *', 'UTC');
    const at = (hour: number) => Date.UTC(2027, 0, 1, hour);
    expect(times.last(at(5), 3)).toEqual([at(2), at(3), at(4)]);
  });

  test.each([
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * * 13 *',
    '* * * *',
    '* * * * * * *',
    '',
    '? * * * *',
    'a b c d e',
    '5/15 * * * *',
    '*/0 * * * *',
    '@sometimes',
    `${'1,'.repeat(200)}1 * * * *`,
    '0 0 30 2 *',
    '0 0 31 4,6,9,11 *',
    '* * * * * *',
    '0,1 * * * * *',
    '0,59 * * * * *',
    '10-20 * * * * *',
    '*/59 * * * * *',
  ])('%s is refused with a remedy', (cron) => {
    const { code, remedy, message } = errorOf(() => cronTimes(normalizeCron(cron), 'UTC'));
    expect(code).toBe('HOWDAH_CRON_INVALID');
    expect(remedy).toBeTruthy();
    expect(message?.length).toBeLessThan(400);
  });

  test.each(['Nowhere/City', '', 'x'.repeat(10_240), '+01:00', 'Europe/Berlin; drop table'])(
    'time zone %s is refused',
    (zone) => {
      expect(errorOf(() => cronTimes('* * * * *', zone))).toMatchObject({
        code: 'HOWDAH_ZONE_INVALID',
        remedy: expect.any(String),
      });
    },
  );

  test('blanks do not count; what is no text is refused', () => {
    expect(normalizeCron('  0   3 *\t* * ')).toBe('0 3 * * *');
    for (const cron of [undefined, null, 5, {}]) {
      expect(errorOf(() => normalizeCron(cron)).code).toBe('HOWDAH_CRON_INVALID');
    }
  });
});
