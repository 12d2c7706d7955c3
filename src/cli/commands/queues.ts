import type { Argv } from 'yargs';
import type { BlockedGroup } from '../../client/groups.js';
import type { DrainProgress } from '../../client/queue-control.js';
import type { QueueStats } from '../../client/queues.js';
import type { Duration } from '../../core/duration.js';
import type { QueuePolicy } from '../../core/queue-policy.js';
import type { QueuePoliciesView } from '../../db/tables.js';
import { command } from '../command.js';
import {
  type GlobalOptions,
  outputOf,
  parseTime,
  usageError,
  withClient,
  withDatabase,
} from '../context.js';
import { EXIT } from '../exit-codes.js';
import type { Column } from '../output.js';
import { ProgressLine } from '../progress.js';

/** Times in milliseconds; null: no limit. */
interface QueueRow {
  readonly queue: string;
  readonly ready: number;
  readonly scheduled: number;
  readonly blocked: number;
  readonly running: number;
  readonly dead: number;
  readonly paused: boolean;
  readonly pausedUntil: Date | null;
  readonly limitedUntil: Date | null;
  readonly circuit: string | null;
  readonly closed: boolean;
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
  readonly closedReason: string | null;
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

interface NameArguments extends GlobalOptions {
  readonly name: string;
}

interface SetArguments extends NameArguments {
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

const list = command({
  command: 'list',
  describe: 'List queues with their policies',
  builder: (yargs) => yargs.example('$0 queues list', '').example('$0 queues list --json', ''),
  handler: async (options) => {
    const { overviewCalls } = await import('../../db/calls/overview.js');
    const { Queues } = await import('../../client/queues.js');
    const rows = await withDatabase(options, async (database) => {
      const stats = await new Queues(database).stats(undefined);
      const policies = await overviewCalls(database).policies();
      return policies.map((policy) => rowOf(policy, stats));
    });
    outputOf(options).list(rows, COLUMNS);
  },
});

const set = command<SetArguments>({
  command: 'set <name>',
  describe: 'Create a queue, or change the given part of its policy',
  builder: (yargs) =>
    policyOptions(positionalName(yargs))
      .example('$0 queues set emails', 'created with the default policy')
      .example('$0 queues set emails --attempts 5 --timeout 30s', 'only these two change'),
  handler: async (options) => {
    await withClient(options, (client) => client.createQueue(options.name, policyOf(options)));
    await showQueue(options);
  },
});

interface PauseArguments extends NameArguments {
  readonly reason: string | undefined;
  readonly until: string | undefined;
  readonly for: string | undefined;
}

const pause = command<PauseArguments>({
  command: 'pause <name>',
  describe: 'Claim no more of its jobs; what runs goes on',
  builder: (yargs) =>
    positionalName(yargs)
      .option('reason', { type: 'string', describe: 'Why; `status` shows it' })
      .option('until', { type: 'string', describe: 'Resume by itself at this time' })
      .option('for', { type: 'string', describe: 'Resume by itself after so long' })
      .conflicts('until', 'for')
      .example('$0 queues pause emails --for 10m', 'resumes by itself')
      .example('$0 queues pause emails --reason "the provider is down"', '')
      .example(
        "$0 queues pause 'mail.*'",
        'all queues whose names begin so; resume, close, open too',
      ),
  handler: async (options) => {
    const { reason, until, for: wait } = options;
    const given = {
      ...(reason !== undefined && { reason }),
      ...(until !== undefined && { until: parseTime(until, 'until') }),
      ...(wait !== undefined && { for: durationOf(wait) as Duration }),
    };
    const names = await withClient(options, (client) => client.pauseQueue(options.name, given));
    await showQueues(options, names);
  },
});

const resume = command<NameArguments>({
  command: 'resume <name>',
  describe: 'Claim its jobs again',
  builder: (yargs) => positionalName(yargs).example('$0 queues resume emails', ''),
  handler: async (options) => {
    const names = await withClient(options, (client) => client.resumeQueue(options.name));
    await showQueues(options, names);
  },
});

const drain = command<NameArguments & { timeout: string | undefined }>({
  command: 'drain <name>',
  describe: 'Wait until nothing is ready or running; pauses and closes nothing',
  builder: (yargs) =>
    positionalName(yargs)
      .option('timeout', { type: 'string', describe: 'Give up after so long (never)' })
      .example('$0 queues drain emails --timeout 5m', 'exit code 1 when jobs are left'),
  handler: async (options) => {
    const timeout = durationOf(options.timeout);
    let text = options.name;
    const line = new ProgressLine(() => ({ text, share: undefined }));
    const onProgress = ({ ready, running }: DrainProgress): void => {
      text = `${options.name}: ${ready} ready, ${running} running`;
    };
    try {
      await withClient(options, (client) =>
        client.drainQueue(options.name, { ...(timeout !== undefined && { timeout }), onProgress }),
      );
    } finally {
      line.end();
    }
    await showQueue(options);
  },
});

const close = command<NameArguments & { reason: string | undefined }>({
  command: 'close <name>',
  describe: 'Take no new jobs; those that are there are worked off',
  builder: (yargs) =>
    positionalName(yargs)
      .option('reason', { type: 'string', describe: 'Why; who enqueues is told' })
      .example('$0 queues close emails --reason "moved to mails"', ''),
  handler: async (options) => {
    const names = await withClient(options, (client) =>
      client.closeQueue(options.name, options.reason),
    );
    await showQueues(options, names);
  },
});

const circuit = command<NameArguments & { state: string; reason: string | undefined }>({
  command: 'circuit <name> <state>',
  describe: 'Open or close the circuit of a queue with a breaker by hand',
  builder: (yargs) =>
    positionalName(yargs)
      .positional('state', {
        type: 'string',
        choices: ['open', 'closed'],
        demandOption: true,
        describe: 'open: until it is closed by hand',
      })
      .option('reason', { type: 'string', describe: 'Why it is opened' })
      .example('$0 queues circuit emails closed', ''),
  handler: async (options) => {
    const { name, state, reason } = options;
    await withClient(options, (client) =>
      state === 'open' ? client.openCircuit(name, reason) : client.closeCircuit(name),
    );
    await showQueue(options);
  },
});

const limit = command<NameArguments & { for: string; reason: string | undefined }>({
  command: 'limit <name>',
  describe: 'Claim nothing for a while, as rateLimited() from a handler does',
  builder: (yargs) =>
    positionalName(yargs)
      .option('for', { type: 'string', demandOption: true, describe: 'How long' })
      .option('reason', { type: 'string', describe: 'Why; `status` shows it' })
      .example('$0 queues limit emails --for 30s', ''),
  handler: async (options) => {
    const { name, reason } = options;
    const wait = durationOf(options.for) as Duration;
    await withClient(options, (client) => client.limitQueue(name, wait, reason));
    await showQueue(options);
  },
});

const open = command<NameArguments>({
  command: 'open <name>',
  describe: 'Take new jobs again',
  builder: (yargs) => positionalName(yargs).example('$0 queues open emails', ''),
  handler: async (options) => {
    const names = await withClient(options, (client) => client.openQueue(options.name));
    await showQueues(options, names);
  },
});

const remove = command<NameArguments & { force: boolean }>({
  command: 'delete <name>',
  describe: 'Delete a queue without jobs',
  builder: (yargs) =>
    positionalName(yargs)
      .option('force', {
        type: 'boolean',
        default: false,
        describe: 'Also its waiting jobs; the history keeps them as discarded',
      })
      .example('$0 queues delete emails', '')
      .example('$0 queues delete emails --force', 'even when jobs wait in it'),
  handler: async (options) => {
    const { name, force } = options;
    await withClient(options, (client) => client.deleteQueue(name, { force }));
    outputOf(options).record({ queue: name, deleted: true });
  },
});

const GROUP_COLUMNS: readonly Column<BlockedGroup>[] = [
  { key: 'queue', isHidden: true },
  { key: 'group' },
  { key: 'waiting' },
  { key: 'admitted' },
  { key: 'headId', title: 'HEAD' },
  { key: 'headState', title: 'STATE' },
  { key: 'reason' },
  { key: 'since' },
];

const groups = command<NameArguments & { limit: number }>({
  command: 'groups <name>',
  describe: 'List its groups in which jobs wait, and for what',
  builder: (yargs) =>
    positionalName(yargs)
      .option('limit', { type: 'number', default: 100, describe: 'How many, 1 to 1000' })
      .example('$0 queues groups emails', 'the longest blocked first'),
  handler: async (options) => {
    const { name, limit } = options;
    const rows = await withClient(options, (client) => client.blockedGroups(name, { limit }));
    outputOf(options).list(rows, GROUP_COLUMNS);
  },
});

export const queuesCommand = command({
  command: 'queues',
  describe:
    'List, create, change, pause, resume, close, open, drain and delete queues, list their groups',
  builder: (yargs) =>
    yargs
      .command(list)
      .command(set)
      .command(pause)
      .command(resume)
      .command(drain)
      .command(close)
      .command(open)
      .command(circuit)
      .command(limit)
      .command(remove)
      .command(groups)
      .demandCommand(
        1,
        'Name an action: list, set, pause, resume, close, open, drain, circuit, limit, delete or groups.',
      ),
  handler: () => undefined,
});

function positionalName(yargs: Argv<GlobalOptions>) {
  return yargs.positional('name', {
    type: 'string',
    demandOption: true,
    describe: 'Name of the queue',
  });
}

function policyOptions<T>(yargs: Argv<T>) {
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

function policyOf(options: SetArguments): QueuePolicy {
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
function limitsOf(options: SetArguments): Record<string, unknown> {
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

/** `500` means milliseconds, as a number does in code. */
export function durationOf(text: string | undefined): Duration | undefined {
  if (text === undefined) return undefined;
  return /^\d+$/.test(text) ? Number(text) : (text as Duration);
}

function given(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

async function showQueue(options: NameArguments): Promise<void> {
  await showQueues(options, [options.name]);
}

/** Those of these names that there are; exit code 3 where there is none. */
async function showQueues(options: NameArguments, names: readonly string[]): Promise<void> {
  const { overviewCalls } = await import('../../db/calls/overview.js');
  const { Queues } = await import('../../client/queues.js');
  await withDatabase(options, async (database) => {
    const [only] = names.length === 1 ? names : [];
    const stats = await new Queues(database).stats(only);
    const policies = await overviewCalls(database).policies();
    const found = policies.filter(({ queue }) => names.includes(queue));
    const rows = found.map((policy) => rowOf(policy, stats));
    if (rows[0] === undefined) process.exitCode = EXIT.notFound;
    else if (rows.length === 1) outputOf(options).record(rows[0]);
    else outputOf(options).list(rows, COLUMNS);
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
