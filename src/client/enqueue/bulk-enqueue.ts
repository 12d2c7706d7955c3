import { HowdahError, problemOf } from '../../core/errors.js';
import type { Settled } from '../../core/time/batcher.js';
import type { Enqueued, EnqueueReport } from '../../db/calls/enqueue.js';
import { isQueueFull, type WhileFull } from './backpressure.js';
import { type Chunk, ChunkBuilder, halve } from './chunk.js';
import { type JoinJobs, reportJobs, type SendJobs } from './enqueue-each.js';
import type {
  EnqueuedBatch,
  EnqueueManyArrayResult,
  EnqueueManyOptions,
  Rejection,
} from './enqueue-many.js';
import { isFaultOfData } from './send.js';

const REJECTIONS_MAX = 1000;

/** What a bulk enqueue works with. */
export interface BulkContext {
  readonly onError: 'throw' | 'report';
  readonly batchSize: number;
  readonly onBatch: EnqueueManyOptions['onBatch'];
  /** What a statement needs of one job. Throws or rejects when the payload is bad. */
  readonly encode: (payload: unknown) => string | Promise<string>;
  readonly join: JoinJobs;
  /** Enqueues all jobs or none. */
  readonly all: SendJobs;
  /** Enqueues the good ones and reports the others. */
  readonly report: SendJobs;
  /** A failed statement spoils the ones before: the caller's transaction is aborted. */
  readonly isInTransaction: boolean;
  /** Where the call waits at a full queue. */
  readonly whileFull: WhileFull | undefined;
}

/**
 * One `enqueueMany`: reads the input, encodes it into chunks and enqueues chunk by chunk, in order.
 * While one is under way the next is encoded, and then the input waits.
 */
export class BulkEnqueue {
  readonly #context: BulkContext;
  readonly #ids: (string | null)[] | undefined;
  readonly #next: ChunkBuilder;
  #read = 0;
  #accepted = 0;
  #duplicates = 0;
  #rejected = 0;
  readonly #rejections: Rejection[] = [];
  #underWay: Promise<void> = Promise.resolve();
  /** An error of our own ends the input, not one of the input itself. */
  #isStopped = false;

  /** @param length how many payloads there are, where ids are to be returned */
  constructor(context: BulkContext, length?: number) {
    this.#context = context;
    this.#next = new ChunkBuilder(context.batchSize, context.join);
    if (length !== undefined) this.#ids = new Array<string | null>(length).fill(null);
  }

  /** When the input itself throws, what it gave before is enqueued first. */
  async run(payloads: Iterable<unknown> | AsyncIterable<unknown>): Promise<EnqueueManyArrayResult> {
    try {
      await this.#readAll(payloads);
    } catch (error) {
      if (!this.#isStopped) await this.#drain();
      throw error;
    }
    await this.#drain();
    return {
      accepted: this.#accepted,
      duplicates: this.#duplicates,
      rejected: this.#rejected,
      rejections: this.#rejections.sort((a, b) => a.index - b.index),
      ids: this.#ids ?? [],
    };
  }

  async #readAll(payloads: Iterable<unknown> | AsyncIterable<unknown>): Promise<void> {
    if (Symbol.asyncIterator in payloads) {
      for await (const payload of payloads) {
        const busy = this.#push(payload);
        if (busy) await busy;
      }
      return;
    }
    for (const payload of payloads) {
      const busy = this.#push(payload);
      if (busy) await busy;
    }
  }

  /** A promise where the input must be read no further for now. */
  #push(payload: unknown): Promise<void> | undefined {
    const index = this.#read++;
    try {
      const job = this.#context.encode(payload);
      if (typeof job === 'string') return this.#append(index, job);
      return job.then(
        (late) => this.#append(index, late),
        (error) => this.#reject(index, error),
      );
    } catch (error) {
      return this.#reject(index, error);
    }
  }

  #append(index: number, job: string): Promise<void> | undefined {
    const busy = this.#next.isFullFor(job) ? this.#flush() : undefined;
    return this.#next.add(index, job) ? this.#flush() : busy;
  }

  /**
   * Hands the chunk over; resolves when the one before it is done and this one has been written: to encode more
   * payloads first would leave the server without work.
   */
  #flush(): Promise<void> {
    const before = this.#underWay;
    const chunk = this.#next.take();
    if (!chunk) return before;
    this.#underWay = before.then(() => this.#send(chunk));
    const written = before.then(() => new Promise<void>((resolve) => setImmediate(resolve)));
    // whoever flushes next, or drains, sees it
    for (const each of [this.#underWay, written]) each.catch(() => undefined);
    return written;
  }

  async #drain(): Promise<void> {
    await this.#flush();
    await this.#underWay;
  }

  async #send(chunk: Chunk): Promise<void> {
    try {
      if (this.#context.onError === 'throw') await this.#sendAll(chunk);
      else await this.#sendReport(chunk);
    } catch (error) {
      this.#isStopped = true;
      throw error;
    }
  }

  /** Everything before the first bad job, nothing after it. */
  async #sendAll(chunk: Chunk): Promise<void> {
    const { all, join, whileFull, isInTransaction } = this.#context;
    const { length } = chunk.jobs;
    let report: EnqueueReport;
    try {
      // one job waits by itself; more than one may never fit together
      report = await (whileFull && length === 1
        ? whileFull(() => all(chunk.text))
        : all(chunk.text));
    } catch (error) {
      const isApart = isFaultOfData(error) || (whileFull !== undefined && isQueueFull(error));
      const isOver = length === 1 || isInTransaction || !isApart;
      if (isOver) throw this.#account(error, chunk.indexes[0] as number, length);
      for (const half of halve(chunk, join)) await this.#sendAll(half);
      return;
    }
    this.#duplicates += report.duplicates.size;
    await this.#accept(chunk.indexes, report.ids, (i) => !report.duplicates.has(i));
  }

  async #sendReport(chunk: Chunk): Promise<void> {
    const { report, join, isInTransaction } = this.#context;
    const ways = { send: report, join, mayResend: !isInTransaction };
    let settled: Settled<Enqueued>[];
    try {
      settled = [...(await reportJobs(chunk.jobs, { ...ways, text: chunk.text }))];
      await this.#resendRefused(chunk, settled);
    } catch (error) {
      throw this.#account(error, chunk.indexes[0] as number, chunk.jobs.length);
    }
    const ids: string[] = [];
    const accepted: number[] = [];
    const created: boolean[] = [];
    settled.forEach((each, i) => {
      const index = chunk.indexes[i] as number;
      if ('error' in each) this.#note(index, each.error);
      else {
        ids.push(each.value.id);
        if (!each.value.created) this.#duplicates++;
        created.push(each.value.created);
        accepted.push(index);
      }
    });
    await this.#accept(accepted, ids, (i) => created[i] === true);
  }

  /** Those that found the queue full, for as long as the call is to wait without any getting in. */
  async #resendRefused(chunk: Chunk, settled: Settled<Enqueued>[]): Promise<void> {
    const { report, join, whileFull } = this.#context;
    const refused = () =>
      settled.flatMap((each, i) => ('error' in each && isQueueFull(each.error) ? [i] : []));
    let waiting = refused();
    while (whileFull && waiting.length > 0) {
      const resend = async (): Promise<void> => {
        const jobs = waiting.map((i) => chunk.jobs[i] as string);
        const again = await reportJobs(jobs, { send: report, join });
        for (const [at, i] of waiting.entries()) settled[i] = again[at] as Settled<Enqueued>;
        const left = refused();
        if (left.length === waiting.length) throw (again[0] as { error: unknown }).error;
        waiting = left;
      };
      try {
        await whileFull(resend);
      } catch (error) {
        if (!isQueueFull(error)) throw error;
        for (const i of waiting) settled[i] = { error };
        return;
      }
    }
  }

  async #accept(
    indexes: readonly number[],
    ids: readonly string[],
    isCreated: (at: number) => boolean,
  ): Promise<void> {
    this.#accepted += indexes.length;
    const all = this.#ids;
    if (all) for (const [i, index] of indexes.entries()) all[index] = ids[i] as string;
    const { onBatch } = this.#context;
    if (!onBatch) return;
    const jobs = indexes.map((index, i) => ({
      index,
      id: ids[i] as string,
      created: isCreated(i),
    }));
    const batch: EnqueuedBatch = { jobs, accepted: this.#accepted, rejected: this.#rejected };
    await onBatch(batch);
  }

  #reject(index: number, error: unknown): Promise<void> | undefined {
    if (this.#context.onError === 'throw') return this.#stop(index, error);
    this.#note(index, error);
    return undefined;
  }

  #note(index: number, error: unknown): void {
    this.#rejected++;
    if (this.#rejections.length < REJECTIONS_MAX) {
      this.#rejections.push({ index, error: error as HowdahError });
    }
  }

  /** A payload that cannot even be encoded: enqueues what came before it, then throws. */
  async #stop(index: number, error: unknown): Promise<never> {
    await this.#drain();
    this.#isStopped = true;
    throw this.#account(error, index, 0);
  }

  /** The error with what can be said of the jobs before it. @param sent jobs in the statement */
  #account(error: unknown, index: number, sent: number): unknown {
    if (!(error instanceof HowdahError)) return error;
    const accepted = this.#accepted;
    const isUnknown = error.code === 'HOWDAH_COMMIT_UNKNOWN';
    const fate = this.#context.isInTransaction
      ? 'the transaction decides about those before it'
      : `${accepted} were enqueued before it`;
    const { remedy } = error;
    return new HowdahError(error.code, `${problemOf(error)} (payload ${index}; ${fate})`, {
      cause: error,
      ...(remedy === undefined ? {} : { remedy }),
      details: {
        ...error.details,
        index,
        accepted,
        rejected: this.#rejected,
        ...(isUnknown ? { unknown: sent } : {}),
      },
    });
  }
}
