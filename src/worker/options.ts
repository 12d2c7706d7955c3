import { hostname } from 'node:os';
import { type CodecOption, checkCodecs, codecsOf } from '../core/codec/codec.js';
import { describeValue } from '../core/describe-value.js';
import { HowdahError } from '../core/errors.js';
import { checkMiddleware } from '../core/layers.js';
import { givenOptions, invalidOption, type KnownKeys, truth } from '../core/option.js';
import {
  type AnySchedule,
  type EncodedSchedule,
  encodeSchedules,
} from '../core/schedule/schedule.js';
import { type Duration, parseDuration } from '../core/time/duration.js';
import { checkSchema, DATABASE_OPTIONS, type DatabaseOptions } from '../db/options.js';
import { jsonLogger, type Logger } from '../telemetry/logger.js';
import type { AttemptMiddleware } from './handler/attempt-middleware.js';
import type { Binding } from './handler/binding.js';

/**
 * What a worker can be told. Of the four times of a job, two belong to its queue: how long it may
 * wait (`ttl`) and how long one attempt may run (`timeout`). The other two belong to the worker:
 * `lease` and `heartbeat`.
 */
export interface WorkerOptions extends DatabaseOptions {
  /** Which queues to work, and how; see {@link work}. */
  readonly queues: readonly Binding[];
  /**
   * How long the worker's ownership of its jobs outlives its last heartbeat, 1 s to 1 h, default
   * 30 s. When the process dies, its jobs run elsewhere within this time.
   */
  readonly lease?: Duration;
  /** How often the lease is renewed, 100 ms to half a lease. Default: a third of the lease. */
  readonly heartbeat?: Duration;
  /**
   * How often an idle queue is looked at although no notification came, 50 ms to 1 h. Default 2 s;
   * never more while notifications are known not to arrive.
   */
  readonly poll?: Duration;
  /** How long running jobs may take to finish when the worker stops, 0 to 24 h. Default 30 s. */
  readonly grace?: Duration;
  /**
   * How long `start` tries again while the database cannot be reached, is not migrated yet, or a queue that is
   * only named does not exist yet: 0 to 24 h. Default 0: what fails at the first try fails.
   */
  readonly startWithin?: Duration;
  /**
   * How long everything else of this worker may wait for a suspect, a job whose worker died with it: once until what
   * runs has ended, and once while it runs alone. 0 to 1 h, default 5 s, doubled with each of its crashes.
   * Jobs of handler files keep nobody waiting.
   */
  readonly suspectWait?: Duration;
  /** Name in the views, 1 to 200 characters. Default: host name and process id. */
  readonly name?: string;
  /** Whether this worker may be elected to promote, reap and prune. Default true. */
  readonly maintain?: boolean;
  /** Around every handler, the first one outermost; outside the middleware of a binding. */
  readonly middleware?: readonly AttemptMiddleware[];
  /** How payloads, headers, results and errors are stored. Default: as they are. */
  readonly codec?: CodecOption;
  /**
   * Cron schedules that this program declares. Those in the database are made these at each start: new
   * ones are created, others changed, renamed or removed. Those made by hand, or by another owner, are
   * left alone. Default: nothing is declared, and nothing removed; an empty list removes all of them.
   */
  readonly schedules?: readonly AnySchedule[];
  /**
   * Whose they are, 1 to 200 characters. Programs that share a schema and declare different schedules
   * need a name each. Default `default`.
   */
  readonly schedulesOwner?: string;
  /** Default: JSON lines to standard error, from `warn` upwards. */
  readonly logger?: Logger;
}

/** Options with every default filled in and every bound checked. */
export interface WorkerSettings {
  readonly bindings: readonly Binding[];
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly pollMs: number;
  readonly graceMs: number;
  readonly startWithinMs: number;
  readonly suspectWaitMs: number;
  readonly name: string;
  readonly isMaintaining: boolean;
  readonly middleware: readonly AttemptMiddleware[];
  readonly codec: CodecOption;
  /** Undefined: none are declared. */
  readonly schedules: readonly EncodedSchedule[] | undefined;
  readonly schedulesOwner: string;
  readonly logger: Logger;
  readonly database: DatabaseOptions;
}

const OPTIONS: KnownKeys<WorkerOptions> = {
  ...DATABASE_OPTIONS,
  queues: true,
  lease: true,
  heartbeat: true,
  poll: true,
  grace: true,
  startWithin: true,
  suspectWait: true,
  name: true,
  maintain: true,
  middleware: true,
  codec: true,
  schedules: true,
  schedulesOwner: true,
  logger: true,
};

/** Most connections of one pool of ours. */
const CONNECTIONS_MAX = 1_000;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

function resolveSchedules(options: WorkerOptions): readonly EncodedSchedule[] | undefined {
  const { schedules, codec, schema } = options;
  if (schedules === undefined) return undefined;
  return encodeSchedules(schedules, Date.now(), codecsOf(codec, checkSchema(schema)));
}

/** @throws HowdahError HOWDAH_OPTION_INVALID, HOWDAH_HANDLER_INVALID naming option and value */
export function resolveWorkerOptions(options: WorkerOptions): WorkerSettings {
  givenOptions('options', options, OPTIONS);
  const bindings = checkBindings(options.queues);
  checkConnections(bindings, options);
  const leaseMs = parseDuration(options.lease ?? '30s', 'lease', { min: 1_000, max: HOUR_MS });
  return {
    bindings,
    leaseMs,
    heartbeatMs: resolveHeartbeat(options.heartbeat, leaseMs),
    pollMs: parseDuration(options.poll ?? '2s', 'poll', { min: 50, max: HOUR_MS }),
    startWithinMs: parseDuration(options.startWithin ?? 0, 'startWithin', { max: DAY_MS }),
    graceMs: parseDuration(options.grace ?? '30s', 'grace', { max: DAY_MS }),
    suspectWaitMs: parseDuration(options.suspectWait ?? '5s', 'suspectWait', { max: HOUR_MS }),
    name: resolveName('name', options.name ?? `${hostname()}:${process.pid}`),
    isMaintaining: options.maintain === undefined || truth('maintain', options.maintain),
    middleware: checkMiddleware(options.middleware),
    codec: checkCodecs(options.codec),
    schedules: resolveSchedules(options),
    schedulesOwner: resolveName('schedulesOwner', options.schedulesOwner ?? 'default'),
    logger: resolveLogger(options.logger),
    database: pickDatabaseOptions(options),
  };
}

function checkBindings(bindings: unknown): readonly Binding[] {
  if (!Array.isArray(bindings) || bindings.length === 0) {
    throw invalidOption('queues', bindings, 'Give an array of work(queue, handler).');
  }
  const names = new Set<string>();
  for (const binding of bindings as readonly Partial<Binding>[]) {
    const isUsable = typeof binding?.handler === 'function' || binding?.file !== undefined;
    if (!isUsable || typeof binding.name !== 'string') {
      throw new HowdahError(
        'HOWDAH_HANDLER_INVALID',
        `Option queues holds ${describeValue(binding)}, not what work(queue, handler) returns.`,
      );
    }
    if (names.has(binding.name)) {
      throw new HowdahError('HOWDAH_HANDLER_INVALID', `Queue ${binding.name} has two handlers.`, {
        details: { queue: binding.name },
        remedy: 'Bind each queue once.',
      });
    }
    names.add(binding.name);
  }
  return bindings;
}

/** Connections that handlers hold when all run at once, each in its transaction. */
export function transactionsMax(bindings: readonly Binding[]): number {
  return bindings.reduce((sum, each) => sum + (each.isTransactional ? each.concurrency : 0), 0);
}

/** A pool of the application must hold them, and one more for the worker itself. */
function checkConnections(bindings: readonly Binding[], { pool }: WorkerOptions): void {
  const wanted = transactionsMax(bindings);
  const { max } = (pool?.options ?? {}) as { readonly max?: unknown };
  if (pool && typeof max === 'number' && wanted > 0 && max <= wanted) {
    throw new HowdahError(
      'HOWDAH_OPTION_INVALID',
      `Option pool: it has ${max} connections, but transactional handlers hold up to ${wanted}.`,
      {
        details: { option: 'pool', max, wanted },
        remedy: `Give it max: ${wanted + 1} or more, or lower their concurrency.`,
      },
    );
  }
  if (wanted > CONNECTIONS_MAX) {
    throw new HowdahError(
      'HOWDAH_OPTION_INVALID',
      `Option queues: transactional handlers hold up to ${wanted} connections at once.`,
      {
        details: { option: 'queues', wanted },
        remedy: `Lower their concurrency to ${CONNECTIONS_MAX} in all.`,
      },
    );
  }
}

function resolveHeartbeat(heartbeat: Duration | undefined, leaseMs: number): number {
  const max = Math.floor(leaseMs / 2);
  if (heartbeat === undefined) return Math.floor(leaseMs / 3);
  return parseDuration(heartbeat, 'heartbeat', { min: 100, max });
}

function resolveName(option: string, name: unknown): string {
  if (typeof name === 'string' && name.length >= 1 && name.length <= 200 && !name.includes('\0')) {
    return name.toWellFormed();
  }
  throw invalidOption(option, name, 'Use 1 to 200 characters.');
}

function resolveLogger(logger: Logger = jsonLogger({ level: 'warn' })): Logger {
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    if (typeof logger?.[level] !== 'function') {
      throw invalidOption('logger', logger, 'Give an object with debug, info, warn and error.');
    }
  }
  return logger;
}

function pickDatabaseOptions(options: WorkerOptions): DatabaseOptions {
  const keys = Object.keys(DATABASE_OPTIONS) as (keyof DatabaseOptions)[];
  const picked = keys.filter((key) => options[key] !== undefined);
  return Object.fromEntries(picked.map((key) => [key, options[key]]));
}
