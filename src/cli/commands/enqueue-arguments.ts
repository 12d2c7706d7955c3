import type { EnqueueOptions } from '../../client/options.js';
import type { Json } from '../../core/json.js';
import { type GlobalOptions, parseJson } from '../context.js';
import { durationOf } from './queues.js';

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
}

/** What is said of each job. */
export function jobOptionsOf(options: EnqueueArguments): EnqueueOptions {
  const { runAt, priority, attempts, weight, headers, group } = options;
  return {
    delay: durationOf(options.delay),
    runAt,
    priority,
    attempts,
    group,
    weight,
    ttl: durationOf(options.ttl),
    headers:
      headers === undefined ? undefined : (parseJson(headers, '--headers') as Record<string, Json>),
  };
}
