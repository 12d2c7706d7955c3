import type { Clock } from '../../core/clock.js';
import { describeValue } from '../../core/describe-value.js';
import { HowdahError } from '../../core/errors.js';
import { exclusiveOptions, givenOptions, type KnownKeys } from '../../core/option.js';
import { WAIT_MS_MAX } from '../../core/queue/queue-policy.js';
import { type Duration, parseDuration } from '../../core/time/duration.js';

/** How often a drain looks. */
const LOOK_MS = 200;

/** How long a queue is paused, and why. Without `until` and `for`: until it is resumed. */
export interface PauseOptions {
  /** At most 500 characters; shown by `queues.stats` and `howdah status`. */
  readonly reason?: string;
  /** A Date, or ISO 8601 text with a zone, at most 10 years ahead. Not together with `for`. */
  readonly until?: Date | string;
  /** 1 ms to 10 years from now, on the clock of the database. */
  readonly for?: Duration;
}

const PAUSE: KnownKeys<PauseOptions> = { reason: true, until: true, for: true };

/** What is left of a queue that is drained. */
export interface DrainProgress {
  readonly ready: number;
  readonly running: number;
}

/** How a drain waits. */
export interface DrainQueueOptions {
  /** Longest wait. Default: without end. */
  readonly timeout?: Duration;
  readonly signal?: AbortSignal;
  /** Called with what is left, at each look (every 200 ms). */
  readonly onProgress?: (left: DrainProgress) => void;
}

/** A pause as the SQL function takes it. */
interface EncodedPause {
  readonly reason: string | null;
  readonly until: string | null;
  readonly forMs: number | null;
}

/** @throws HowdahError HOWDAH_OPTION_INVALID, HOWDAH_HOLD_INVALID */
export function encodePause(given: string | PauseOptions | undefined): EncodedPause {
  const {
    reason = null,
    until,
    for: wait,
  } = typeof given === 'string' ? { reason: given } : givenOptions('options', given ?? {}, PAUSE);
  if (until !== undefined && wait !== undefined) {
    throw exclusiveOptions('until', 'for');
  }
  return {
    reason,
    until: until === undefined ? null : timeOf(until),
    forMs: wait === undefined ? null : parseDuration(wait, 'for', { min: 1, max: WAIT_MS_MAX }),
  };
}

/** Text without a zone would mean another moment on each machine. */
const ZONE = /(Z|[+-]\d{2}:\d{2})$/;

function timeOf(value: Date | string): string {
  const isText = typeof value === 'string';
  const time = isText && !ZONE.test(value) ? new Date(Number.NaN) : new Date(value);
  if (!Number.isNaN(time.getTime())) return time.toISOString();
  throw new HowdahError(
    'HOWDAH_HOLD_INVALID',
    `Option until: ${describeValue(value)} is not a time.`,
    {
      details: { option: 'until', value },
      remedy: "Use a Date, or text such as '2027-01-31T09:00:00Z'.",
    },
  );
}

/** Looks until nothing is ready or running. @param look undefined: there is no such queue */
export async function drainQueue(
  queue: string,
  look: () => Promise<DrainProgress | undefined>,
  { timeout, signal, onProgress }: DrainQueueOptions,
  clock: Clock,
): Promise<void> {
  const timeoutMs = timeout === undefined ? Infinity : parseDuration(timeout, 'timeout');
  const deadline = clock.monotonic() + timeoutMs;
  while (true) {
    signal?.throwIfAborted();
    const stats = await look();
    if (!stats) {
      throw new HowdahError('HOWDAH_QUEUE_UNKNOWN', `Queue ${queue} does not exist.`, {
        details: { queue },
      });
    }
    const { ready, running } = stats;
    if (ready + running === 0) return;
    onProgress?.({ ready, running });
    const leftMs = deadline - clock.monotonic();
    if (leftMs <= 0) {
      throw new HowdahError(
        'HOWDAH_TIMEOUT',
        `Queue ${queue} is not drained after ${timeoutMs} ms.`,
        {
          details: { queue, ready, running },
        },
      );
    }
    await clock.sleep(Math.min(LOOK_MS, leftMs), signal);
  }
}
