import { describeValue } from '../../core/describe-value.js';
import { HowdahError } from '../../core/errors.js';
import { assertJobIds } from '../../core/job/job-id.js';
import { encodeJson } from '../../core/json.js';
import { givenObject } from '../../core/option.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';

/** How one key of a filter is called in SQL, and how its value is checked and written. */
interface FilterKey {
  readonly sql: string;
  readonly encode: (value: unknown, key: string) => unknown;
}

/** Every key of a filter. */
export type FilterKeys<Filter> = { readonly [Key in keyof Filter]-?: FilterKey };

/**
 * A filter as the SQL functions take it. Keys without a value are left out.
 * @throws HowdahError HOWDAH_OPTION_INVALID (no object), HOWDAH_FILTER_INVALID (a key, a value), what is wrong with a queue or an id
 */
export function encodeFilter<Filter extends object>(
  filter: Filter,
  keys: FilterKeys<Filter>,
): string {
  const encoded: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(givenObject('filter', filter))) {
    if (value === undefined) continue;
    if (!Object.hasOwn(keys, key)) {
      throw invalid(key, 'does not exist', `Known are ${Object.keys(keys).join(', ')}.`);
    }
    const { sql, encode } = keys[key as keyof Filter];
    encoded[sql] = encode(value, key);
  }
  return encodeJson(encoded, 'filter');
}

/** A queue, or its name. */
export function queueKey(sql: string): FilterKey {
  return { sql, encode: (value) => nameOf(value as AnyQueue | string) };
}

/** A `Date`. */
export function timeKey(sql: string): FilterKey {
  return {
    sql,
    encode: (value, key) => {
      if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString();
      throw invalid(key, `${describeValue(value)} is not a valid Date`, 'Give a Date.');
    },
  };
}

/** Text. */
export function textKey(sql: string): FilterKey {
  return {
    sql,
    encode: (value, key) => {
      if (typeof value === 'string') return value;
      throw invalid(key, `${describeValue(value)} is not text`, 'Give text.');
    },
  };
}

/** An array of ids of jobs. */
export function idsKey(sql: string): FilterKey {
  return {
    sql,
    encode: (value, key) => {
      if (!Array.isArray(value)) {
        throw invalid(key, `${describeValue(value)} is not an array`, 'Give an array of ids.');
      }
      assertJobIds(value);
      return value;
    },
  };
}

/** What SQL checks. */
export function anyKey(sql: string): FilterKey {
  return { sql, encode: (value) => value };
}

function invalid(key: string, problem: string, remedy: string): HowdahError {
  return new HowdahError('HOWDAH_FILTER_INVALID', `Filter key ${key}: ${problem}.`, {
    details: { key },
    remedy,
  });
}
