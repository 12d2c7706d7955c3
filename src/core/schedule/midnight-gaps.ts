/** A spring night whose gap ends at, or behind, local midnight: the last hour of a day is not there. */
interface MidnightGap {
  /** When it ends; milliseconds since 1970. */
  readonly endMs: number;
  /** First and last local time that is not there, as if it were UTC. */
  readonly fromLocalMs: number;
  readonly toLocalMs: number;
}

const DAY_MS = 86_400_000;
const YEARS_MAX = 400;

const zones = new Map<string, Map<number, readonly MidnightGap[]>>();
const formats = new Map<string, Intl.DateTimeFormat>();

/** Those of a time zone that end within the time given, both included; looked for once a zone and year. */
export function midnightGaps(zone: string, fromMs: number, toMs: number): MidnightGap[] {
  let years = zones.get(zone);
  if (!years) {
    years = new Map();
    zones.set(zone, years);
  }
  const found: MidnightGap[] = [];
  const first = new Date(fromMs).getUTCFullYear();
  const last = Math.min(new Date(toMs).getUTCFullYear(), first + YEARS_MAX);
  for (let year = first; year <= last; year += 1) {
    const gaps = years.get(year) ?? findGaps(zone, year);
    years.set(year, gaps);
    found.push(...gaps.filter(({ endMs }) => endMs >= fromMs && endMs <= toMs));
  }
  return found;
}

function findGaps(zone: string, year: number): MidnightGap[] {
  const gaps: MidnightGap[] = [];
  const end = Date.UTC(year + 1, 0, 1);
  let before = offsetAt(zone, Date.UTC(year, 0, 1));
  for (let day = Date.UTC(year, 0, 1); day < end; day += DAY_MS) {
    const after = offsetAt(zone, day + DAY_MS);
    if (after > before) {
      const endMs = changeIn(zone, day, day + DAY_MS);
      const fromLocalMs = endMs + before;
      const toLocalMs = endMs + after - 1;
      const isOverMidnight =
        Math.floor(fromLocalMs / DAY_MS) < Math.floor((toLocalMs + 1) / DAY_MS);
      if (isOverMidnight) gaps.push({ endMs, fromLocalMs, toLocalMs });
    }
    before = after;
  }
  return gaps;
}

/** The first moment with the offset of `to`, to the second. */
function changeIn(zone: string, from: number, to: number): number {
  const offset = offsetAt(zone, to);
  let [low, high] = [from, to];
  while (high - low > 1_000) {
    const middle = Math.floor((low + high) / 2_000) * 1_000;
    if (offsetAt(zone, middle) === offset) high = middle;
    else low = middle;
  }
  return high;
}

/** How far local time is ahead of UTC, in milliseconds. */
function offsetAt(zone: string, ms: number): number {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    formats.set(zone, format);
  }
  const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = format
    .formatToParts(ms)
    .filter(({ type }) => type !== 'literal')
    .map(({ value }) => Number(value));
  return Date.UTC(year, month - 1, day, hour, minute, second) - ms;
}
