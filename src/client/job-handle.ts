import type { Json } from '../core/json.js';
import type { Enqueued } from '../db/calls/enqueue.js';
import type { JobWatcher } from './job-watcher.js';
import { type ResultOptions, Results } from './results.js';
import { type JobReport, watchJob } from './watch-job.js';

/** An enqueued job, which its producer may wait for. Nothing is paid for by those who do not. */
export class JobHandle<Result = Json> implements Enqueued {
  readonly id: string;
  readonly created: boolean;
  declare readonly same?: boolean;
  readonly #watcher: JobWatcher;

  constructor(enqueued: Enqueued, watcher: JobWatcher) {
    this.id = enqueued.id;
    this.created = enqueued.created;
    if (enqueued.same !== undefined) Object.assign(this, { same: enqueued.same });
    this.#watcher = watcher;
  }

  /**
   * What its handler returned (null where that was nothing), once the job is completed. Where it was enqueued in
   * a transaction, commit first.
   * @throws HowdahError HOWDAH_JOB_FAILED (it is dead), HOWDAH_JOB_CANCELLED, HOWDAH_JOB_EXPIRED,
   *   HOWDAH_JOB_DISCARDED (their `details` have its history: `state`, `attempt`, `reason`, `errors`),
   *   HOWDAH_JOB_UNKNOWN, HOWDAH_RESULT_NOT_KEPT, HOWDAH_TIMEOUT, HOWDAH_BUFFER_FULL; the reason of the
   *   signal
   */
  result(options?: ResultOptions): Promise<Result> {
    return new Results(this.#watcher).result(this.id, options) as Promise<Result>;
  }

  /** How it stands now, each change of its progress, and last of all how it ended. */
  watch(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<JobReport> {
    return watchJob(this.#watcher, this.id, options.signal);
  }
}
