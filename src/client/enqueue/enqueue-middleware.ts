import type { Json } from '../../core/json.js';
import { checkMiddleware, type Layer, runLayers } from '../../core/layers.js';
import type { EnqueueManyOptions } from './enqueue-many.js';

/** What enqueues: `batch` opens a batch that is followed by a job, which is what middleware sees of it. */
export type EnqueueVia = 'enqueue' | 'enqueueMany' | 'publish' | 'batch';

/** A call that enqueues as middleware sees it. Never changed: `with...` return another. */
export class EnqueueCall {
  readonly via: EnqueueVia;
  /** Name of the queue; of a publication its topic. */
  readonly queue: string;
  /** Whether it is an `enqueueMany`, for which middleware runs once, not once a job. */
  readonly isMany: boolean;
  /** The payload, of `enqueueMany` all of them as they were given; not yet checked. */
  readonly payload: unknown;
  /** As they were given; those of `enqueueMany` alone are refused of an `enqueue`. */
  readonly options: EnqueueManyOptions;

  constructor(call: Pick<EnqueueCall, 'via' | 'queue' | 'payload' | 'options'>) {
    this.via = call.via;
    this.queue = call.queue;
    this.isMany = call.via === 'enqueueMany';
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
 * Surrounds every `enqueue`, `enqueueMany` and `publish` of a client, and every `batch` that is followed by a
 * job, before anything is checked or encoded. `next` enqueues, with the call given to it in place of this one, and resolves to what the caller gets. What
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
  call: EnqueueCall,
  inner: (call: EnqueueCall) => Promise<T>,
): Promise<T> {
  return runLayers(layers, call, inner as (call: EnqueueCall) => unknown) as Promise<T>;
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
