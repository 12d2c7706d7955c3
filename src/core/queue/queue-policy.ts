import { givenObject, invalidOption, unknownOption, wholeNumber } from '../option.js';
import { type Duration, parseDuration } from '../time/duration.js';
import { assertQueueName } from './queue-name.js';

/** Ten years, the longest time anything may wait. */
export const WAIT_MS_MAX = 315_360_000_000;
/** The largest `payloadBytesMax`: 64 MiB. */
const PAYLOAD_BYTES_MAX = 67_108_864;
const INTEGER_MAX = 2_147_483_647;
/** The largest concurrency, rate and burst. */
const LIMIT_MAX = 1_000_000;
/** The longest visibility, 12 hours. */
const VISIBILITY_MS_MAX = 43_200_000;
const DAY_MS = 86_400_000;

/** How the delay before the next attempt grows. */
export interface BackoffPolicy {
  /** `exponential` (default) doubles the delay with each attempt; `fixed` keeps it. */
  readonly type?: 'exponential' | 'fixed';
  /** Delay after the first failed attempt, 0 to 24 days. Default 5 s. */
  readonly delay?: Duration;
  /** Longest delay, 0 to 24 days. Default 1 h. */
  readonly max?: Duration;
  /** Share of the delay that chance takes away or adds, 0 to 1. Default 0.2. */
  readonly jitter?: number;
}

/** How many jobs begin in a time, of a queue or of a group, whatever the number of workers: a token bucket. */
export interface RatePolicy {
  /** Jobs in each `per`, 1 to 1,000,000. Of a queue it is their weights, to be exact. */
  readonly max: number;
  /** 1 ms to 1 day. Default 1 s. */
  readonly per?: Duration;
  /**
   * Most that may begin at once after a quiet time, 1 to 1,000,000. Default: what 250 ms bring; of a
   * group 1.
   */
  readonly burst?: number;
}

/** When a queue stops by itself because its jobs fail. */
export interface BreakerPolicy {
  /** Failed attempts that open the circuit, 1 to 100. */
  readonly failures: number;
  /** The time within which they fall, 1 ms to 1 day. Default 1 min. */
  readonly window?: Duration;
  /** How long nothing is claimed before a single job tries, 1 ms to 1 day. Default 30 s. */
  readonly cooldown?: Duration;
}

/**
 * What holds for every job of a queue. A key left out keeps the value the database has: the default
 * on creation, or what an operator has set since.
 */
export interface QueuePolicy {
  /** Attempts before a job is dead, 1 to 1000. Default 10. */
  readonly attempts?: number;
  readonly backoff?: BackoffPolicy;
  /** Longest run of one attempt, 1 ms to 24 days; null is without end. Default 5 min. */
  readonly timeout?: Duration | null;
  /** Longest wait for a worker, 1 ms to 10 years: a job not begun by then expires. Default null. */
  readonly ttl?: Duration | null;
  /** Delay of every job that names none, 0 to 10 years. Default 0. */
  readonly delay?: Duration;
  /** How long jobs are a consumer's that `receive` gave them to, 100 ms to 12 h. Default 30 s. */
  readonly visibility?: Duration;
  /** How long finished jobs stay in the history, 0 (keep none) to 10 years. Default 1 day. */
  readonly retention?: Duration;
  /** Largest payload in bytes of JSON, 1 to 64 MiB. Default 1 MiB. */
  readonly payloadBytesMax?: number;
  /**
   * Attempts that may end with the death of their worker, 1 to 1000. Default 3. A job dies of it only
   * when it ran alone in its worker at the last one.
   */
  readonly maxCrashes?: number;
  /**
   * Jobs of one group that may run at once, 1 to 10,000. Default 1: strictly in order. Groups are
   * formed by the option `group` of jobs.
   */
  readonly groupConcurrency?: number;
  /**
   * How many jobs of one group get their turn in a time: `max` 1 to 1,000,000 in each `per`, evenly, but
   * up to `burst` (default 1) at once after a quiet time. Attempts after the first do not count. Default
   * null: as fast as workers can.
   */
  readonly groupRate?: RatePolicy | null;
  /** Jobs (their weights) that run at once in the whole fleet, 1 to 1,000,000. Default null. */
  readonly concurrencyMax?: number | null;
  /** Default null: as fast as workers can. */
  readonly rate?: RatePolicy | null;
  /** Default null: failures never stop the queue. */
  readonly breaker?: BreakerPolicy | null;
  /** Wait after which a job rises to the next higher priority in use, 1 s to 10 years. Default null. */
  readonly ageing?: Duration | null;
  /**
   * Most jobs that wait, ready or scheduled, 1 to 2147483647; then an enqueue is refused with
   * HOWDAH_QUEUE_FULL. Default null: without bound.
   */
  readonly maxDepth?: number | null;
  /** Most bytes of JSON in the payloads that wait, 1 to 1 PiB. Default null: without bound. */
  readonly maxBytes?: number | null;
  /** Queue that receives dead jobs, created with this one. Default `dead-letters`. */
  readonly deadLetterQueue?: string;
}

/** Policy as the SQL functions take it: only the keys that are given. */
export type SqlPolicy = Readonly<Record<string, string | number | null>>;

type Writer = (value: unknown, policy: Record<string, string | number | null>) => void;

const WRITERS: Readonly<Record<keyof QueuePolicy, Writer>> = {
  attempts: integer('attempts', 'max_attempts', 1, 1000),
  backoff: writeBackoff,
  timeout: duration('timeout', 'timeout_ms', 1, INTEGER_MAX, 'nullable'),
  ttl: duration('ttl', 'ttl_ms', 1, WAIT_MS_MAX, 'nullable'),
  delay: duration('delay', 'delay_ms', 0, WAIT_MS_MAX),
  visibility: duration('visibility', 'visibility_ms', 100, VISIBILITY_MS_MAX),
  retention: duration('retention', 'retention_ms', 0, WAIT_MS_MAX),
  payloadBytesMax: integer('payloadBytesMax', 'payload_bytes_max', 1, PAYLOAD_BYTES_MAX),
  maxCrashes: integer('maxCrashes', 'max_crashes', 1, 1000),
  groupConcurrency: integer('groupConcurrency', 'group_concurrency', 1, 10_000),
  groupRate: (value, policy) => {
    if (value === null) policy.group_rate_max = null;
    else writePart('groupRate', value, 'max', GROUP_RATE_WRITERS, policy);
  },
  concurrencyMax: (value, policy) => {
    if (value === null) policy.concurrency_max = null;
    else integer('concurrencyMax', 'concurrency_max', 1, LIMIT_MAX)(value, policy);
  },
  rate: (value, policy) => {
    if (value === null) policy.rate_max = null;
    else writePart('rate', value, 'max', RATE_WRITERS, policy);
  },
  breaker: (value, policy) => {
    if (value === null) policy.breaker_failures = null;
    else writePart('breaker', value, 'failures', BREAKER_WRITERS, policy);
  },
  ageing: duration('ageing', 'ageing_ms', 1_000, WAIT_MS_MAX, 'nullable'),
  maxDepth: integer('maxDepth', 'max_depth', 1, INTEGER_MAX, 'nullable'),
  maxBytes: integer('maxBytes', 'max_bytes', 1, 2 ** 50, 'nullable'),
  deadLetterQueue: (value, policy) => {
    assertQueueName(value);
    policy.dead_letter_queue = value;
  },
};

const BACKOFF_WRITERS: Readonly<Record<keyof BackoffPolicy, Writer>> = {
  type: (value, policy) => {
    if (value !== 'exponential' && value !== 'fixed') {
      throw invalidOption('backoff.type', value, "Use 'exponential' or 'fixed'.");
    }
    policy.backoff = value;
  },
  delay: duration('backoff.delay', 'backoff_ms', 0, INTEGER_MAX),
  max: duration('backoff.max', 'backoff_max_ms', 0, INTEGER_MAX),
  jitter: (value, policy) => {
    if (typeof value !== 'number' || !(value >= 0 && value <= 1)) {
      throw invalidOption('backoff.jitter', value, 'Use a number from 0 to 1.');
    }
    policy.backoff_jitter = value;
  },
};

const RATE_WRITERS = rateWriters('rate', 'rate');
const GROUP_RATE_WRITERS = rateWriters('groupRate', 'group_rate');

const BREAKER_WRITERS: Readonly<Record<keyof BreakerPolicy, Writer>> = {
  failures: integer('breaker.failures', 'breaker_failures', 1, 100),
  window: duration('breaker.window', 'breaker_window_ms', 1, DAY_MS),
  cooldown: duration('breaker.cooldown', 'breaker_cooldown_ms', 1, DAY_MS),
};

/**
 * Checks every key of a policy and translates it for the SQL functions.
 * @throws HowdahError HOWDAH_OPTION_INVALID, HOWDAH_QUEUE_NAME_INVALID
 */
export function encodePolicy(policy: QueuePolicy): SqlPolicy {
  const encoded: Record<string, string | number | null> = {};
  givenObject('policy', policy);
  writeAll(policy, WRITERS, '', encoded);
  const { backoff_ms: delay, backoff_max_ms: max } = encoded;
  if (typeof delay === 'number' && typeof max === 'number' && max < delay) {
    throw invalidOption('backoff.max', max, `Use at least backoff.delay, ${delay} ms.`);
  }
  return encoded;
}

function writeAll(
  given: object,
  writers: Readonly<Record<string, Writer>>,
  prefix: string,
  policy: Record<string, string | number | null>,
): void {
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const write = Object.hasOwn(writers, key) ? writers[key] : undefined;
    if (!write) {
      throw unknownOption(`${prefix}${key}`, Object.keys(writers));
    }
    write(value, policy);
  }
}

function rateWriters(option: string, key: string): Readonly<Record<keyof RatePolicy, Writer>> {
  return {
    max: integer(`${option}.max`, `${key}_max`, 1, LIMIT_MAX),
    per: duration(`${option}.per`, `${key}_ms`, 1, DAY_MS),
    burst: integer(`${option}.burst`, `${key}_burst`, 1, LIMIT_MAX),
  };
}

function writeBackoff(value: unknown, policy: Record<string, string | number | null>): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidOption('backoff', value, "Use an object such as { type: 'fixed', delay: '10s' }.");
  }
  writeAll(value, BACKOFF_WRITERS, 'backoff.', policy);
}

/** An object of which one key is required. */
function writePart(
  option: string,
  value: unknown,
  required: string,
  writers: Readonly<Record<string, Writer>>,
  policy: Record<string, string | number | null>,
): void {
  if (typeof value !== 'object' || value === null || !(required in value)) {
    throw invalidOption(option, value, `Use an object with ${required}, or null.`);
  }
  writeAll(value, writers, `${option}.`, policy);
}

function integer(
  option: string,
  key: string,
  min: number,
  max: number,
  nullable?: 'nullable',
): Writer {
  return (value, policy) => {
    if (value === null && nullable) {
      policy[key] = null;
      return;
    }
    policy[key] = wholeNumber(option, value, min, max);
  };
}

function duration(
  option: string,
  key: string,
  min: number,
  max: number,
  nullable?: 'nullable',
): Writer {
  return (value, policy) => {
    policy[key] =
      value === null && nullable ? null : parseDuration(value as Duration, option, { min, max });
  };
}
