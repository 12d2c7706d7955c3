import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import type { JobOptions } from '../../core/job/enqueue-options.js';
import { bulkEncoder, jobEncoder } from '../../core/job/job-text.js';
import { countOption, invalidOption } from '../../core/option.js';
import type { AnyQueue } from '../../core/queue/queue.js';
import type { Enqueued, JobsText } from '../../db/calls/enqueue.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';
import type { HeldCalls } from '../held-calls.js';
import { checkFullOptions, type FullOptions, type WhileFull, waiterOf } from './backpressure.js';
import { type BulkContext, BulkEnqueue } from './bulk-enqueue.js';
import { CallerTransaction, type CallerTransactionContext } from './caller-transaction.js';
import type { PatientSendJobs, SendJobs } from './enqueue-each.js';
import type { EnqueueManyArrayResult, EnqueueManyOptions } from './enqueue-many.js';
import type { EnqueueOptions } from './enqueue-options.js';
import type { Gatherer } from './gatherer.js';
import type { KeyedGatherer } from './keyed-gatherer.js';

/** What an {@link Enqueuer} is made with. */
interface EnqueuerContext extends CallerTransactionContext {
  readonly clock: Clock;
  readonly gatherer: Gatherer;
  /** For jobs that somebody's transaction may hold. */
  readonly keyedGatherer: KeyedGatherer;
  readonly held: HeldCalls;
  /** Outside a transaction: good jobs are enqueued, others reported. */
  readonly report: SendJobs;
  /** Outside a transaction: all jobs or none. */
  readonly all: SendJobs;
  /** The two for jobs that may be held. */
  readonly reportPatiently: PatientSendJobs;
  readonly allPatiently: PatientSendJobs;
  /** What the client does at a full queue. */
  readonly full: FullOptions;
  readonly codecs: Codecs | undefined;
}

/** Enqueues: one job or many, by themselves or in a transaction of the caller. */
export class Enqueuer {
  readonly #context: EnqueuerContext;
  /** Calls that are not with the gatherer (yet). */
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(context: EnqueuerContext) {
    this.#context = context;
  }

  /** Everything wrong with the arguments rejects before a round trip. */
  enqueue(
    target: AnyQueue | string,
    payload: unknown,
    options: EnqueueOptions | undefined,
  ): Promise<Enqueued> {
    const { clock, declarations, gatherer, codecs } = this.#context;
    try {
      const encode = jobEncoder(target, this.#withDefaults(options), clock.now(), codecs);
      const job = encode(payload);
      const whileFull = this.#waiterOf(options);
      if (options?.tx !== undefined) return this.#track(this.#enqueueIn(options.tx, target, job));
      const definition = definitionOf(target);
      if (whileFull || mayBeHeld(options))
        return this.#track(this.#enqueueLater(definition, job, options, whileFull));
      // the common path: no promise but the caller's own
      if (typeof job === 'string' && declarations.has(definition)) return gatherer.add(job);
      return this.#track(this.#enqueueLater(definition, job, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  enqueueMany(
    target: AnyQueue | string,
    payloads: Iterable<unknown> | AsyncIterable<unknown>,
    options: EnqueueManyOptions,
  ): Promise<EnqueueManyArrayResult> {
    return this.#track(this.#enqueueMany(target, payloads, options));
  }

  /** Resolves when every call has its answer. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    await this.#context.gatherer.idle();
  }

  #track<T>(call: Promise<T>): Promise<T> {
    this.#underWay.add(call);
    const forget = () => this.#underWay.delete(call);
    call.then(forget, forget);
    return call;
  }

  async #enqueueMany(
    target: AnyQueue | string,
    payloads: Iterable<unknown> | AsyncIterable<unknown>,
    options: EnqueueManyOptions,
  ): Promise<EnqueueManyArrayResult> {
    assertIterable(payloads);
    const context = this.#bulkContext(target, options);
    if (context.transaction) await context.transaction.declare(target);
    else await this.#context.declarations.ensure(definitionOf(target));
    const bulk = new BulkEnqueue(context, Array.isArray(payloads) ? payloads.length : undefined);
    return bulk.run(payloads);
  }

  async #enqueueLater(
    definition: AnyQueue | undefined,
    job: string | Promise<string>,
    options: EnqueueOptions | undefined,
    whileFull?: WhileFull,
  ): Promise<Enqueued> {
    const { declarations, gatherer: plain, keyedGatherer } = this.#context;
    const text = typeof job === 'string' ? job : await job;
    if (!declarations.has(definition)) await declarations.ensure(definition);
    const gatherer = mayBeHeld(options) ? keyedGatherer : plain;
    return whileFull ? whileFull(() => gatherer.add(text)) : gatherer.add(text);
  }

  /** `drop-oldest` is for the database to do: it goes with the job. */
  #withDefaults<Options extends FullOptions>(options: Options | undefined): Options | undefined {
    const { onFull } = this.#context.full;
    if (onFull !== 'drop-oldest' || options?.onFull !== undefined) return options;
    return { ...(options as Options), onFull };
  }

  /** @throws HowdahError HOWDAH_OPTION_INVALID */
  #waiterOf(options: EnqueueManyOptions | EnqueueOptions | undefined): WhileFull | undefined {
    const { full, clock } = this.#context;
    if (options === undefined)
      return full.onFull === 'wait' ? waiterOf({}, full, clock) : undefined;
    checkFullOptions(options);
    if (options.tx === undefined) return waiterOf(options, full, clock);
    if (options.onFull === 'wait') {
      throw new HowdahError(
        'HOWDAH_OPTION_INVALID',
        "Options tx and onFull: 'wait' exclude each other.",
        {
          details: { option: 'onFull' },
          remedy: 'Roll back and begin again: a transaction that waits holds its locks.',
        },
      );
    }
    return undefined;
  }

  async #enqueueIn(
    handle: TxHandle,
    target: AnyQueue | string,
    job: string | Promise<string>,
  ): Promise<Enqueued> {
    const transaction = new CallerTransaction(handle, this.#context);
    const text = typeof job === 'string' ? job : await job;
    const declaring = transaction.declare(target);
    if (declaring) await declaring;
    return transaction.one(text);
  }

  #bulkContext(
    target: AnyQueue | string,
    options: EnqueueManyOptions,
  ): BulkContext & { readonly transaction: CallerTransaction | undefined } {
    const { tx, onError = 'throw', batchSize, onBatch, ...job } = options;
    if (onError !== 'throw' && onError !== 'report') {
      throw invalidOption('onError', onError, "Use 'throw' or 'report'.");
    }
    const { clock, all, report, held, allPatiently, reportPatiently, codecs } = this.#context;
    const transaction = tx === undefined ? undefined : new CallerTransaction(tx, this.#context);
    const jobOptions = this.#withDefaults(job) as JobOptions;
    const { encode, join } = bulkEncoder(target, jobOptions, clock.now(), codecs);
    return {
      onError,
      batchSize: countOption('batchSize', batchSize, 1000, 1000),
      onBatch,
      encode,
      // handles of other drivers take text only
      join: transaction ? join : (jobs) => Buffer.from(join(jobs)),
      whileFull: this.#waiterOf(options),
      transaction,
      isInTransaction: transaction !== undefined,
      ...(transaction
        ? {
            all: (jobs: JobsText) => transaction.all(jobs),
            report: (jobs: JobsText) => transaction.report(jobs),
          }
        : mayBeHeld(options)
          ? {
              all: (jobs: JobsText) => held.run((ms) => allPatiently(jobs, ms)),
              report: (jobs: JobsText) => held.run((ms) => reportPatiently(jobs, ms)),
            }
          : { all, report }),
    };
  }
}

function definitionOf(target: AnyQueue | string): AnyQueue | undefined {
  return typeof target === 'string' ? undefined : target;
}

type Keyed = { readonly [Option in 'group' | 'dedupe' | 'batch']?: unknown };

/** Whether somebody's transaction may hold what the job needs: a group, a dedupe key, a batch. */
export function mayBeHeld(options: Keyed | undefined): boolean {
  return (
    options !== undefined &&
    (options.group !== undefined || options.dedupe !== undefined || options.batch !== undefined)
  );
}

/** Text is iterable, too, but surely not meant. */
function assertIterable(payloads: unknown): void {
  const isIterable =
    typeof payloads === 'object' &&
    payloads !== null &&
    (Symbol.iterator in payloads || Symbol.asyncIterator in payloads);
  if (isIterable) return;
  throw new HowdahError('HOWDAH_OPTION_INVALID', 'The payloads of enqueueMany are not iterable.', {
    details: { option: 'payloads' },
    remedy: 'Give an array, an iterable or an async iterable of payloads.',
  });
}
