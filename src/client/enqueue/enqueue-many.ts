import type { HowdahError } from '../../core/errors.js';
import type { DedupeOptions } from '../../core/job/dedupe.js';
import type { EnqueueOptions } from './enqueue-options.js';

/** As {@link DedupeOptions}, the key perhaps a function of the payload. */
export interface DedupeManyOptions extends Omit<DedupeOptions, 'key'> {
  readonly key: string | KeyOf;
}

/** Accepts a function of whatever type the payloads have. */
type KeyOf = { of(payload: unknown): string }['of'];

/** What can be said of many jobs at once. The job options hold for each of them. */
export interface EnqueueManyOptions extends Omit<EnqueueOptions, 'dedupe'> {
  /** One job per key and window; the key is a function of the payload, or the same for all. */
  readonly dedupe?: DedupeManyOptions | undefined;
  /**
   * `'throw'` (default): stops at the first payload that is refused. Everything before it has been
   * enqueued, nothing after it; `error.details` has its `index` and how many were `accepted`.
   * `'report'`: goes on, and the result says which were refused and why.
   */
  readonly onError?: 'throw' | 'report' | undefined;
  /** Most jobs in a statement, 1 to 1000, default 1000. A statement also ends at about 1 MiB. */
  readonly batchSize?: number | undefined;
  /** Called after each statement, in order; the next but one waits for it. */
  readonly onBatch?: ((batch: EnqueuedBatch) => void | Promise<void>) | undefined;
}

/** What one statement did. */
export interface EnqueuedBatch {
  /**
   * The jobs it enqueued: position of the payload in the input, from 0, and id; `created` is false where
   * the dedupe key was taken.
   */
  readonly jobs: readonly {
    readonly index: number;
    readonly id: string;
    readonly created: boolean;
  }[];
  /** Enqueued so far, this statement included. */
  readonly accepted: number;
  /** Refused so far. */
  readonly rejected: number;
}

/** A payload that was refused. */
export interface Rejection {
  /** Position in the input, from 0. */
  readonly index: number;
  readonly error: HowdahError;
}

/** The account of an `enqueueMany`. */
export interface EnqueueManyResult {
  /** How many were enqueued, duplicates included. In a transaction: if it commits. */
  readonly accepted: number;
  /** How many of them found their dedupe key taken; their id is that of the first job. */
  readonly duplicates: number;
  /** How many were refused; always 0 with `onError: 'throw'`. */
  readonly rejected: number;
  /** The first 1000 of those that were refused. */
  readonly rejections: readonly Rejection[];
}

/** The account of an `enqueueMany` of an array. */
export interface EnqueueManyArrayResult extends EnqueueManyResult {
  /** Id of each payload in the order given; null where it was refused. */
  readonly ids: readonly (string | null)[];
}
