import type { EnqueueOptions, OnFull } from '../../client/enqueue/enqueue-options.js';
import type { DedupeMode, DedupeOptions } from '../../core/job/dedupe.js';
import type { Json } from '../../core/json.js';
import { durationOf, type GlobalOptions, parseJson, usageError } from '../context.js';

/** Options of `howdah enqueue`. */
export interface EnqueueArguments extends GlobalOptions {
  readonly queue: string;
  readonly payload: string | undefined;
  readonly from: string | undefined;
  readonly format: string | undefined;
  readonly delimiter: string | undefined;
  readonly onError: string;
  readonly rejects: string | undefined;
  readonly delay: string | undefined;
  readonly runAt: string | undefined;
  readonly priority: number | undefined;
  readonly headers: string | undefined;
  readonly attempts: number | undefined;
  readonly weight: number | undefined;
  readonly ttl: string | undefined;
  readonly group: string | undefined;
  readonly batch: string | undefined;
  readonly dedupeKey: string | undefined;
  readonly dedupeWindow: string | undefined;
  readonly dedupeMode: string | undefined;
  readonly onFull: string | undefined;
  readonly waitMax: string | undefined;
}

/** What is said of each job. */
export function jobOptionsOf(options: EnqueueArguments): EnqueueOptions {
  const { runAt, priority, attempts, weight, headers, group, batch } = options;
  return {
    delay: durationOf(options.delay),
    runAt,
    priority,
    attempts,
    group,
    batch,
    weight,
    ttl: durationOf(options.ttl),
    dedupe: dedupeOf(options),
    onFull: options.onFull as OnFull | undefined,
    waitMax: durationOf(options.waitMax),
    headers:
      headers === undefined ? undefined : (parseJson(headers, '--headers') as Record<string, Json>),
  };
}

function dedupeOf(options: EnqueueArguments): DedupeOptions | undefined {
  const { dedupeKey: key, dedupeWindow, dedupeMode } = options;
  if (key !== undefined) {
    return { key, window: durationOf(dedupeWindow), mode: dedupeMode as DedupeMode | undefined };
  }
  if (dedupeWindow === undefined && dedupeMode === undefined) return undefined;
  throw usageError('Without --dedupe-key there is no duplicate.', 'See howdah enqueue --help.');
}
