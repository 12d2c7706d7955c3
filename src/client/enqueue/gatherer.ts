import { HowdahError } from '../../core/errors.js';
import { STATEMENT_CHARS_MAX } from '../../core/job/job-text.js';
import { Batcher } from '../../core/time/batcher.js';
import type { Enqueued } from '../../db/calls/enqueue.js';
import { reportJobs, type SendJobs } from './enqueue-each.js';
import type { GatherSettings } from './enqueue-options.js';

/** About 64 MiB of text waiting. */
export const WAITING_CHARS_MAX = 67_108_864;

/**
 * Concurrent single enqueues share statements. Calls of the same moment go at once when a statement
 * may start; later ones gather while statements are under way. No timer waits for more.
 */
export class Gatherer {
  readonly #batcher: Batcher<string, Enqueued>;

  /** @param send one statement that reports; its failure means none of its jobs was enqueued */
  constructor(settings: GatherSettings, send: SendJobs) {
    this.#batcher = new Batcher({
      itemsMax: settings.jobsMax,
      sizeMax: STATEMENT_CHARS_MAX,
      flushesMax: settings.statementsMax,
      waitingMax: settings.waitingMax,
      waitingSizeMax: WAITING_CHARS_MAX,
      refuse: bufferFull,
      defer: setImmediate,
      flush: (jobs) => reportJobs(jobs, { send }),
    });
  }

  /** @param job as encoded by `encodeJob` */
  add(job: string): Promise<Enqueued> {
    return this.#batcher.add(job, job.length);
  }

  /** Resolves when every job handed over has its answer. */
  idle(): Promise<void> {
    return this.#batcher.idle();
  }
}

/** The error of a call that finds no room. */
export function bufferFull(waiting: number): HowdahError {
  return new HowdahError(
    'HOWDAH_BUFFER_FULL',
    `${waiting} jobs wait to be enqueued: the database is slower than the callers.`,
    {
      details: { waiting },
      remedy:
        'Await the calls, or use enqueueMany, which reads no faster than the database writes.',
    },
  );
}
