import type { Argv } from 'yargs';
import type { QueueStats } from '../../client/operate/queues.js';
import { HowdahError } from '../../core/errors.js';
import type { QueuePoliciesView } from '../../db/tables.js';
import { type GlobalOptions, outputOf, withDatabase } from '../context.js';
import type { Column } from '../output.js';

type Standing = Pick<
  QueueStats,
  | 'queue'
  | 'ready'
  | 'scheduled'
  | 'blocked'
  | 'running'
  | 'dead'
  | 'paused'
  | 'pausedUntil'
  | 'limitedUntil'
  | 'circuit'
  | 'closed'
  | 'closedReason'
>;

/** How a queue stands, and its policy. Times in milliseconds; null: no limit. */
interface QueueRow extends Standing {
  readonly attempts: number;
  readonly backoff: string;
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  readonly backoffJitter: number;
  readonly timeoutMs: number | null;
  readonly ttlMs: number | null;
  readonly delayMs: number;
  readonly visibilityMs: number;
  readonly retentionMs: number;
  readonly payloadBytesMax: number;
  readonly maxCrashes: number;
  readonly groupConcurrency: number;
  readonly groupRateMax: number | null;
  readonly groupRateMs: number;
  readonly groupRateBurst: number;
  readonly concurrencyMax: number | null;
  readonly rateMax: number | null;
  readonly rateMs: number;
  readonly rateBurst: number | null;
  readonly breakerFailures: number | null;
  readonly breakerWindowMs: number;
  readonly breakerCooldownMs: number;
  readonly ageingMs: number | null;
  readonly deadLetterQueue: string;
  readonly maxDepth: number | null;
  readonly maxBytes: number | null;
}

const COLUMNS: readonly Column<QueueRow>[] = [
  { key: 'queue' },
  { key: 'ready' },
  { key: 'scheduled' },
  { key: 'blocked', isHidden: true },
  { key: 'running' },
  { key: 'dead' },
  { key: 'paused' },
  { key: 'pausedUntil', isHidden: true },
  { key: 'limitedUntil', isHidden: true },
  { key: 'circuit' },
  { key: 'closed' },
  { key: 'attempts' },
  { key: 'backoff', isHidden: true },
  { key: 'backoffMs', title: 'BACKOFF', as: 'ms' },
  { key: 'backoffMaxMs', isHidden: true },
  { key: 'backoffJitter', isHidden: true },
  { key: 'timeoutMs', title: 'TIMEOUT', as: 'ms' },
  { key: 'ttlMs', title: 'TTL', as: 'ms' },
  { key: 'delayMs', isHidden: true },
  { key: 'visibilityMs', isHidden: true },
  { key: 'retentionMs', title: 'RETENTION', as: 'ms' },
  { key: 'payloadBytesMax', isHidden: true },
  { key: 'maxCrashes', isHidden: true },
  { key: 'groupConcurrency', isHidden: true },
  { key: 'groupRateMax', isHidden: true },
  { key: 'groupRateMs', isHidden: true },
  { key: 'groupRateBurst', isHidden: true },
  { key: 'concurrencyMax', isHidden: true },
  { key: 'rateMax', isHidden: true },
  { key: 'rateMs', isHidden: true },
  { key: 'rateBurst', isHidden: true },
  { key: 'breakerFailures', isHidden: true },
  { key: 'breakerWindowMs', isHidden: true },
  { key: 'breakerCooldownMs', isHidden: true },
  { key: 'ageingMs', isHidden: true },
  { key: 'deadLetterQueue', title: 'DEAD LETTERS' },
  { key: 'maxDepth', title: 'MAX DEPTH' },
  { key: 'maxBytes', title: 'MAX BYTES' },
  { key: 'closedReason', isHidden: true },
];

/** What all commands on one queue are given. */
export interface NameArguments extends GlobalOptions {
  readonly name: string;
}

export function positionalName(yargs: Argv<GlobalOptions>) {
  return yargs.positional('name', {
    type: 'string',
    demandOption: true,
    describe: 'Name of the queue',
  });
}

/** A queue as it is now; exit code 3 where there is none. */
export async function showQueue(options: NameArguments): Promise<void> {
  await showQueues(options, [options.name]);
}

/** Those of these names that there are. @throws HowdahError HOWDAH_QUEUE_UNKNOWN where there is none */
export async function showQueues(options: NameArguments, names: readonly string[]): Promise<void> {
  const rows = await readRows(options, names);
  if (rows[0] === undefined) {
    throw new HowdahError('HOWDAH_QUEUE_UNKNOWN', `Queue ${options.name} does not exist.`, {
      details: { queue: options.name },
      remedy: 'See `howdah queues list`.',
    });
  }
  if (rows.length === 1) outputOf(options).record(rows[0]);
  else outputOf(options).list(rows, COLUMNS);
}

/** All that there are. */
export async function listQueues(options: GlobalOptions): Promise<void> {
  outputOf(options).list(await readRows(options), COLUMNS);
}

async function readRows(options: GlobalOptions, names?: readonly string[]): Promise<QueueRow[]> {
  const { overviewCalls } = await import('../../db/calls/overview.js');
  const { Queues } = await import('../../client/operate/queues.js');
  return withDatabase(options, async (database) => {
    const stats = await new Queues(database).stats(names?.length === 1 ? names[0] : undefined);
    const policies = await overviewCalls(database).policies();
    return policies
      .filter(({ queue }) => names === undefined || names.includes(queue))
      .map((policy) => rowOf(policy, stats));
  });
}

function rowOf(policy: QueuePoliciesView, stats: readonly QueueStats[]): QueueRow {
  const counts = stats.find(({ queue }) => queue === policy.queue);
  const { ready = 0, scheduled = 0, running = 0, dead = 0, paused = false } = counts ?? {};
  const { blocked = 0, closed = false, closedReason = null } = counts ?? {};
  return {
    queue: policy.queue,
    ready,
    scheduled,
    blocked,
    running,
    dead,
    paused,
    pausedUntil: counts?.pausedUntil ?? null,
    limitedUntil: counts?.limitedUntil ?? null,
    circuit: counts?.circuit ?? null,
    closed,
    attempts: policy.max_attempts,
    backoff: policy.backoff,
    backoffMs: policy.backoff_ms,
    backoffMaxMs: policy.backoff_max_ms,
    backoffJitter: Number(policy.backoff_jitter),
    timeoutMs: policy.timeout_ms,
    ttlMs: policy.ttl_ms === null ? null : Number(policy.ttl_ms),
    delayMs: Number(policy.delay_ms),
    visibilityMs: policy.visibility_ms,
    retentionMs: Number(policy.retention_ms),
    payloadBytesMax: policy.payload_bytes_max,
    maxCrashes: policy.max_crashes,
    groupConcurrency: policy.group_concurrency,
    groupRateMax: policy.group_rate_max,
    groupRateMs: policy.group_rate_ms,
    groupRateBurst: policy.group_rate_burst,
    concurrencyMax: policy.concurrency_max,
    rateMax: policy.rate_max,
    rateMs: policy.rate_ms,
    rateBurst: policy.rate_burst,
    breakerFailures: policy.breaker_failures,
    breakerWindowMs: policy.breaker_window_ms,
    breakerCooldownMs: policy.breaker_cooldown_ms,
    ageingMs: policy.ageing_ms === null ? null : Number(policy.ageing_ms),
    deadLetterQueue: policy.dead_letter_queue,
    maxDepth: policy.max_depth,
    maxBytes: policy.max_bytes === null ? null : Number(policy.max_bytes),
    closedReason,
  };
}
