import type { Json } from '../core/json.js';
import { checkMiddleware, type Layer, runLayers } from '../core/layers.js';
import { type AnyQueue, nameOf } from '../core/queue.js';
import type { EnqueueManyOptions } from './enqueue-many.js';

/** A call of `enqueue` or `enqueueMany` as middleware sees it. Never changed: `with...` return another. */
export class EnqueueCall {
  /** Name of the queue. */
  readonly queue: string;
  /** Whether it is an `enqueueMany`, for which middleware runs once, not once a job. */
  readonly isMany: boolean;
  /** The payload, of `enqueueMany` all of them as they were given; not yet checked. */
  readonly payload: unknown;
  /** As they were given; those of `enqueueMany` alone are refused of an `enqueue`. */
  readonly options: EnqueueManyOptions;

  constructor(call: Pick<EnqueueCall, 'queue' | 'isMany' | 'payload' | 'options'>) {
    this.queue = call.queue;
    this.isMany = call.isMany;
    this.payload = call.payload;
    this.options = call.options;
  }

  /** These headers beside those that are there; of the same name these. */
  withHeaders(headers: Readonly<Record<string, Json | undefined>>): EnqueueCall {
    return this.withOptions({ headers: { ...this.options.headers, ...headers } });
  }

  /** These options in place of those of the same name. */
  withOptions(options: EnqueueManyOptions): EnqueueCall {
    return new EnqueueCall({ ...this, options: { ...this.options, ...options } });
  }

  /** Each payload changed. A stream stays one: it is changed as it is read. */
  withPayloads(change: (payload: unknown) => unknown): EnqueueCall {
    const { isMany, payload } = this;
    return new EnqueueCall({ ...this, payload: isMany ? each(payload, change) : change(payload) });
  }
}

/**
 * Surrounds every `enqueue` and `enqueueMany` of a client, before anything is checked or encoded. `next`
 * enqueues, with the call given to it in place of this one, and resolves to what the caller gets. What
 * middleware returns is ignored. What it throws rejects this call and no other; what it throws after
 * `next` has resolved finds the jobs enqueued. A call whose `next` is not called is refused with
 * HOWDAH_MIDDLEWARE_INVALID; an error of `next` reaches the caller even if it is caught.
 */
export type EnqueueMiddleware = (
  call: EnqueueCall,
  next: (changed?: EnqueueCall) => Promise<unknown>,
) => unknown | Promise<unknown>;

/** @throws HowdahError HOWDAH_OPTION_INVALID */
export function layersOf(
  middleware: readonly EnqueueMiddleware[] | undefined,
): readonly Layer<EnqueueCall>[] {
  return checkMiddleware(middleware).map((each) => async (call, next) => {
    await each(call, next);
  });
}

/** Runs a call through middleware. @returns what `inner` returned */
export function surroundEnqueue<T>(
  layers: readonly Layer<EnqueueCall>[],
  target: AnyQueue | string,
  call: Pick<EnqueueCall, 'isMany' | 'payload' | 'options'>,
  inner: (call: EnqueueCall) => Promise<T>,
): Promise<T> {
  const first = new EnqueueCall({ queue: nameOf(target), ...call });
  return runLayers(layers, first, inner as (call: EnqueueCall) => unknown) as Promise<T>;
}

/** What is not iterable stays as it is: it is refused later. */
function each(payloads: unknown, change: (payload: unknown) => unknown): unknown {
  if (Array.isArray(payloads)) return payloads.map((payload) => change(payload));
  if (typeof payloads !== 'object' || payloads === null) return payloads;
  if (Symbol.asyncIterator in payloads) {
    return mapAsync(payloads as AsyncIterable<unknown>, change);
  }
  return Symbol.iterator in payloads ? map(payloads as Iterable<unknown>, change) : payloads;
}

function* map(payloads: Iterable<unknown>, change: (payload: unknown) => unknown) {
  for (const payload of payloads) yield change(payload);
}

async function* mapAsync(payloads: AsyncIterable<unknown>, change: (payload: unknown) => unknown) {
  for await (const payload of payloads) yield change(payload);
}
