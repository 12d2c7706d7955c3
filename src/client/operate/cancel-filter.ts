import { HowdahError } from '../../core/errors.js';
import { describeValue } from '../../core/job/describe-value.js';
import type { JobState } from '../../core/job/job.js';
import { encodeJson, type Json } from '../../core/json.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import { WAIT_MS_MAX } from '../../core/queue/queue-policy.js';
import { type Duration, parseDuration } from '../../core/time/duration.js';

/** States in which a job can be cancelled. */
type CancellableState = Extract<JobState, 'scheduled' | 'blocked' | 'ready' | 'running'>;

/** Which unfinished jobs; every key that is given must fit. An empty filter fits all. */
export interface CancelFilter {
  readonly queue?: AnyQueue | string | undefined;
  readonly state?: CancellableState | readonly CancellableState[] | undefined;
  readonly group?: string | undefined;
  /** Enqueued at this time, or later. */
  readonly since?: Date | undefined;
  /** Enqueued before this time. */
  readonly until?: Date | undefined;
  /** Enqueued longer ago than this, by the clock of the database. */
  readonly olderThan?: Duration | undefined;
  /** The payload contains this, as jsonb's `@>` has it. */
  readonly payload?: Json | undefined;
}

/** How to cancel what a filter fits. */
export interface CancelOptions {
  /** Kept with the jobs, at most 500 characters. */
  readonly reason?: string | undefined;
  /** Most jobs at once, 1 to 100,000. Default 10,000. */
  readonly limit?: number | undefined;
  /** Only count what it would be. Default false. */
  readonly preview?: boolean | undefined;
}

const SQL_KEYS: Readonly<Record<keyof CancelFilter, string>> = {
  queue: 'queue',
  state: 'state',
  group: 'group',
  since: 'since',
  until: 'until',
  olderThan: 'older_than_ms',
  payload: 'payload',
};

/** @throws HowdahError HOWDAH_FILTER_INVALID */
export function encodeCancelFilter(filter: CancelFilter): string {
  const encoded: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(filter)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(SQL_KEYS, key)) throw invalid(key, 'does not exist');
    encoded[SQL_KEYS[key as keyof CancelFilter]] = encodeKey(key as keyof CancelFilter, value);
  }
  return encodeJson(encoded, 'filter');
}

function encodeKey(key: keyof CancelFilter, value: unknown): unknown {
  switch (key) {
    case 'queue':
      return nameOf(value as AnyQueue | string);
    case 'olderThan':
      return parseDuration(value as Duration, 'olderThan', { max: WAIT_MS_MAX });
    case 'since':
    case 'until':
      if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString();
      throw invalid(key, `${describeValue(value)} is not a valid Date`);
    case 'group':
      if (typeof value === 'string') return value;
      throw invalid(key, `${describeValue(value)} is not text`);
    default:
      return value;
  }
}

function invalid(key: string, problem: string): HowdahError {
  return new HowdahError('HOWDAH_FILTER_INVALID', `Filter key ${key}: ${problem}.`, {
    details: { key },
    remedy: `Known are ${Object.keys(SQL_KEYS).join(', ')}.`,
  });
}
