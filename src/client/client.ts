import { clientClosed } from '../core/client-closed.js';
import type { ClientEvents } from '../core/client-events.js';
import { systemClock } from '../core/clock.js';
import { codecsOf } from '../core/codec/codec.js';
import { snapshotError } from '../core/codec/error-snapshot.js';
import { EventHub, type EventListener, type EventOf } from '../core/events.js';
import { fenceOf } from '../core/fence.js';
import type { Json } from '../core/json.js';
import { givenOptions, type KnownKeys } from '../core/option.js';
import type { AnyQueue, Queue } from '../core/queue/queue.js';
import { enqueueCalls, type JobsText } from '../db/calls/enqueue.js';
import type { Published } from '../db/calls/topics.js';
import { Database } from '../db/database.js';
import { Declarations } from '../db/declarations.js';
import { DATABASE_OPTIONS } from '../db/options.js';
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
import { Publisher, type PublishOptions } from './enqueue/publisher.js';
import { send, sendPatiently } from './enqueue/send.js';
import { HeldCalls, PatientExecutor } from './held-calls.js';
import { Batches } from './operate/batches.js';
import { DeadLetters } from './operate/dead-letters.js';
import { Groups } from './operate/groups.js';
import { Jobs } from './operate/jobs.js';
import { Queues } from './operate/queues.js';
import { Schedules } from './operate/schedules.js';
import { Topics } from './operate/topics.js';
import { Workers } from './operate/workers.js';
import { Pull } from './pull/pull.js';
import type { ReceiveOptions } from './pull/receive-options.js';
import type { Receipt, ReceivedJob } from './pull/received-job.js';
import { SharedStation } from './station/shared-station.js';

const OPTIONS: KnownKeys<ClientOptions> = {
  ...DATABASE_OPTIONS,
  gather: true,
  onFull: true,
  waitMax: true,
  queues: true,
  middleware: true,
  codec: true,
  logger: true,
};
const RESULT: KnownKeys<ResultOptions & { readonly queue: AnyQueue }> = {
  timeout: true,
  signal: true,
  queue: true,
};
const RECEIVE: KnownKeys<ReceiveOptions> = {
  max: true,
  wait: true,
  visibility: true,
  signal: true,
};

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
  /** Makes queues, changes, pauses, closes and drains them, says how they stand. */
  readonly queues: Queues;
  /** Looks at jobs, cancels and changes them. */
  readonly jobs: Jobs;
  /** Looks at dead jobs, sends them back, deletes them. */
  readonly deadLetters: DeadLetters;
  /** Looks at groups. */
  readonly groups: Groups;
  /** Sets of jobs, each followed by a job when all have ended. */
  readonly batches: Batches;
  /** Which queues get what is published to which topic. */
  readonly topics: Topics;
  /** Cron schedules. */
  readonly schedules: Schedules;
  /** Looks at workers and stops them. */
  readonly workers: Workers;
  readonly #database: Database;
  readonly #declarations: Declarations;
  readonly #hub: EventHub<ClientEvents>;
  readonly #producer: Producer;
  readonly #publisher: Publisher;
  readonly #pull: Pull;
  readonly #station: SharedStation;
  readonly #watcher: JobWatcher;
  #closing: Promise<void> | undefined;

  constructor(options: ClientOptions = {}) {
    givenOptions('options', options, OPTIONS);
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
    this.queues = new Queues(database, patient);
    this.groups = new Groups(database);
    this.jobs = new Jobs(database, patient, codecs, hub);
    this.deadLetters = new DeadLetters(database, patient, codecs, hub);
    this.workers = new Workers(database, patient);
    this.batches = new Batches({
      database,
      changing: patient,
      clock,
      context,
      codecs,
      producer: this.#producer,
      jobs: this.jobs,
    });
    this.topics = new Topics(database, declarations);
    this.#publisher = new Publisher({
      database,
      clock,
      context,
      codecs,
      producer: this.#producer,
      held,
    });
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
    if (this.#closing) return Promise.reject(clientClosed());
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
    options: ResultOptions & { readonly queue?: AnyQueue } = {},
  ): Promise<unknown> {
    if (this.#closing) throw clientClosed();
    const { queue, ...given } = givenOptions('options', options, RESULT);
    return new Results(this.#watcher).result(id, given, queue);
  }

  /**
   * How a job stands now, each change of its progress, and last of all how it ended.
   * @throws HowdahError HOWDAH_JOB_UNKNOWN, HOWDAH_BUFFER_FULL; the reason of the signal
   */
  watch(
    id: string,
    options: { readonly signal?: AbortSignal } = {},
  ): AsyncIterableIterator<JobReport> {
    return watchJob(this.#watcher, id, givenOptions('options', options, { signal: true }).signal);
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
    if (this.#closing) throw clientClosed();
    return this.#producer.enqueueMany(target, payloads, options);
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
    if (this.#closing) return Promise.reject(clientClosed());
    return this.#publisher.publish(topic, payload, options);
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
    if (this.#closing) return Promise.reject(clientClosed());
    return this.#pull.receive(queue, givenOptions('options', options, RECEIVE));
  }

  /**
   * The calls of a received job from its `receipt`, in any process.
   * @throws HowdahError HOWDAH_OPTION_INVALID when it is malformed
   */
  receipt(receipt: string): Receipt {
    return this.#pull.receipt(receipt);
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
