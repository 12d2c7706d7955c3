import { countOption } from '../../core/option.js';
import { type Duration, parseDuration } from '../../core/time/duration.js';
import { VISIBILITY } from './received-job.js';

/** How to receive. */
export interface ReceiveOptions {
  /** Most jobs, 1 to 1000. Default 1. */
  readonly max?: number | undefined;
  /** How long to wait when nothing is ready, 0 to 20 s. Default 0. */
  readonly wait?: Duration | undefined;
  /** How long the jobs are this consumer's, 100 ms to 12 hours. Default: as the queue says, 30 s. */
  readonly visibility?: Duration | undefined;
  /** Ends the wait as if its time were up. */
  readonly signal?: AbortSignal | undefined;
}

/** Options with every default filled in. */
export interface ReceiveSettings {
  readonly max: number;
  readonly waitMs: number;
  /** Null: as the queue says. */
  readonly visibilityMs: number | null;
  readonly signal: AbortSignal | undefined;
}

export const RECEIVE_MAX = 1_000;
const WAIT_MS_MAX = 20_000;

/** @throws HowdahError HOWDAH_OPTION_INVALID */
export function resolveReceiveOptions(options: ReceiveOptions): ReceiveSettings {
  return {
    max: countOption('max', options.max, 1, RECEIVE_MAX),
    waitMs: parseDuration(options.wait ?? 0, 'wait', { max: WAIT_MS_MAX }),
    visibilityMs:
      options.visibility === undefined
        ? null
        : parseDuration(options.visibility, 'visibility', VISIBILITY),
    signal: options.signal,
  };
}
