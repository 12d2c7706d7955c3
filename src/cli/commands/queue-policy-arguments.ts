import type { Argv } from 'yargs';
import type { QueuePolicy } from '../../core/queue/queue-policy.js';
import { durationOf, usageError } from '../context.js';

/** A policy as `queues set` takes it. */
export interface PolicyArguments {
  readonly attempts: number | undefined;
  readonly backoff: string | undefined;
  readonly backoffDelay: string | undefined;
  readonly backoffMax: string | undefined;
  readonly backoffJitter: number | undefined;
  readonly timeout: string | undefined;
  readonly ttl: string | undefined;
  readonly delay: string | undefined;
  readonly visibility: string | undefined;
  readonly retention: string | undefined;
  readonly payloadBytesMax: number | undefined;
  readonly maxCrashes: number | undefined;
  readonly groupConcurrency: number | undefined;
  readonly groupRate: string | undefined;
  readonly groupRateBurst: number | undefined;
  readonly concurrencyMax: string | undefined;
  readonly rate: string | undefined;
  readonly rateBurst: number | undefined;
  readonly breaker: string | undefined;
  readonly breakerCooldown: string | undefined;
  readonly ageing: string | undefined;
  readonly deadLetterQueue: string | undefined;
  readonly maxDepth: string | undefined;
  readonly maxBytes: string | undefined;
}

export function policyOptions<T>(yargs: Argv<T>) {
  const time = (describe: string) => ({ type: 'string', describe }) as const;
  return yargs
    .option('attempts', { type: 'number', describe: 'Attempts before a job is dead (10)' })
    .option('backoff', {
      type: 'string',
      choices: ['exponential', 'fixed'],
      describe: 'How the delay between attempts grows (exponential)',
    })
    .option('backoff-delay', time('Delay after the first failed attempt (5s)'))
    .option('backoff-max', time('Longest delay (1h)'))
    .option('backoff-jitter', { type: 'number', describe: 'Share that chance adds or takes (0.2)' })
    .option('timeout', time('How long an attempt may run, or none (5m)'))
    .option('ttl', time('How long a job may wait, or none (none)'))
    .option('delay', time('Delay of jobs that name none (0)'))
    .option('visibility', time('How long jobs that are received are held (30s)'))
    .option('retention', time('How long finished jobs are kept (1d)'))
    .option('payload-bytes-max', { type: 'number', describe: 'Largest payload (1048576)' })
    .option('max-crashes', { type: 'number', describe: 'Deaths of workers a job may cause (3)' })
    .option('group-concurrency', { type: 'number', describe: 'Jobs of a group at once (1)' })
    .option('group-rate', time('Jobs of a group in a time, as 10/s or 1/5m, or none (none)'))
    .option('group-rate-burst', { type: 'number', describe: 'Most jobs of a group at once (1)' })
    .option('concurrency-max', time('Jobs that run at once in the whole fleet, or none (none)'))
    .option('rate', time('Jobs in a time, as 1000/s or 10/5m, or none (none)'))
    .option('rate-burst', { type: 'number', describe: 'Most jobs at once (what 250 ms bring)' })
    .option('breaker', time('Failures in a time that stop the queue, as 5/1m, or none (none)'))
    .option('breaker-cooldown', time('How long it stops before a single job tries (30s)'))
    .option('ageing', time('Wait after which a job rises in priority, or none (none)'))
    .option('dead-letter-queue', time('Where its dead jobs go (dead-letters)'))
    .option('max-depth', time('Most jobs that wait, or none (none)'))
    .option('max-bytes', time('Most bytes of payloads that wait, or none (none)'));
}

/** What is given of it, as the client takes it. */
export function policyOf(options: PolicyArguments): QueuePolicy {
  const { attempts, delay, retention, payloadBytesMax, maxCrashes, deadLetterQueue } = options;
  const { groupConcurrency } = options;
  const backoff = given({
    type: options.backoff,
    delay: durationOf(options.backoffDelay),
    max: durationOf(options.backoffMax),
    jitter: options.backoffJitter,
  });
  return given({
    attempts,
    timeout: options.timeout === 'none' ? null : durationOf(options.timeout),
    ttl: options.ttl === 'none' ? null : durationOf(options.ttl),
    delay: durationOf(delay),
    visibility: durationOf(options.visibility),
    retention: durationOf(retention),
    payloadBytesMax,
    maxCrashes,
    groupConcurrency,
    deadLetterQueue,
    ...limitsOf(options),
    maxDepth: boundOf(options.maxDepth),
    maxBytes: boundOf(options.maxBytes),
    ...(Object.keys(backoff).length > 0 ? { backoff } : {}),
  }) as QueuePolicy;
}

/** Limits as the command line writes them. */
function limitsOf(options: PolicyArguments): Record<string, unknown> {
  const { concurrencyMax, rate, rateBurst, breaker, breakerCooldown, ageing } = options;
  const { groupRate, groupRateBurst } = options;
  if (rateBurst !== undefined && !rate?.includes('/')) {
    throw usageError('Option rate-burst needs --rate.', 'For example --rate 1000/s.');
  }
  if (groupRateBurst !== undefined && !groupRate?.includes('/')) {
    throw usageError(
      'Option group-rate-burst needs --group-rate.',
      'For example --group-rate 10/s.',
    );
  }
  if (breakerCooldown !== undefined && !breaker?.includes('/')) {
    throw usageError('Option breaker-cooldown needs --breaker.', 'For example --breaker 5/1m.');
  }
  return {
    concurrencyMax: concurrencyMax === 'none' ? null : numberOf(concurrencyMax),
    rate: ratioOf(rate, 'max', 'per', { burst: rateBurst }),
    groupRate: ratioOf(groupRate, 'max', 'per', { burst: groupRateBurst }),
    breaker: ratioOf(breaker, 'failures', 'window', { cooldown: durationOf(breakerCooldown) }),
    ageing: ageing === 'none' ? null : durationOf(ageing),
  };
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

/** `1000/s`, `10/5m` or `none` as `{ max: 10, per: '5m' }` or null. */
function ratioOf(
  text: string | undefined,
  count: string,
  time: string,
  more: Record<string, unknown>,
): Record<string, unknown> | null | undefined {
  if (text === undefined) return undefined;
  if (text === 'none') return null;
  const parts = /^([^/]+)\/(.+)$/.exec(text);
  if (!parts) throw usageError(`${JSON.stringify(text)} is not a rate.`, 'Write it as 10/5m.');
  const [, number = '', unit = ''] = parts;
  const duration = durationOf(/^[a-z]/.test(unit) ? `1${unit}` : unit);
  return given({ [count]: Number(number), [time]: duration, ...more });
}

/** What is no number is refused with the name of the option, like any other policy. */
function boundOf(text: string | undefined): number | null | undefined {
  if (text === undefined) return undefined;
  return text === 'none' ? null : Number(text);
}

function given(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
