import { HowdahError, type HowdahErrorCode } from '../../core/errors.js';
import { assertJobIds } from '../../core/job/job-id.js';
import { readResult } from '../../core/job/typed-result.js';
import type { Json } from '../../core/json.js';
import type { AnyQueue } from '../../core/queue/queue.js';
import { problemOfResult } from '../../core/result.js';
import { whenAborted } from '../../core/time/abort.js';
import { type Duration, parseDuration } from '../../core/time/duration.js';
import type { WatchedRow } from '../../db/calls/reports.js';
import type { JobWatcher } from './job-watcher.js';

/** Longest wait: what a timer of Node can do. */
const TIMEOUT_MS_MAX = 2_147_483_647;

/** How a result is awaited. */
export interface ResultOptions {
  /** Longest wait, 1 ms to 24 days; then HOWDAH_TIMEOUT. Default: without end. */
  readonly timeout?: Duration | undefined;
  /** Ends the wait: it rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

/** Waits for the ends of jobs. */
export class Results {
  readonly #watcher: JobWatcher;

  constructor(watcher: JobWatcher) {
    this.#watcher = watcher;
  }

  /** @param definition the queue of the job, where its result is to be checked */
  async result(id: string, options: ResultOptions, definition?: AnyQueue): Promise<unknown> {
    const result = await this.#stored(id, options);
    return definition ? readResult(definition, id, result) : result;
  }

  async #stored(id: string, { timeout, signal }: ResultOptions): Promise<Json> {
    assertJobIds([id]);
    const timeoutMs =
      timeout === undefined
        ? undefined
        : parseDuration(timeout, 'timeout', { min: 1, max: TIMEOUT_MS_MAX });
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        forget();
        remove();
      };
      const fail = (error: unknown): void => {
        done();
        reject(error);
      };
      const remove = this.#watcher.add({
        id,
        wantsProgress: false,
        onRow: (row) => {
          const error = problemOf(row);
          if (error) fail(error);
          else if (row.state === 'completed') {
            done();
            resolve(row.result);
          }
        },
        onError: fail,
      });
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => fail(timedOut(id, timeoutMs)), timeoutMs);
      const forget = whenAborted(signal, () => fail(signal?.reason));
    });
  }
}

/** Why there will be no result; undefined while there may be one, or is. */
function problemOf(row: WatchedRow): HowdahError | undefined {
  const { id, queue, state, reason, errors } = row;
  switch (state) {
    case 'completed':
      return notStored(row);
    case 'dead': {
      const last = errors?.at(-1)?.message;
      const why = [reason, last].filter((each) => each).join(': ');
      return ended(row, 'HOWDAH_JOB_FAILED', `Job ${id} of queue ${queue} is dead: ${why}.`);
    }
    case 'cancelled':
      return ended(row, 'HOWDAH_JOB_CANCELLED', `Job ${id} was cancelled${because(reason)}.`);
    case 'expired':
      return ended(row, 'HOWDAH_JOB_EXPIRED', `Job ${id} has expired${because(reason)}.`);
    case 'discarded':
      return ended(row, 'HOWDAH_JOB_DISCARDED', `Job ${id} was discarded${because(reason)}.`);
    case 'unknown':
      return new HowdahError('HOWDAH_JOB_UNKNOWN', `There is no job ${id}, or no longer.`, {
        details: { id },
        remedy:
          'Its transaction has not been committed, it ended longer ago than the retention of its queue, or the id is wrong.',
      });
    default:
      return row.kept === false ? notKept(row) : undefined;
  }
}

/** Of a job whose result was replaced by a placeholder. */
function notStored(row: WatchedRow): HowdahError | undefined {
  const problem = problemOfResult(row.result);
  if (problem === undefined) return undefined;
  return new HowdahError(
    'HOWDAH_RESULT_NOT_KEPT',
    `Job ${row.id} is completed, but its result was not stored: ${problem.replace(/\.$/, '')}.`,
    { details: detailsOf(row), remedy: 'Store it elsewhere and return a reference.' },
  );
}

function notKept({ id, queue, state }: WatchedRow): HowdahError {
  return new HowdahError(
    'HOWDAH_RESULT_NOT_KEPT',
    `Queue ${queue} keeps no history, so job ${id} will have no result.`,
    { details: { id, queue, state }, remedy: 'Give the queue a retention.' },
  );
}

function ended(row: WatchedRow, code: HowdahErrorCode, message: string): HowdahError {
  return new HowdahError(code, message, { details: detailsOf(row) });
}

/** The history of the job. */
function detailsOf({ id, queue, state, attempt, reason, errors }: WatchedRow): {
  readonly [key: string]: unknown;
} {
  return { id, queue, state, attempt, reason, errors: errors ?? [] };
}

function because(reason: string | null): string {
  return reason ? `: ${reason}` : '';
}

function timedOut(id: string, timeoutMs: number): HowdahError {
  return new HowdahError('HOWDAH_TIMEOUT', `Job ${id} has not ended within ${timeoutMs} ms.`, {
    details: { id, timeoutMs },
    remedy: 'It goes on: ask again later, or cancel it.',
  });
}
