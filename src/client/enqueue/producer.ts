import { clientClosed } from '../../core/client-closed.js';
import type { ClientEvents } from '../../core/client-events.js';
import type { EventHub } from '../../core/events.js';
import type { Layer } from '../../core/layers.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import type { Enqueued } from '../../db/calls/enqueue.js';
import type { Published } from '../../db/calls/topics.js';
import type { EnqueueManyArrayResult, EnqueueManyOptions } from './enqueue-many.js';
import { EnqueueCall, surroundEnqueue } from './enqueue-middleware.js';
import type { EnqueueOptions } from './enqueue-options.js';
import type { Enqueuer } from './enqueuer.js';

/** What a {@link Producer} is made with. */
interface ProducerParts {
  readonly enqueuer: Enqueuer;
  readonly layers: readonly Layer<EnqueueCall>[];
  readonly hub: EventHub<ClientEvents>;
}

/**
 * Enqueues with middleware around and events behind. Where there are neither, a call goes straight to the
 * enqueuer.
 */
export class Producer {
  readonly #parts: ProducerParts;
  #isClosed = false;

  constructor(parts: ProducerParts) {
    this.#parts = parts;
  }

  enqueue(
    target: AnyQueue | string,
    payload: unknown,
    options: EnqueueOptions | undefined,
  ): Promise<Enqueued> {
    const { enqueuer, layers, hub } = this.#parts;
    if (layers.length > 0) return this.#surrounded(target, payload, options ?? {});
    const answer = enqueuer.enqueue(target, payload, options);
    return isHeard(hub) ? this.#reported(target, options?.tx === undefined, answer) : answer;
  }

  async enqueueMany(
    target: AnyQueue | string,
    payloads: Iterable<unknown> | AsyncIterable<unknown>,
    options: EnqueueManyOptions,
  ): Promise<EnqueueManyArrayResult> {
    const first = {
      via: 'enqueueMany',
      queue: nameOf(target),
      payload: payloads,
      options,
    } as const;
    return this.surround(first, (call) =>
      this.#enqueueMany(target, call.payload as Iterable<unknown>, call.options),
    );
  }

  /** Runs what enqueues, in whatever way, with middleware around. */
  async surround<T>(
    first: Pick<EnqueueCall, 'via' | 'queue' | 'payload' | 'options'>,
    inner: (call: Pick<EnqueueCall, 'payload' | 'options'>) => Promise<T>,
  ): Promise<T> {
    const { layers } = this.#parts;
    if (layers.length === 0) return inner(first);
    return surroundEnqueue(layers, new EnqueueCall(first), async (call) => {
      this.assertOpen();
      return inner(call);
    });
  }

  /** Jobs of a publication. */
  report(jobs: readonly Published[], isCommitted: boolean): void {
    if (!isHeard(this.#parts.hub)) return;
    for (const job of jobs) this.#report(job.queue, job, isCommitted);
  }

  /** Refuses calls that are still in their middleware; resolves when all others have their answer. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#parts.enqueuer.idle();
  }

  async #surrounded(
    target: AnyQueue | string,
    payload: unknown,
    options: EnqueueOptions,
  ): Promise<Enqueued> {
    const { enqueuer, hub } = this.#parts;
    const first = {
      via: 'enqueue',
      queue: nameOf(target),
      payload,
      options: options as EnqueueManyOptions,
    } as const;
    return this.surround(first, (changed) => {
      const answer = enqueuer.enqueue(target, changed.payload, changed.options as EnqueueOptions);
      if (!isHeard(hub)) return answer;
      return this.#reported(target, changed.options.tx === undefined, answer);
    });
  }

  async #reported(
    target: AnyQueue | string,
    isCommitted: boolean,
    answer: Promise<Enqueued>,
  ): Promise<Enqueued> {
    const enqueued = await answer;
    this.#report(nameOf(target), enqueued, isCommitted);
    return enqueued;
  }

  #enqueueMany(
    target: AnyQueue | string,
    payloads: Iterable<unknown> | AsyncIterable<unknown>,
    options: EnqueueManyOptions,
  ): Promise<EnqueueManyArrayResult> {
    this.assertOpen();
    const { enqueuer, hub } = this.#parts;
    if (!isHeard(hub)) return enqueuer.enqueueMany(target, payloads, options);
    const queue = nameOf(target);
    const { onBatch, tx } = options;
    return enqueuer.enqueueMany(target, payloads, {
      ...options,
      onBatch: (batch) => {
        for (const job of batch.jobs) this.#report(queue, job, tx === undefined);
        return onBatch?.(batch);
      },
    });
  }

  #report(queue: string, { id, created }: Enqueued, isCommitted: boolean): void {
    const type = created ? 'job.enqueued' : 'job.deduplicated';
    this.#parts.hub.emit(type, { job: { id, queue }, isCommitted });
  }

  /** @throws HowdahError HOWDAH_CLIENT_CLOSED */
  assertOpen(): void {
    if (this.#isClosed) throw clientClosed();
  }
}

function isHeard(hub: EventHub<ClientEvents>): boolean {
  return hub.hears('job.enqueued') || hub.hears('job.deduplicated');
}
