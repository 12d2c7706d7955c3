import type { ClientEvents } from '../core/client-events.js';
import { systemClock } from '../core/clock.js';
import { codecsOf } from '../core/codec/codec.js';
import { snapshotError } from '../core/codec/error-snapshot.js';
import { HowdahError } from '../core/errors.js';
import { EventHub, type EventListener, type EventOf } from '../core/events.js';
import { fenceOf } from '../core/fence.js';
import { givenObject } from '../core/given-object.js';
import { batchIdOf } from '../core/job/batch-id.js';
import type { JobState } from '../core/job/job.js';
import type { JobEdit } from '../core/job/job-edit.js';
import type { Json } from '../core/json.js';
import type { AnyQueue, Queue } from '../core/queue/queue.js';
import type { QueuePolicy } from '../core/queue/queue-policy.js';
import type { Duration } from '../core/time/duration.js';
import type { CancelCounts, CancelledRow, ControlRow, RunNowOutcome } from '../db/calls/control.js';
import type { DeadLetterGroup, DiscardedRow, RedrivenRow } from '../db/calls/dead-letters.js';
import { enqueueCalls, type JobsText } from '../db/calls/enqueue.js';
import type { DrainedWorker } from '../db/calls/stop.js';
import type { Published } from '../db/calls/topics.js';
import { Database } from '../db/database.js';
import { Declarations } from '../db/declarations.js';
import { jsonLogger } from '../telemetry/logger.js';
import { JobHandle } from './await/job-handle.js';
import { JobWatcher } from './await/job-watcher.js';
import { type ResultOptions, Results } from './await/results.js';
import { type JobReport, watchJob } from './await/watch-job.js';
import type { ClientOptions } from './client-options.js';
import { checkFullOptions } from './enqueue/backpressure.js';
import type {
  EnqueueManyArrayResult,
  EnqueueManyOptions,
  EnqueueManyResult,
} from './enqueue/enqueue-many.js';
import { layersOf } from './enqueue/enqueue-middleware.js';
import { type EnqueueOptions, resolveGatherOptions } from './enqueue/enqueue-options.js';
import { Enqueuer } from './enqueue/enqueuer.js';
import { bufferFull, Gatherer, WAITING_CHARS_MAX } from './enqueue/gatherer.js';
import { KeyedGatherer } from './enqueue/keyed-gatherer.js';
import { Producer } from './enqueue/producer.js';
import { send, sendPatiently } from './enqueue/send.js';
import { HeldCalls, PatientExecutor } from './held-calls.js';
import { Batch } from './operate/batch.js';
import {
  Batches,
  type BatchFilter,
  type BatchInfo,
  type OpenBatchOptions,
} from './operate/batches.js';
import type { CancelFilter, CancelOptions } from './operate/cancel-filter.js';
import {
  type DeadLetter,
  type DeadLetterFilter,
  type DeadLetterGroupOptions,
  type DeadLetterListOptions,
  DeadLetters,
  type DiscardOptions,
  type RedriveOptions,
} from './operate/dead-letters.js';
import { type BlockedGroup, Groups } from './operate/groups.js';
import { type JobDetails, type JobFilter, type JobSummary, Jobs } from './operate/jobs.js';
import type { DrainQueueOptions, PauseOptions } from './operate/queue-control.js';
import { type QueueStats, Queues } from './operate/queues.js';
import { Schedules } from './operate/schedules.js';
import {
  type PublishOptions,
  type Subscription,
  type SubscriptionFilter,
  Topics,
} from './operate/topics.js';
import { type StopMode, type WorkerInfo, Workers } from './operate/workers.js';
import { Pull } from './pull/pull.js';
import type { ReceiveOptions } from './pull/receive-options.js';
import type { Receipt, ReceivedJob } from './pull/received-job.js';
import { SharedStation } from './station/shared-station.js';

/** Makes a client. It connects at its first use. @throws HowdahError HOWDAH_OPTION_INVALID */
export function createClient(options: ClientOptions = {}): Client {
  return new Client(options);
}

/**
 * The producer's and the operator's side of Howdah. It keeps no timers and does not keep the process
 * alive, so that it can live in a serverless function.
 *
 * Every method may reject with HOWDAH_CLIENT_CLOSED, HOWDAH_DATABASE_UNAVAILABLE,
 * HOWDAH_DATABASE_READ_ONLY, HOWDAH_TIMEOUT, HOWDAH_PERMISSION_DENIED and HOWDAH_SCHEMA_MISSING.
 */
export class Client {
  /** Cron schedules. */
  readonly schedules: Schedules;
  readonly #database: Database;
  readonly #declarations: Declarations;
  readonly #hub: EventHub<ClientEvents>;
  readonly #producer: Producer;
  readonly #queues: Queues;
  readonly #groups: Groups;
  readonly #jobs: Jobs;
  readonly #deadLetters: DeadLetters;
  readonly #pull: Pull;
  readonly #station: SharedStation;
  readonly #watcher: JobWatcher;
  readonly #workers: Workers;
  readonly #batches: Batches;
  readonly #topics: Topics;
  #closing: Promise<void> | undefined;

  constructor(options: ClientOptions = {}) {
    givenObject('options', options);
    checkFullOptions({ onFull: options.onFull, waitMax: options.waitMax });
    const layers = layersOf(options.middleware);
    const database = new Database(options);
    const codecs = codecsOf(options.codec, database.schema);
    const logger = options.logger ?? jsonLogger({ level: 'warn' });
    const hub = new EventHub<ClientEvents>(({ type, ...facts }) => {
      if (type === 'declaration.held') logger.warn(type, facts);
      if (type === 'listener.threw' || type === 'part.threw') logger.error(type, facts);
    });
    const calls = enqueueCalls(database);
    const clock = systemClock;
    const report = (jobs: JobsText) => send(() => calls.report(database, jobs), clock);
    const all = (jobs: JobsText) => send(() => calls.all(database, jobs), clock);
    const reportPatiently = (jobs: JobsText, lockMs: number) =>
      sendPatiently(() => calls.reportPatiently(database, jobs, lockMs), clock);
    const allPatiently = (jobs: JobsText, lockMs: number) =>
      sendPatiently(() => calls.allPatiently(database, jobs, lockMs), clock);
    const { connectionsMax } = database;
    const limitMs = database.settings.statementTimeoutMs;
    const held = new HeldCalls({ clock, limitMs, connectionsMax });
    const patient = new PatientExecutor(database, held);
    const settings = resolveGatherOptions(options.gather);
    const declarations = new Declarations(database, options.queues, (name, error) =>
      hub.emit('declaration.held', { what: 'queue', name, error }),
    );
    this.#declarations = declarations;
    this.#database = database;
    this.#hub = hub;
    const context = { schema: database.schema, calls, declarations, pool: options.pool };
    const enqueuer = new Enqueuer({
      ...context,
      clock,
      gatherer: new Gatherer(settings, report),
      keyedGatherer: new KeyedGatherer({
        settings,
        charsMax: WAITING_CHARS_MAX,
        clock,
        held,
        send: reportPatiently,
        refuse: bufferFull,
      }),
      held,
      report,
      all,
      reportPatiently,
      allPatiently,
      full: { onFull: options.onFull, waitMax: options.waitMax },
      codecs,
    });
    this.#producer = new Producer({ enqueuer, layers, hub });
    this.#queues = new Queues(database, patient);
    this.#groups = new Groups(database);
    this.#jobs = new Jobs(database, patient, codecs, hub);
    this.#deadLetters = new DeadLetters(database, patient, codecs, hub);
    this.#workers = new Workers(database, patient);
    this.#batches = new Batches(database, clock, context, codecs, this.#producer, patient);
    this.#topics = new Topics(database, clock, context, codecs, this.#producer, held);
    const fence = fenceOf(clock, hub);
    this.#station = new SharedStation(database, clock, fence);
    this.#pull = new Pull({
      database,
      held,
      declarations,
      clock,
      codecs,
      hub,
      station: this.#station,
    });
    this.#watcher = new JobWatcher(database, clock, this.#station, codecs, fence, (error) =>
      hub.emit('listener.threw', { error: snapshotError(error) }),
    );
    this.schedules = new Schedules(database, patient, declarations, clock, codecs);
  }

  /**
   * Enqueues one job. Without `tx` it is committed when the promise resolves; concurrent calls share
   * statements, and one that is refused fails alone. With `tx` it is part of the caller's
   * transaction.
   *
   * A declared queue is created or altered in the database at its first use in this process; a queue
   * given by name must exist.
   *
   * What is returned is its id, and may be used to wait for its result.
   *
   * With `dedupe`, `created: false` and the id of the first job mean that the key was taken.
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_QUEUE_FULL, HOWDAH_QUEUE_CLOSED, HOWDAH_PAYLOAD_INVALID, HOWDAH_PAYLOAD_TOO_LARGE, the
   *   code of a bad option, HOWDAH_TRANSACTION_INVALID, HOWDAH_BUFFER_FULL (too many calls wait),
   *   HOWDAH_COMMIT_UNKNOWN (the connection was lost before the answer)
   */
  enqueue<In, Result>(
    queue: Queue<string, In, unknown, Result, unknown>,
    payload: NoInfer<In>,
    options?: EnqueueOptions,
  ): Promise<JobHandle<Result>>;
  enqueue(queue: string, payload: unknown, options?: EnqueueOptions): Promise<JobHandle>;
  enqueue(
    target: AnyQueue | string,
    payload: unknown,
    options?: EnqueueOptions,
  ): Promise<JobHandle> {
    if (this.#closing) return Promise.reject(closed());
    return this.#producer
      .enqueue(target, payload, options)
      .then((enqueued) => new JobHandle(enqueued, this.#watcher, target));
  }

  /**
   * What the handler of a job returned (null where that was nothing), once it is completed. Thousands may
   * wait at once: they share one connection and a few statements a second. With the option `queue` it is of
   * that queue's type, and checked by its `resultSchema`.
   * @throws HowdahError as {@link JobHandle.result}
   */
  result<Result>(
    id: string,
    options: ResultOptions & { readonly queue: Queue<string, never, unknown, Result, unknown> },
  ): Promise<Result>;
  result<Result = Json>(id: string, options?: ResultOptions): Promise<Result>;
  async result(
    id: string,
    options?: ResultOptions & { readonly queue?: AnyQueue },
  ): Promise<unknown> {
    if (this.#closing) throw closed();
    const given = options === undefined ? undefined : givenObject('options', options);
    return new Results(this.#watcher).result(id, given, given?.queue);
  }

  /**
   * How a job stands now, each change of its progress, and last of all how it ended.
   * @throws HowdahError HOWDAH_JOB_UNKNOWN, HOWDAH_BUFFER_FULL; the reason of the signal
   */
  watch(
    id: string,
    options: { readonly signal?: AbortSignal } = {},
  ): AsyncIterableIterator<JobReport> {
    return watchJob(this.#watcher, id, givenObject('options', options).signal);
  }

  /**
   * Enqueues as many jobs as the input has, in its order, reading no faster than the database
   * writes: memory stays the same however long the input is. Without `tx` each statement (1000 jobs
   * or about 1 MiB) commits by itself.
   * @throws HowdahError as `enqueue`; `details` say where it stopped and how many were enqueued
   */
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
  async enqueueMany(
    target: AnyQueue | string,
    payloads: Iterable<unknown> | AsyncIterable<unknown>,
    options: EnqueueManyOptions = {},
  ): Promise<EnqueueManyResult> {
    if (this.#closing) throw closed();
    return this.#producer.enqueueMany(target, payloads, options);
  }

  /**
   * Opens a batch: a set of jobs, of any queues, and the job that follows when all of them have ended. Add jobs
   * by its `enqueue` and `enqueueMany` or by the option `batch`, as long and from wherever you like; then
   * `close` it. One that is never closed never ends.
   * @throws HowdahError HOWDAH_BATCH_INVALID; what is wrong with the job that follows, as `enqueue` would
   */
  async batch<In>(options: OpenBatchOptions<In> = {}): Promise<Batch> {
    if (this.#closing) throw closed();
    return this.batchOf(await this.#batches.open(givenObject('options', options)));
  }

  /** The batch of an id, in any process. It is not looked up. @throws HowdahError HOWDAH_BATCH_UNKNOWN */
  batchOf(id: string): Batch {
    return new Batch(batchIdOf(id), this.#batches, this.#producer, this.#jobs);
  }

  /** Batches, newest first, at most `limit`; give the last id as `after` for the next page. */
  async batches(filter: BatchFilter = {}): Promise<readonly BatchInfo[]> {
    return this.#batches.list(givenObject('filter', filter));
  }

  /**
   * A job in each queue that is subscribed to the topic, in one transaction: all of them or, where one
   * queue refuses, none. Their header `howdah-topic` names the topic. Empty: nobody is subscribed.
   * @throws HowdahError HOWDAH_TOPIC_INVALID; as `enqueue`
   */
  publish(
    topic: string,
    payload: unknown,
    options: PublishOptions = {},
  ): Promise<readonly Published[]> {
    if (this.#closing) return Promise.reject(closed());
    return this.#topics.publish(topic, payload, options);
  }

  /**
   * From now on the queue gets what is published to the topic. @returns false: it did already
   * @throws HowdahError HOWDAH_TOPIC_INVALID, HOWDAH_QUEUE_UNKNOWN
   */
  subscribe(topic: string, queue: AnyQueue | string): Promise<boolean> {
    return this.#topics.subscribe(topic, queue);
  }

  /** @returns false: it was not subscribed @throws HowdahError as `subscribe` */
  unsubscribe(topic: string, queue: AnyQueue | string): Promise<boolean> {
    return this.#topics.unsubscribe(topic, queue);
  }

  /** Who gets what, by topic and queue. */
  async subscriptions(filter: SubscriptionFilter = {}): Promise<readonly Subscription[]> {
    return this.#topics.list(givenObject('filter', filter));
  }

  /**
   * Takes ready jobs, for programs that do without a worker; each is to be settled by its own calls
   * (`complete`, `fail`, `release`, ...) before its visibility ends. With `wait` it resolves as soon as
   * there is at least one, or empty when the time is up. Thousands of calls may wait at once: they share one
   * connection and are served first come, first served. A call that is aborted, or whose client
   * closes, loses no job.
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_OPTION_INVALID, HOWDAH_BUFFER_FULL
   */
  async receive(queue: AnyQueue | string, options: ReceiveOptions = {}): Promise<ReceivedJob[]> {
    if (this.#closing) return Promise.reject(closed());
    return this.#pull.receive(queue, givenObject('options', options));
  }

  /**
   * The calls of a received job from its `receipt`, in any process.
   * @throws HowdahError HOWDAH_OPTION_INVALID when it is malformed
   */
  receipt(receipt: string): Receipt {
    return this.#pull.receipt(receipt);
  }

  /**
   * Creates a queue, or applies the policy keys that are given to the one that is there.
   * @throws HowdahError HOWDAH_QUEUE_NAME_INVALID, HOWDAH_OPTION_INVALID, HOWDAH_QUEUE_UNKNOWN (its
   *   dead-letter queue)
   */
  createQueue(queue: AnyQueue | string, policy?: QueuePolicy): Promise<void> {
    return this.#queues.create(queue, policy);
  }

  /** Applies the policy keys that are given. @throws HowdahError HOWDAH_QUEUE_UNKNOWN, ... */
  alterQueue(queue: AnyQueue | string, policy: QueuePolicy): Promise<void> {
    return this.#queues.alter(queue, policy);
  }

  /**
   * Deletes a queue without jobs; with `force` also its waiting jobs, which are recorded as discarded.
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_QUEUE_NOT_EMPTY
   */
  async deleteQueue(
    queue: AnyQueue | string,
    options: { readonly force?: boolean } = {},
  ): Promise<void> {
    return this.#queues.delete(queue, givenObject('options', options).force ?? false);
  }

  /**
   * Workers claim no more from it; what runs goes on. With `until` or `for` it resumes by itself, on
   * the clock of the database. A name may have a `*`, which stands for any text: `'mail.*'` pauses that
   * kind of queues, `'*'` all that there are. Resume, close and open know it too.
   * @returns the names of the queues
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_HOLD_INVALID (a time that is past)
   */
  pauseQueue(queue: AnyQueue | string, options?: string | PauseOptions): Promise<string[]> {
    return this.#queues.pause(queue, options);
  }

  /**
   * Waits until nothing of it is ready or running; closes and pauses nothing by itself. Scheduled jobs
   * are not waited for.
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_TIMEOUT (`details` say what is left); the reason
   *   of the signal
   */
  async drainQueue(queue: AnyQueue | string, options: DrainQueueOptions = {}): Promise<void> {
    return this.#queues.drain(queue, givenObject('options', options));
  }

  /** As `rateLimited()` from a handler: nothing is claimed for so long. 0 to 10 years. */
  limitQueue(queue: AnyQueue | string, wait: Duration, reason?: string): Promise<void> {
    return this.#queues.limit(queue, wait, reason);
  }

  /**
   * Opens the circuit of a queue until it is closed by hand. Without it the circuit breaker moves by
   * itself. @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_CIRCUIT_INVALID (it has no breaker)
   */
  openCircuit(queue: AnyQueue | string, reason?: string): Promise<void> {
    return this.#queues.setCircuit(queue, 'open', reason);
  }

  /** Closes it, whatever its state. @throws HowdahError as `openCircuit` */
  closeCircuit(queue: AnyQueue | string): Promise<void> {
    return this.#queues.setCircuit(queue, 'closed', undefined);
  }

  /** @returns the names of the queues @throws HowdahError HOWDAH_QUEUE_UNKNOWN */
  resumeQueue(queue: AnyQueue | string): Promise<string[]> {
    return this.#queues.resume(queue);
  }

  /**
   * Closed to new jobs: enqueues are refused with HOWDAH_QUEUE_CLOSED; what is there goes on.
   * Closing it twice is fine. @returns the names of the queues @throws HowdahError HOWDAH_QUEUE_UNKNOWN
   */
  closeQueue(queue: AnyQueue | string, reason?: string): Promise<string[]> {
    return this.#queues.close(queue, reason);
  }

  /** Takes new jobs again. @returns the names of the queues @throws HowdahError HOWDAH_QUEUE_UNKNOWN */
  openQueue(queue: AnyQueue | string): Promise<string[]> {
    return this.#queues.open(queue);
  }

  /** How all queues stand, or the one that is named (none where it does not exist). */
  queueStats(queue?: AnyQueue | string): Promise<readonly QueueStats[]> {
    return this.#queues.stats(queue);
  }

  /**
   * Groups of a queue in which jobs wait, with the reason, the longest blocked first; at most `limit`
   * (100, up to 1000).
   */
  async blockedGroups(
    queue: AnyQueue | string,
    options: { readonly limit?: number } = {},
  ): Promise<readonly BlockedGroup[]> {
    return this.#groups.blocked(queue, givenObject('options', options).limit);
  }

  /** Everything about a job, finished or not; undefined where it is not, or no longer, there. */
  job(id: string): Promise<JobDetails | undefined> {
    return this.#jobs.get(id);
  }

  /** Jobs, newest first, at most `limit`; give the last id as `after` for the next page. */
  async jobs(filter: JobFilter = {}): Promise<readonly JobSummary[]> {
    return this.#jobs.list(givenObject('filter', filter));
  }

  /** Cancels waiting jobs, and asks the workers of running ones to stop. At most 10,000 at a time. */
  cancel(ids: string | readonly string[], reason?: string): Promise<readonly CancelledRow[]> {
    return this.#jobs.cancel(ids, reason);
  }

  /**
   * The same for unfinished jobs that a filter fits, at most `limit`: call it again while `more`. A job that
   * has begun meanwhile is spared where the filter names states and `running` is none of them.
   * @throws HowdahError HOWDAH_FILTER_INVALID, HOWDAH_QUEUE_UNKNOWN
   */
  async cancelWhere(filter: CancelFilter, options: CancelOptions = {}): Promise<CancelCounts> {
    return this.#jobs.cancelWhere(givenObject('filter', filter), givenObject('options', options));
  }

  /**
   * Changes a job that waits: payload, headers, priority, time. A member of a group that waits for its turn keeps its
   * place.
   * @returns its state: ready, scheduled or blocked
   * @throws HowdahError HOWDAH_JOB_RUNNING, HOWDAH_JOB_ENDED, HOWDAH_JOB_UNKNOWN, HOWDAH_EDIT_INVALID,
   *   HOWDAH_QUEUE_FULL (the payload has grown past `maxBytes`), and what `enqueue` says of a bad option
   */
  edit(id: string, edit: JobEdit): Promise<JobState> {
    return this.#jobs.edit(id, edit);
  }

  /** Makes scheduled jobs ready and sends dead ones back to their queue. At most 10,000 at a time. */
  runNow(ids: string | readonly string[]): Promise<readonly ControlRow<RunNowOutcome>[]> {
    return this.#jobs.runNow(ids);
  }

  /** Dead jobs with their errors, newest first, at most `limit`. */
  async deadLetters(options: DeadLetterListOptions = {}): Promise<readonly DeadLetter[]> {
    return this.#deadLetters.list(givenObject('options', options));
  }

  /** Dead jobs whose last errors are alike, the largest groups first. @throws HowdahError HOWDAH_QUEUE_UNKNOWN */
  async deadLetterGroups(
    options: DeadLetterGroupOptions = {},
  ): Promise<readonly DeadLetterGroup[]> {
    return this.#deadLetters.groups(givenObject('options', options));
  }

  /**
   * Sends dead jobs back to the queue they came from, with fresh attempts; their errors stay.
   * @throws HowdahError HOWDAH_FILTER_INVALID, HOWDAH_QUEUE_UNKNOWN, HOWDAH_REDRIVE_INVALID (the rate,
   *   or a destination that is the dead-letter queue where a job lies)
   */
  async redrive(
    filter: DeadLetterFilter,
    options?: RedriveOptions,
  ): Promise<readonly RedrivenRow[]> {
    return this.#deadLetters.redrive(
      givenObject('filter', filter),
      options && givenObject('options', options),
    );
  }

  /** Deletes dead jobs; the history keeps them as discarded. @throws HowdahError as `redrive` */
  async discard(
    filter: DeadLetterFilter,
    options?: DiscardOptions,
  ): Promise<readonly DiscardedRow[]> {
    return this.#deadLetters.discard(
      givenObject('filter', filter),
      options && givenObject('options', options),
    );
  }

  /** Every worker that has a lease, the oldest first. */
  workers(): Promise<readonly WorkerInfo[]> {
    return this.#workers.list();
  }

  /**
   * Tells workers to claim no more, finish what they hold and end.
   * @param worker a name, which several may have, or a lease id
   * @throws HowdahError HOWDAH_WORKER_UNKNOWN
   */
  drainWorker(worker: string): Promise<readonly DrainedWorker[]> {
    return this.#workers.drain(worker);
  }

  /**
   * Places a poison pill behind everything that is ready in this queue. The worker that meets it finishes what
   * came before, and ends: that one, or with `all` every worker of the queue that was there when
   * it was placed. In a paused queue it waits until that is resumed.
   * @returns its id; until it is met it can be cancelled like a job
   * @throws HowdahError HOWDAH_QUEUE_UNKNOWN, HOWDAH_STOP_INVALID
   */
  async stopConsumers(
    queue: AnyQueue | string,
    options: { readonly mode?: StopMode } = {},
  ): Promise<string> {
    return this.#workers.placePill(queue, givenObject('options', options).mode ?? 'one');
  }

  /**
   * Hears what this client has done, after its commit: see `ClientEvents`. A listener that throws disturbs
   * nobody; `logger` is told. @returns a function that takes the listener away
   */
  onEvent(listener: EventListener<ClientEvents>): () => void {
    return this.#hub.add(listener);
  }

  /** Hears the events of one type. @returns a function that takes the listener away */
  on<T extends keyof ClientEvents>(
    type: T,
    listener: (event: EventOf<ClientEvents, T>) => void,
  ): () => void {
    return this.#hub.on(type, listener);
  }

  /** Ends waiting `receive`, `result` and `watch` calls, waits for the enqueues and settlements under way, then disconnects; a pool that was given stays. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([this.#producer.close(), this.#pull.close(), this.#watcher.close()]);
    this.#declarations.close();
    await this.#station.close();
    await this.#database.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function closed(): HowdahError {
  return new HowdahError('HOWDAH_CLIENT_CLOSED', 'The client has been closed.');
}
