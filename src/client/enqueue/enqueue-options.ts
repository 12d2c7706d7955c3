import type { JobOptions } from '../../core/job/enqueue-options.js';
import { countOption, givenOptions } from '../../core/option.js';
import type { Duration } from '../../core/time/duration.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';

/** How concurrent `enqueue` calls outside a transaction share statements. */
export interface GatherOptions {
  /** Most jobs in a statement, 1 to 1000. Default 500. */
  readonly jobsMax?: number;
  /** Most statements under way at once, 1 to 100. Default 2. */
  readonly statementsMax?: number;
  /**
   * Most jobs that wait for a statement, 1 to 1,000,000. Default 100,000. A call beyond is refused
   * with HOWDAH_BUFFER_FULL, and so is one that would take their text past 64 MiB.
   */
  readonly waitingMax?: number;
}

/**
 * What to do where a queue is full: `throw` (default) HOWDAH_QUEUE_FULL; `wait` and try again, with
 * growing pauses; `drop-oldest` ends the oldest ready jobs (of the lowest priority first), which the
 * history keeps as discarded.
 */
export type OnFull = 'throw' | 'wait' | 'drop-oldest';

/** What can be said of one job, and the transaction to enqueue it in. */
export interface EnqueueOptions extends JobOptions {
  /**
   * An open transaction of the caller: the job exists if and only if it commits. Without it the job
   * is committed when the call returns.
   */
  readonly tx?: TxHandle | undefined;
  /** At a full queue. Default: as the client says, or `throw`. `wait` does not go with `tx`. */
  readonly onFull?: OnFull | undefined;
  /** With `wait`: how long, 1 ms to 1 day; then HOWDAH_QUEUE_FULL. Default 30 s. */
  readonly waitMax?: Duration | undefined;
  /** With `wait`: ends the wait, with HOWDAH_QUEUE_FULL whose `cause` is the reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Gather options with every default filled in. */
export type GatherSettings = Readonly<Record<keyof GatherOptions, number>>;

/** @throws HowdahError HOWDAH_OPTION_INVALID */
export function resolveGatherOptions(options: GatherOptions = {}): GatherSettings {
  givenOptions('gather', options, { jobsMax: true, statementsMax: true, waitingMax: true });
  return {
    jobsMax: countOption('gather.jobsMax', options.jobsMax, 500, 1000),
    statementsMax: countOption('gather.statementsMax', options.statementsMax, 2, 100),
    waitingMax: countOption('gather.waitingMax', options.waitingMax, 100_000, 1_000_000),
  };
}
