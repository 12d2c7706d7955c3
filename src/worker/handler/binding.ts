import { describeValue } from '../../core/describe-value.js';
import { HowdahError } from '../../core/errors.js';
import type { Job } from '../../core/job/job.js';
import type { Outcome } from '../../core/job/outcome.js';
import type { Json } from '../../core/json.js';
import { checkMiddleware } from '../../core/layers.js';
import {
  givenOptions,
  invalidOption,
  type KnownKeys,
  truth,
  unknownOption,
  wholeNumber,
} from '../../core/option.js';
import { type AnyQueue, nameOf, type Queue } from '../../core/queue/queue.js';
import { assertQueueName } from '../../core/queue/queue-name.js';
import { type Duration, parseDuration } from '../../core/time/duration.js';
import type { AttemptMiddleware } from './attempt-middleware.js';
import { type HandlerFile, type HandlerFileOptions, resolveHandlerFile } from './handler-file.js';
import type { JobContext, TransactionalContext } from './job-context.js';

/** What a handler may return: a result, an outcome such as `snooze('5m')`, or nothing. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler without a return statement returns void
export type HandlerReturn<Result = Json> = Result | Outcome | undefined | void;

/** Runs one job. Anything it throws is a failed attempt. */
export type Handler<Payload = unknown, Result = Json> = (
  job: Job<Payload>,
  context: JobContext,
) => HandlerReturn<Result> | Promise<HandlerReturn<Result>>;

/** Runs one job in a transaction that completes it. Anything it throws is a failed attempt. */
export type TransactionalHandler<Payload = unknown, Result = Json> = (
  job: Job<Payload>,
  context: TransactionalContext,
) => HandlerReturn<Result> | Promise<HandlerReturn<Result>>;

/** What became of one job of a batch; an Error is a failed attempt, undefined is success. */
export type BatchEntry = Json | Outcome | Error | undefined;

/**
 * What a batch handler may return: nothing (all are complete), an array aligned with the jobs, a Map
 * by job id (those not in it are complete), or one outcome for all.
 */
export type BatchReturn =
  | readonly BatchEntry[]
  | ReadonlyMap<string, BatchEntry>
  | Outcome
  | undefined
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler without a return statement returns void
  | void;

/** Runs many jobs in one call. When it throws, the attempt of each has failed. */
export type BatchHandler<Payload = unknown> = (
  jobs: readonly Job<Payload>[],
  context: JobContext,
) => BatchReturn | Promise<BatchReturn>;

/** How jobs are gathered for a batch handler. */
export interface BatchOptions {
  /** Most jobs in one call, 1 to 10,000. */
  readonly size: number;
  /** How long a call waits for its batch to fill, 0 to 1 h. Default 0: takes what is there. */
  readonly wait?: Duration;
  /**
   * The jobs of a call have the same group key (or none), in the order of their group. Of a strict group
   * (`groupConcurrency: 1`) a call gets what is next in line when its first job is claimed, and where jobs
   * of it are to run again, only the first of them does; the others wait behind it. Default false.
   */
  readonly byGroup?: boolean;
}

/** How one queue is worked. `Input` is what the handler gets: a job, or the jobs of a batch. */
export interface WorkOptions<Input = Job | readonly Job[]> {
  /** Handler calls that run at once, 1 to 10,000. Default 10. */
  readonly concurrency?: number;
  /**
   * Jobs claimed ahead of a free slot, 0 to 10,000. Default: as many as the handler finishes in
   * 25 ms, at most 1000; so fast handlers get large claims and slow ones hoard nothing.
   */
  readonly prefetch?: number;
  /** Around the handler, the first one outermost; inside the middleware of the worker. */
  readonly middleware?: readonly AttemptMiddleware<Input>[];
  /** Whether what handlers write to `context.log` is kept with the job, too. Default true. */
  readonly keepLogs?: boolean;
}

/** Of a handler without a transaction. */
interface Plain {
  readonly batch?: undefined;
  readonly transactional?: false | undefined;
}

/** Of a handler that gets an open transaction. */
interface Transactional {
  readonly batch?: undefined;
  /**
   * The handler is called in a transaction, `context.tx`, in which the job is completed when it returns:
   * its writes and the completion are committed together or not at all. Each running handler holds a
   * connection. Not with `batch`. Default false.
   */
  readonly transactional: true;
}

/** Of a handler that takes many jobs. */
interface Batched {
  readonly batch: BatchOptions;
  readonly transactional?: false | undefined;
}

/** What surrounds the run of a handler file; `run` resolves with its answer. */
export type Around = (
  job: Job,
  context: JobContext,
  run: () => Promise<unknown>,
) => Promise<unknown>;

/** A queue with its handler, for {@link createWorker}; made by {@link work}. */
export interface Binding {
  readonly queue: AnyQueue | string;
  readonly name: string;
  /** Undefined: it is in a file. */
  readonly handler: ((input: never, context: never) => unknown) | undefined;
  /** A handler that runs in threads or processes. */
  readonly file: HandlerFile | undefined;
  /** Called around each run of a handler file, where somebody wants to know of them. */
  readonly around?: Around;
  readonly concurrency: number;
  /** Undefined: as the handler's speed allows. */
  readonly prefetch: number | undefined;
  /** Undefined: one job a call. */
  readonly batch:
    | { readonly size: number; readonly waitMs: number; readonly byGroup: boolean }
    | undefined;
  /** The handler is called in a transaction. */
  readonly isTransactional: boolean;
  readonly keepLogs: boolean;
  readonly middleware: readonly AttemptMiddleware<never>[];
}

/** Of any handler. */
interface AnyWorkOptions extends WorkOptions<never> {
  readonly batch?: BatchOptions | undefined;
  readonly transactional?: boolean | undefined;
}

const OPTIONS: KnownKeys<AnyWorkOptions> = {
  concurrency: true,
  prefetch: true,
  batch: true,
  transactional: true,
  middleware: true,
  keepLogs: true,
};

/**
 * Binds a handler to a queue. With `batch` the handler takes an array of jobs. With `{ file }` it is
 * what that module exports, run in threads or processes of which each has one job at a time.
 * @throws HowdahError HOWDAH_HANDLER_INVALID, HOWDAH_OPTION_INVALID, HOWDAH_QUEUE_NAME_INVALID
 */
export function work<Payload, Result>(
  queue: Queue<string, never, Payload, unknown, Result>,
  handler: Handler<Payload, Result>,
  options?: WorkOptions<Job<Payload>> & Plain,
): Binding;
export function work<Payload, Result>(
  queue: Queue<string, never, Payload, unknown, Result>,
  handler: TransactionalHandler<Payload, Result>,
  options: WorkOptions<Job<Payload>> & Transactional,
): Binding;
export function work<Payload>(
  queue: Queue<string, never, Payload, unknown>,
  handler: BatchHandler<Payload>,
  options: WorkOptions<readonly Job<Payload>[]> & Batched,
): Binding;
export function work(queue: string, handler: Handler, options?: WorkOptions<Job> & Plain): Binding;
export function work(
  queue: AnyQueue | string,
  handler: HandlerFileOptions,
  options?: Pick<WorkOptions, 'prefetch'>,
): Binding;
export function work(
  queue: string,
  handler: TransactionalHandler,
  options: WorkOptions<Job> & Transactional,
): Binding;
export function work(
  queue: string,
  handler: BatchHandler,
  options: WorkOptions<readonly Job[]> & Batched,
): Binding;
export function work(
  queue: AnyQueue | string,
  handler: ((input: never, context: never) => unknown) | HandlerFileOptions,
  options: AnyWorkOptions = {},
): Binding {
  const name = nameOf(queue);
  assertQueueName(name);
  if (isFile(handler)) return bindFile(queue, name, handler, options);
  if (typeof handler !== 'function') {
    throw new HowdahError(
      'HOWDAH_HANDLER_INVALID',
      `The handler of queue ${name} is ${describeValue(handler)}, not a function.`,
    );
  }
  const {
    concurrency = 10,
    prefetch,
    batch,
    transactional = false,
    middleware,
    keepLogs = true,
  } = givenOptions('options', options, OPTIONS);
  if (truth('transactional', transactional) && batch) {
    throw invalidOption(
      'transactional',
      transactional,
      'It does not go with batch: leave one out.',
    );
  }
  return Object.freeze({
    queue,
    name,
    handler,
    file: undefined,
    concurrency: wholeNumber('concurrency', concurrency, 1, 10_000),
    prefetch: prefetch === undefined ? undefined : wholeNumber('prefetch', prefetch, 0, 10_000),
    batch: batch && resolveBatch(batch),
    isTransactional: transactional,
    middleware: checkMiddleware(middleware),
    keepLogs: truth('keepLogs', keepLogs),
  });
}

function resolveBatch({ size, wait = 0, byGroup = false, ...others }: BatchOptions) {
  for (const key of Object.keys(others)) {
    throw unknownOption(`batch.${key}`, ['size', 'wait', 'byGroup']);
  }
  return {
    size: wholeNumber('batch.size', size, 1, 10_000),
    waitMs: parseDuration(wait, 'batch.wait', { max: 3_600_000 }),
    byGroup: truth('batch.byGroup', byGroup),
  };
}

function isFile(handler: unknown): handler is HandlerFileOptions {
  return typeof handler === 'object' && handler !== null && 'file' in handler;
}

/** Threads and processes say how many jobs run at once. */
function bindFile(
  queue: AnyQueue | string,
  name: string,
  handler: HandlerFileOptions,
  options: WorkOptions<never>,
): Binding {
  for (const [key, value] of Object.entries(options)) {
    if (key !== 'prefetch') {
      throw invalidOption(key, value, 'With a handler file, only prefetch goes beside it.');
    }
  }
  const file = resolveHandlerFile(name, handler);
  const { prefetch } = options;
  return Object.freeze({
    queue,
    name,
    handler: undefined,
    file,
    concurrency: file.size,
    prefetch: prefetch === undefined ? undefined : wholeNumber('prefetch', prefetch, 0, 10_000),
    batch: undefined,
    isTransactional: false,
    keepLogs: true,
    middleware: [],
  });
}
