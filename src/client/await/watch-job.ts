import { HowdahError } from '../../core/errors.js';
import type { JobState } from '../../core/job/job.js';
import { assertJobIds } from '../../core/job/job-id.js';
import type { Json } from '../../core/json.js';
import { whenAborted } from '../../core/time/abort.js';
import type { WatchedRow } from '../../db/calls/reports.js';
import type { JobWatcher } from './job-watcher.js';

/** How a watched job stands. */
export interface JobReport {
  readonly id: string;
  readonly state: JobState;
  /** Attempts begun so far. */
  readonly attempt: number;
  /** What its handler reported last; null until it has. */
  readonly progress: Json;
  /** When, by the clock of the database. */
  readonly progressAt: Date | null;
}

/** States that nothing follows, unless somebody redrives a dead job. */
const ENDS: ReadonlySet<string> = new Set([
  'completed',
  'dead',
  'cancelled',
  'expired',
  'discarded',
]);

/**
 * Reports of one job: how it stands now, then each change of its progress or state that is noticed,
 * and last of all how it ended. A reader that is slow gets the newest only.
 * @throws HowdahError HOWDAH_JOB_UNKNOWN, HOWDAH_CLIENT_CLOSED; the reason of the signal
 */
export async function* watchJob(
  watcher: JobWatcher,
  id: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<JobReport, void, undefined> {
  assertJobIds([id]);
  const news = new News();
  const forget = whenAborted(signal, () => news.fail(signal?.reason));
  signal?.throwIfAborted();
  const remove = watcher.add({
    id,
    wantsProgress: true,
    onRow: (row) => news.take(row),
    onError: (error) => news.fail(error),
  });
  try {
    for (;;) {
      const report = await news.next();
      if (!report) return;
      yield report;
      if (ENDS.has(report.state)) return;
    }
  } finally {
    forget();
    remove();
  }
}

/** Hears of the progress of a job. May return a promise. */
export type ProgressListener = (report: JobReport) => unknown;

/**
 * Calls the listener with what the job has reported so far and at each change of that which is noticed, the
 * last one always; until the job has ended. @returns a function that takes the listener away
 */
export function followProgress(
  watcher: JobWatcher,
  id: string,
  listener: ProgressListener,
): () => void {
  assertListener(listener);
  let last: JobReport | undefined;
  const tell = async (report: JobReport): Promise<void> => {
    try {
      await listener(report);
    } catch (error) {
      watcher.onThrow(error);
    }
  };
  const remove = watcher.add({
    id,
    wantsProgress: true,
    onRow: (row) => {
      const report = reportOf(row);
      if (!report || ENDS.has(report.state)) remove();
      if (!report?.progressAt || isSameProgress(last, report)) return;
      last = report;
      void tell(report);
    },
    onError: () => remove(), // who wants to know asks for the result
  });
  return remove;
}

/** Undefined where nothing, or nothing more, is known of it. */
function reportOf(row: WatchedRow): JobReport | undefined {
  const { id, state, attempt, progress, progress_at } = row;
  if (state === null || state === 'unknown') return undefined;
  return { id, state: state as JobState, attempt: attempt ?? 0, progress, progressAt: progress_at };
}

function isSameProgress(last: JobReport | undefined, next: JobReport): boolean {
  return (
    last?.progressAt?.getTime() === next.progressAt?.getTime() &&
    JSON.stringify(last?.progress) === JSON.stringify(next.progress)
  );
}

function assertListener(listener: unknown): void {
  if (typeof listener === 'function') return;
  throw new HowdahError('HOWDAH_OPTION_INVALID', 'The listener of onProgress is not a function.', {
    details: { option: 'listener' },
    remedy: 'Give a function, for instance ({ progress }) => console.log(progress).',
  });
}

/** The newest report that has not been read. */
class News {
  #last: JobReport | undefined;
  #unread: JobReport | undefined;
  #failure: { readonly reason: unknown } | undefined;
  #isOver = false;
  #wake: (() => void) | undefined;

  take(row: WatchedRow): void {
    if (row.state === 'unknown') {
      // of a queue that keeps no history nobody knows how it ended
      if (this.#last) this.#isOver = true;
      else this.#failure ??= { reason: unknownJob(row.id) };
    } else {
      const report = reportOf(row);
      if (report) this.#note(report);
    }
    this.#wake?.();
  }

  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#wake?.();
  }

  /** Undefined: nothing follows. */
  async next(): Promise<JobReport | undefined> {
    for (;;) {
      const report = this.#unread;
      this.#unread = undefined;
      if (report) return report;
      if (this.#failure) throw this.#failure.reason;
      if (this.#isOver) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #note(report: JobReport): void {
    const last = this.#last;
    const { state, attempt } = report;
    if (last?.state === state && last.attempt === attempt && isSameProgress(last, report)) return;
    this.#last = report;
    this.#unread = report;
  }
}

function unknownJob(id: string): HowdahError {
  return new HowdahError('HOWDAH_JOB_UNKNOWN', `There is no job ${id}, or no longer.`, {
    details: { id },
    remedy: 'It ended longer ago than the retention of its queue, or the id is wrong.',
  });
}
