import { HowdahError } from '../../core/errors.js';
import type { AnyQueue, Queue } from '../../core/queue/queue.js';
import type { BatchState } from '../../db/calls/batches.js';
import type { Enqueued } from '../../db/calls/enqueue.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';
import type {
  EnqueueManyArrayResult,
  EnqueueManyOptions,
  EnqueueManyResult,
} from '../enqueue/enqueue-many.js';
import type { EnqueueOptions } from '../enqueue/enqueue-options.js';
import type { Producer } from '../enqueue/producer.js';
import type { JobFilter, JobSummary, Jobs } from './jobs.js';

/** How a batch is closed. */
export interface CloseBatchOptions {
  /** A batch without jobs is complete at once, and followed by its job. Default false: it is refused. */
  readonly allowEmpty?: boolean | undefined;
  /** An open transaction of the caller: it is closed if and only if that commits. */
  readonly tx?: TxHandle | undefined;
}

/** How a batch stands. */
export interface BatchInfo {
  readonly id: string;
  readonly name: string | null;
  readonly state: BatchState;
  /** Jobs that were added. */
  readonly total: number;
  /** Of those: jobs that have not ended. */
  readonly pending: number;
  readonly completed: number;
  /** Dead, cancelled, expired or discarded. */
  readonly failed: number;
  readonly onCompleteQueue: string | null;
  /** Id of the job that followed. */
  readonly jobId: string | null;
  /** Why the job that follows could not be enqueued yet; that is tried every 10 seconds. */
  readonly problem: string | null;
  readonly openedAt: Date;
  readonly closedAt: Date | null;
  readonly finishedAt: Date | null;
}

/** What a {@link Batch} is made with. */
export interface BatchParts {
  readonly producer: Producer;
  readonly jobs: Jobs;
  readonly close: (id: string, options: CloseBatchOptions) => Promise<BatchState>;
  readonly get: (id: string) => Promise<BatchInfo | undefined>;
}

/**
 * A set of jobs, of any queues, that is filled, closed, and followed by one job when all of them have
 * ended. Only its id matters: `client.batches.of(id)` is as good, in any process.
 */
export class Batch {
  readonly id: string;
  readonly #parts: BatchParts;

  /** Made by `client.batches`. */
  constructor(id: string, parts: BatchParts) {
    this.id = id;
    this.#parts = parts;
  }

  /**
   * `client.enqueue` with the option `batch`. A job that was not created, because its dedupe key was
   * taken, is not added.
   * @throws HowdahError as `client.enqueue`; HOWDAH_BATCH_CLOSED, HOWDAH_BATCH_UNKNOWN
   */
  enqueue<In>(
    queue: Queue<string, In, unknown, unknown>,
    payload: NoInfer<In>,
    options?: EnqueueOptions,
  ): Promise<Enqueued>;
  enqueue(queue: string, payload: unknown, options?: EnqueueOptions): Promise<Enqueued>;
  enqueue(
    target: AnyQueue | string,
    payload: unknown,
    options?: EnqueueOptions,
  ): Promise<Enqueued> {
    return this.#parts.producer.enqueue(target, payload, { ...options, batch: this.id });
  }

  /** `client.enqueueMany` with the option `batch`. @throws HowdahError as `enqueue` */
  enqueueMany<In>(
    queue: Queue<string, In, unknown, unknown>,
    payloads: readonly NoInfer<In>[],
    options?: EnqueueManyOptions,
  ): Promise<EnqueueManyArrayResult>;
  enqueueMany<In>(
    queue: Queue<string, In, unknown, unknown>,
    payloads: Iterable<NoInfer<In>> | AsyncIterable<NoInfer<In>>,
    options?: EnqueueManyOptions,
  ): Promise<EnqueueManyResult>;
  enqueueMany(
    queue: string,
    payloads: readonly unknown[],
    options?: EnqueueManyOptions,
  ): Promise<EnqueueManyArrayResult>;
  enqueueMany(
    queue: string,
    payloads: Iterable<unknown> | AsyncIterable<unknown>,
    options?: EnqueueManyOptions,
  ): Promise<EnqueueManyResult>;
  enqueueMany(
    target: AnyQueue | string,
    payloads: Iterable<unknown> | AsyncIterable<unknown>,
    options?: EnqueueManyOptions,
  ): Promise<EnqueueManyResult> {
    return this.#parts.producer.enqueueMany(target, payloads, { ...options, batch: this.id });
  }

  /**
   * Nothing is added from now on; when all jobs have ended, the job that follows is enqueued. It waits for
   * transactions that are adding jobs. Closing twice is fine. A batch without jobs stays open, unless they may
   * be none: `allowEmpty`.
   * @throws HowdahError HOWDAH_BATCH_EMPTY, HOWDAH_BATCH_UNKNOWN, HOWDAH_BATCH_INVALID (an option)
   */
  close(options: CloseBatchOptions = {}): Promise<BatchState> {
    return this.#parts.close(this.id, options);
  }

  /**
   * Its jobs, newest first, at most `limit`; give the last id as `after` for the next page. Those that have ended
   * are listed as long as the history of their queue is kept.
   * @throws HowdahError HOWDAH_BATCH_UNKNOWN, HOWDAH_FILTER_INVALID
   */
  async jobs(filter: Omit<JobFilter, 'batch'> = {}): Promise<readonly JobSummary[]> {
    const jobs = await this.#parts.jobs.list({ ...filter, batch: this.id });
    if (jobs.length > 0 || (await this.info()) !== undefined) return jobs;
    throw new HowdahError('HOWDAH_BATCH_UNKNOWN', `Batch ${this.id} does not exist.`, {
      details: { id: this.id },
      remedy: 'Batches are forgotten 7 days after they have ended.',
    });
  }

  /** How it stands; undefined where it is forgotten, 7 days after its end. */
  info(): Promise<BatchInfo | undefined> {
    return this.#parts.get(this.id);
  }
}
