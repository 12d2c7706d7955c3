import { Cron } from 'croner';
import { describeValue } from '../describe-value.js';
import { HowdahError } from '../errors.js';
import { midnightGaps } from './midnight-gaps.js';

/** Least time between two runs: an expression that names seconds closer together is refused. */
const CRON_GAP_MS_MIN = 2_000;
const CRON_CHARS_MAX = 200;

/** When a cron expression fires in its time zone. All times are milliseconds since 1970. */
export interface CronTimes {
  /** The first time after `afterMs`; undefined where there is none. */
  next(afterMs: number): number | undefined;
  /** The last times before `beforeMs`, at most `count`, the oldest first. */
  last(beforeMs: number, count: number): number[];
}

/** The same form as in `migrations/0034_schedules.sql`. */
const FORM =
  /^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[0-9a-z*/,#-]+( [0-9a-z*/,#-]+){4,5})$/i;
const ZONE = /^[A-Za-z][A-Za-z0-9_+/-]{1,63}$/;
/** Whether an expression ever fires is looked at from here on. */
const FROM_MS = Date.UTC(2024, 0, 1);

/**
 * Reads a cron expression of five fields, or of six where the first is seconds, or a name such as
 * `@daily`. In a day that daylight saving makes shorter or longer, a time that is written out (no `*`
 * and no step in seconds, minutes and hours) fires once: at the end of the gap it falls into, and at
 * the first of two occurrences. Others skip what does not exist and fire on both.
 * @throws HowdahError HOWDAH_CRON_INVALID (malformed, never matches, fires too often),
 *   HOWDAH_ZONE_INVALID
 */
export function cronTimes(expression: string, zone: string): CronTimes {
  assertZone(zone);
  const cron = parse(expression, zone);
  const times = isFixedTime(expression)
    ? withMidnightGaps(timesOf(cron), parse(expression, 'UTC'), zone)
    : timesOf(cron);
  if (times.next(FROM_MS) === undefined) {
    throw invalid(expression, 'never matches', 'Name a day that the month has.');
  }
  if (fieldsOf(expression) === 6) assertGaps(expression);
  return times;
}

/** One blank between the fields, none around them. */
export function normalizeCron(expression: unknown): string {
  if (typeof expression !== 'string') throw malformed(expression);
  return expression
    .slice(0, CRON_CHARS_MAX * 2)
    .trim()
    .replace(/\s+/g, ' ');
}

/** @throws HowdahError HOWDAH_ZONE_INVALID */
export function assertZone(zone: unknown): asserts zone is string {
  try {
    if (typeof zone === 'string' && ZONE.test(zone)) {
      new Intl.DateTimeFormat('en', { timeZone: zone });
      return;
    }
  } catch {
    // the error below says it better
  }
  throw new HowdahError('HOWDAH_ZONE_INVALID', `Time zone ${describeValue(zone)} does not exist.`, {
    details: { zone },
    remedy: 'Use a name such as Europe/Berlin or UTC.',
  });
}

function parse(expression: string, timezone: string): Cron {
  if (expression.length > CRON_CHARS_MAX || !FORM.test(expression)) throw malformed(expression);
  try {
    return new Cron(expression, {
      timezone,
      paused: true,
      mode: fieldsOf(expression) === 6 ? '6-part' : '5-part',
      fixedTimeRule: 'no-wildcard',
    });
  } catch (error) {
    const problem = (error as Error).message.replace(/^CronPattern: /, '').replace(/\.$/, '');
    throw invalid(
      expression,
      `is not valid: ${problem}`,
      'See the table of fields in docs/schedules.md.',
    );
  }
}

function fieldsOf(expression: string): number {
  return expression.split(' ').length;
}

/** Many schedules share an expression and ask one after another: the last answer is remembered. */
function timesOf(cron: Cron): CronTimes {
  let asked = Number.NaN;
  let answer: number | undefined;
  return {
    next(afterMs) {
      if (afterMs !== asked) {
        answer = cron.nextRun(new Date(afterMs))?.getTime();
        asked = afterMs;
      }
      return answer;
    },
    last: (beforeMs, count) =>
      cron
        .previousRuns(count, new Date(beforeMs))
        .map((time) => time.getTime())
        .reverse(),
  };
}

/** Seconds, minutes and hours are all written out. */
function isFixedTime(expression: string): boolean {
  if (expression.startsWith('@')) return false; // at midnight, or each hour: never in the last hour of a day
  const fields = expression.split(' ');
  return fields.slice(0, fields.length - 3).every((field) => !/[*/]/.test(field));
}

/** A written-out time that falls into a gap over midnight comes when the gap ends, though that is the next date. */
function withMidnightGaps(times: CronTimes, local: Cron, zone: string): CronTimes {
  const inGaps = (fromMs: number, toMs: number): number[] =>
    midnightGaps(zone, fromMs, toMs)
      .filter(({ fromLocalMs, toLocalMs }) => {
        const match = local.nextRun(new Date(fromLocalMs - 1_000))?.getTime();
        return match !== undefined && match <= toLocalMs;
      })
      .map(({ endMs }) => endMs);
  return {
    next(afterMs) {
      const plain = times.next(afterMs);
      return plain === undefined ? undefined : (inGaps(afterMs + 1, plain)[0] ?? plain);
    },
    last(beforeMs, count) {
      const plain = times.last(beforeMs, count);
      const gaps = inGaps(plain[0] ?? beforeMs, beforeMs - 1);
      const all = [...new Set([...plain, ...gaps])].sort((a, b) => a - b);
      return all.slice(-count);
    },
  };
}

/** Seconds recur in each minute that matches; in one after another, where more than one does. */
function assertGaps(expression: string): void {
  const [field = '', minute = ''] = expression.split(' ');
  const seconds = [...new Set(field.split(',').flatMap(secondsOf))].sort((a, b) => a - b);
  const isAlone = /^\d+$/.test(minute);
  const after = [...seconds.slice(1), isAlone ? Number.POSITIVE_INFINITY : (seconds[0] ?? 0) + 60];
  if (seconds.every((second, n) => ((after[n] ?? 0) - second) * 1_000 >= CRON_GAP_MS_MIN)) return;
  throw invalid(
    expression,
    'fires too often',
    `Leave ${CRON_GAP_MS_MIN / 1_000} seconds or more between two runs, such as */2 * * * * *.`,
  );
}

/** Of a part that has been found valid: a number, a range or `*`, perhaps with a step. */
function secondsOf(part: string): number[] {
  const [range = '', step = '1'] = part.split('/');
  const [first = '0', last = range === '*' ? '59' : first] = range === '*' ? [] : range.split('-');
  const seconds: number[] = [];
  for (let n = Number(first); n <= Number(last); n += Number(step)) seconds.push(n);
  return seconds;
}

function malformed(expression: unknown): HowdahError {
  const remedy = `Use five fields, or six with seconds, such as 0 3 * * 1-5; at most ${CRON_CHARS_MAX} characters.`;
  return invalid(expression, 'is not valid', remedy);
}

function invalid(expression: unknown, problem: string, remedy: string): HowdahError {
  return new HowdahError(
    'HOWDAH_CRON_INVALID',
    `Cron expression ${describeValue(expression)} ${problem}.`,
    { details: { cron: typeof expression === 'string' ? expression.slice(0, 200) : null }, remedy },
  );
}
