import type { Json } from '../../core/json.js';
import { givenOptions } from '../../core/option.js';
import type { AnyQueue } from '../../core/queue/queue.js';
import type { Enqueued } from '../../db/calls/enqueue.js';
import type { JobWatcher } from './job-watcher.js';
import { type ResultOptions, Results } from './results.js';
import { followProgress, type JobReport, type ProgressListener, watchJob } from './watch-job.js';

/** An enqueued job, which its producer may wait for. Nothing is paid for by those who do not. */
export class JobHandle<Result = Json> implements Enqueued {
  readonly id: string;
  readonly created: boolean;
  declare readonly same?: boolean;
  readonly #watcher: JobWatcher;
  readonly #queue: AnyQueue | undefined;

  constructor(enqueued: Enqueued, watcher: JobWatcher, target: AnyQueue | string) {
    this.id = enqueued.id;
    this.created = enqueued.created;
    if (enqueued.same !== undefined) Object.assign(this, { same: enqueued.same });
    this.#watcher = watcher;
    this.#queue = typeof target === 'string' ? undefined : target;
  }

  /**
   * What its handler returned (null where that was nothing), once the job is completed; where its queue has a
   * `resultSchema`, what that makes of it. Where it was enqueued in a transaction, commit first.
   * @throws HowdahError HOWDAH_JOB_FAILED (it is dead), HOWDAH_JOB_CANCELLED, HOWDAH_JOB_EXPIRED,
   *   HOWDAH_JOB_DISCARDED (their `details` have its history: `state`, `attempt`, `reason`, `errors`),
   *   HOWDAH_JOB_UNKNOWN, HOWDAH_RESULT_NOT_KEPT, HOWDAH_RESULT_INVALID (it does not fit the schema),
   *   HOWDAH_TIMEOUT, HOWDAH_BUFFER_FULL; the reason of the signal
   */
  async result(options: ResultOptions = {}): Promise<Result> {
    const given = givenOptions('options', options, { timeout: true, signal: true });
    return new Results(this.#watcher).result(this.id, given, this.#queue) as Promise<Result>;
  }

  /** How it stands now, each change of its progress, and last of all how it ended. */
  watch(options: { readonly signal?: AbortSignal } = {}): AsyncIterableIterator<JobReport> {
    return watchJob(
      this.#watcher,
      this.id,
      givenOptions('options', options, { signal: true }).signal,
    );
  }

  /**
   * Calls the listener with each change of its progress that is noticed, the last one always, until the job has
   * ended. A listener that throws disturbs nobody: `listener.threw` is logged. All listeners share the waits of
   * the client. @returns a function that takes the listener away
   * @throws HowdahError HOWDAH_OPTION_INVALID, HOWDAH_BUFFER_FULL, HOWDAH_CLIENT_CLOSED
   */
  onProgress(listener: ProgressListener): () => void {
    return followProgress(this.#watcher, this.id, listener);
  }
}
