import type { JobState } from '../../core/job/job.js';
import type { Json } from '../../core/json.js';
import type { AnyQueue } from '../../core/queue/queue.js';
import { WAIT_MS_MAX } from '../../core/queue/queue-policy.js';
import { type Duration, parseDuration } from '../../core/time/duration.js';
import { anyKey, encodeFilter, type FilterKeys, queueKey, textKey, timeKey } from './filter.js';

/** States in which a job can be cancelled. */
type CancellableState = Extract<JobState, 'scheduled' | 'blocked' | 'ready' | 'running'>;

/** Which unfinished jobs; every key that is given must match. An empty filter matches all. */
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

/** How to cancel the jobs that match a filter. */
export interface CancelOptions {
  /** Kept with the jobs, at most 500 characters. */
  readonly reason?: string | undefined;
  /** Most jobs at once, 1 to 100,000. Default 10,000. */
  readonly limit?: number | undefined;
  /** Only count what it would be. Default false. */
  readonly preview?: boolean | undefined;
}

const KEYS: FilterKeys<CancelFilter> = {
  queue: queueKey('queue'),
  state: anyKey('state'),
  group: textKey('group'),
  since: timeKey('since'),
  until: timeKey('until'),
  olderThan: {
    sql: 'older_than_ms',
    encode: (value, key) => parseDuration(value as Duration, key, { max: WAIT_MS_MAX }),
  },
  payload: anyKey('payload'),
};

/** @throws HowdahError HOWDAH_FILTER_INVALID */
export function encodeCancelFilter(filter: CancelFilter): string {
  return encodeFilter(filter, KEYS);
}
