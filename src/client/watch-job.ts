import { whenAborted } from '../core/abort.js';
import { HowdahError } from '../core/errors.js';
import type { JobState } from '../core/job.js';
import { assertJobIds } from '../core/job-id.js';
import type { Json } from '../core/json.js';
import type { WatchedRow } from '../db/calls/reports.js';
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
    } else if (row.state !== null) this.#note(row, row.state);
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

  #note({ id, attempt, progress, progress_at }: WatchedRow, state: JobState): void {
    const last = this.#last;
    const isSame =
      last?.state === state &&
      last.attempt === attempt &&
      last.progressAt?.getTime() === progress_at?.getTime() &&
      JSON.stringify(last.progress) === JSON.stringify(progress);
    if (isSame) return;
    this.#last = { id, state, attempt: attempt ?? 0, progress, progressAt: progress_at };
    this.#unread = this.#last;
  }
}

function unknownJob(id: string): HowdahError {
  return new HowdahError('HOWDAH_JOB_UNKNOWN', `There is no job ${id}, or no longer.`, {
    details: { id },
    remedy: 'It ended longer ago than the retention of its queue, or the id is wrong.',
  });
}
