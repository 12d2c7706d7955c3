/** What the driver asks for per column: `types` of a statement, a client or a pool. */
export interface Decoders {
  getTypeParser(oid: number, format?: string): (text: string) => unknown;
}

const asText = (text: string): unknown => text;

/** By the number of the type in `pg_type`, which never changes. `bigint` and all else stay text. */
const BY_TYPE: ReadonlyMap<number, (text: string) => unknown> = new Map<
  number,
  (text: string) => unknown
>([
  [16, (text) => text === 't'],
  [21, Number],
  [23, Number],
  [26, Number],
  [700, Number],
  [701, Number],
  [1700, Number],
  [114, (text) => JSON.parse(text) as unknown],
  [3802, (text) => JSON.parse(text) as unknown],
  [1184, decodeTime],
]);

/**
 * How columns of our own statements are read. Sent along with each, because an application may have changed the
 * parsers of `pg`, which hold for the whole process (`parseInt8`, `setTypeParser`), or of the pool it hands in.
 */
export const DECODERS: Decoders = {
  getTypeParser: (oid) => BY_TYPE.get(oid) ?? asText,
};

const TIME =
  /^(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?$/;

/** A `timestamptz` as DateStyle ISO writes it: see `times.ts`. To the millisecond, as Date keeps it. */
function decodeTime(text: string): Date | number {
  if (text === 'infinity') return Number.POSITIVE_INFINITY;
  if (text === '-infinity') return Number.NEGATIVE_INFINITY;
  const found = TIME.exec(text);
  if (!found) throw new Error(`a time is not of DateStyle ISO: ${text.slice(0, 60)}`);
  const [, year, month, day, hour, minute, second, fraction = '0', sign, ...rest] = found;
  const [zoneHours = '0', zoneMinutes = '0', zoneSeconds = '0', era] = rest;
  const time = new Date(0);
  time.setUTCFullYear(era ? 1 - Number(year) : Number(year), Number(month) - 1, Number(day));
  time.setUTCHours(
    Number(hour),
    Number(minute),
    Number(second),
    Math.floor(Number(fraction) * 1000),
  );
  const offsetS = Number(zoneHours) * 3600 + Number(zoneMinutes) * 60 + Number(zoneSeconds);
  time.setTime(time.getTime() - (sign === '-' ? -1 : 1) * offsetS * 1000);
  return time;
}
