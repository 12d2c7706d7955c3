import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import { batchIdOf } from '../../core/job/batch-id.js';
import type { JobOptions } from '../../core/job/enqueue-options.js';
import { jobEncoder } from '../../core/job/job-text.js';
import { encodeJson } from '../../core/json.js';
import { countOption, givenOptions, invalidOption, type KnownKeys } from '../../core/option.js';
import { type AnyQueue, nameOf, type Queue } from '../../core/queue/queue.js';
import { type BatchState, batchCalls } from '../../db/calls/batches.js';
import type { Database } from '../../db/database.js';
import type { Executor } from '../../db/executor.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';
import type { BatchesView } from '../../db/tables.js';
import { CallerTransaction, type CallerTransactionContext } from '../enqueue/caller-transaction.js';
import type { Producer } from '../enqueue/producer.js';
import { send, sendPatiently } from '../enqueue/send.js';
import { Batch, type BatchInfo, type BatchParts, type CloseBatchOptions } from './batch.js';
import type { Jobs } from './jobs.js';

/** The job that follows when all jobs of a batch have ended. */
export interface OnComplete<In = unknown> extends Omit<JobOptions, 'batch'> {
  readonly queue: Queue<string, In, unknown, unknown> | string;
  readonly payload: NoInfer<In>;
}

/** What a batch is opened with. */
export interface OpenBatchOptions<In = unknown> {
  /**
   * Enqueued once, in the very transaction in which the batch ends. Its header `howdah-batch` says
   * `{ id, total, completed, failed }`. Without it nothing follows.
   */
  readonly onComplete?: OnComplete<In> | undefined;
  /** For people who look at lists: 1 to 200 characters. */
  readonly name?: string | undefined;
  /** An open transaction of the caller: the batch exists if and only if it commits. */
  readonly tx?: TxHandle | undefined;
}

/** Which batches to list: newest first. */
export interface BatchFilter {
  readonly state?: BatchState | readonly BatchState[] | undefined;
  /** How many, 1 to 1000. Default 100. */
  readonly limit?: number | undefined;
  /** Id of the last batch of the page before. */
  readonly after?: string | undefined;
}

const STATES: readonly BatchState[] = ['open', 'closed', 'completed', 'failed'];

const FILTER: KnownKeys<BatchFilter> = { state: true, limit: true, after: true };

const OPEN: KnownKeys<OpenBatchOptions> = { onComplete: true, name: true, tx: true };

const CLOSE: KnownKeys<CloseBatchOptions> = { allowEmpty: true, tx: true };

/** What {@link Batches} are made with. */
interface BatchesParts {
  readonly database: Database;
  /** Runs what an open transaction may hold up. */
  readonly changing: Executor;
  readonly clock: Clock;
  readonly context: CallerTransactionContext;
  readonly codecs: Codecs | undefined;
  readonly producer: Producer;
  readonly jobs: Jobs;
}

/** `client.batches`: sets of jobs, each followed by a job when all have ended. */
export class Batches {
  readonly #parts: BatchesParts;
  readonly #calls;
  readonly #batchParts: BatchParts;

  /** Made by the client. */
  constructor(parts: BatchesParts) {
    this.#parts = parts;
    this.#calls = batchCalls(parts.database);
    this.#batchParts = {
      producer: parts.producer,
      jobs: parts.jobs,
      close: (id, options) => this.#close(id, options),
      get: (id) => this.#get(id),
    };
  }

  /**
   * Opens a batch: a set of jobs, of any queues, and the job that follows when all of them have ended. Add jobs
   * by its `enqueue` and `enqueueMany` or by the option `batch`, as long and from wherever you like; then
   * `close` it. One that is never closed never ends.
   * @throws HowdahError HOWDAH_BATCH_INVALID; what is wrong with the job that follows, as `enqueue` would
   */
  async open<In>(options: OpenBatchOptions<In> = {}): Promise<Batch> {
    this.#parts.producer.assertOpen();
    return this.of(
      await this.#surrounded(
        givenOptions('options', options, OPEN as KnownKeys<OpenBatchOptions<In>>),
      ),
    );
  }

  /** The batch of an id, in any process. It is not looked up. @throws HowdahError HOWDAH_BATCH_UNKNOWN */
  of(id: string): Batch {
    return new Batch(batchIdOf(id), this.#batchParts);
  }

  /** Batches, newest first, at most `limit`; give the last id as `after` for the next page. */
  async list(filter: BatchFilter = {}): Promise<readonly BatchInfo[]> {
    const { state, after, limit } = givenOptions('filter', filter, FILTER);
    const states = state === undefined ? undefined : [state].flat();
    for (const each of states ?? []) assertState(each);
    const rows = await this.#calls.list({
      states,
      after: after === undefined ? undefined : batchIdOf(after),
      limit: countOption('limit', limit, 100, 1000),
    });
    return rows.map(infoOf);
  }

  async #surrounded<In>(options: OpenBatchOptions<In>): Promise<string> {
    const { onComplete } = options;
    if (onComplete === undefined) return this.#open(options);
    const { queue, payload, ...rest } = assertFollower(onComplete);
    const target = queue as AnyQueue | string;
    const call = {
      via: 'batch',
      queue: nameOf(target),
      payload,
      options: { ...rest, tx: options.tx },
    } as const;
    return this.#parts.producer.surround(call, (changed) => {
      const { tx, ...job } = changed.options;
      const followed = { ...job, queue, payload: changed.payload } as OnComplete<In>;
      return this.#open({ ...options, onComplete: followed, tx });
    });
  }

  async #open<In>(options: OpenBatchOptions<In>): Promise<string> {
    const { onComplete, name, tx } = options;
    const members: string[] = [];
    if (name !== undefined) members.push(`"name":${encodeName(name)}`);
    if (onComplete !== undefined) {
      members.push(`"on_complete":${await this.#encodeFollower(onComplete, tx)}`);
    }
    const text = `{${members.join()}}`;
    if (tx === undefined) {
      await this.#parts.context.declarations.ensure();
      return send(() => this.#calls.open(this.#parts.database, text), this.#parts.clock);
    }
    const [row] = await this.#transaction(tx).run(this.#calls.openText, text);
    return String((row as { id?: unknown } | undefined)?.id);
  }

  async #close(id: string, options: CloseBatchOptions): Promise<BatchState> {
    const { tx, allowEmpty = false } = givenOptions('options', options, CLOSE);
    if (typeof allowEmpty !== 'boolean') {
      throw invalid('allowEmpty', allowEmpty, 'Use true or false.');
    }
    if (tx === undefined) {
      // an open transaction may have added to it
      return sendPatiently(
        () => this.#calls.close(this.#parts.changing, id, allowEmpty),
        this.#parts.clock,
      );
    }
    const [row] = await this.#transaction(tx).run(this.#calls.closeText(allowEmpty), id);
    return (row as { state?: unknown } | undefined)?.state as BatchState;
  }

  async #get(id: string): Promise<BatchInfo | undefined> {
    const row = await this.#calls.get(batchIdOf(id));
    return row && infoOf(row);
  }

  async #encodeFollower<In>(follower: OnComplete<In>, tx: TxHandle | undefined): Promise<string> {
    const { queue, payload, ...options } = follower;
    const target = queue as AnyQueue | string;
    const text = await jobEncoder(
      target,
      options,
      this.#parts.clock.now(),
      this.#parts.codecs,
    )(payload);
    if (tx !== undefined) await this.#transaction(tx).declare(target);
    else if (typeof target !== 'string') await this.#parts.context.declarations.ensure(target);
    return text;
  }

  #transaction(tx: TxHandle): CallerTransaction {
    return new CallerTransaction(tx, this.#parts.context);
  }
}

function assertFollower<In>(follower: OnComplete<In>): OnComplete<In> {
  if (typeof follower === 'object' && follower !== null) return follower;
  throw invalid('onComplete', follower, 'Give { queue, payload } and options of the job.');
}

function encodeName(name: unknown): string {
  if (typeof name === 'string' && name !== '' && [...name].length <= 200) {
    return encodeJson(name, 'name', 'HOWDAH_BATCH_INVALID');
  }
  throw invalid('name', name, 'Use text of 1 to 200 characters.');
}

function invalid(option: string, value: unknown, remedy: string): HowdahError {
  return invalidOption(option, value, remedy, 'HOWDAH_BATCH_INVALID');
}

function assertState(state: string): void {
  if ((STATES as readonly string[]).includes(state)) return;
  throw new HowdahError('HOWDAH_FILTER_INVALID', `State ${JSON.stringify(state)} does not exist.`, {
    details: { key: 'state', value: state },
    remedy: `Use ${STATES.join(', ')}.`,
  });
}

function infoOf(row: BatchesView): BatchInfo {
  return {
    id: row.id,
    name: row.name,
    state: row.state,
    total: Number(row.total),
    pending: Number(row.pending),
    completed: Number(row.completed),
    failed: Number(row.failed),
    onCompleteQueue: row.on_complete_queue,
    jobId: row.job_id,
    problem: row.problem,
    openedAt: row.opened_at,
    closedAt: row.closed_at,
    finishedAt: row.finished_at,
  };
}
