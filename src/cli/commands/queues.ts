import type { Argv } from 'yargs';
import type { QueueStats } from '../../client/queues.js';
import type { Duration } from '../../core/duration.js';
import type { QueuePolicy } from '../../core/queue-policy.js';
import type { QueuePoliciesView } from '../../db/tables.js';
import { command } from '../command.js';
import { type GlobalOptions, outputOf, withClient, withDatabase } from '../context.js';
import { EXIT } from '../exit-codes.js';
import type { Column } from '../output.js';

/** Times in milliseconds; null: no limit. */
interface QueueRow {
  readonly queue: string;
  readonly ready: number;
  readonly scheduled: number;
  readonly running: number;
  readonly dead: number;
  readonly paused: boolean;
  readonly closed: boolean;
  readonly attempts: number;
  readonly backoff: string;
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  readonly backoffJitter: number;
  readonly timeoutMs: number | null;
  readonly ttlMs: number | null;
  readonly delayMs: number;
  readonly retentionMs: number;
  readonly payloadBytesMax: number;
  readonly maxCrashes: number;
  readonly deadLetterQueue: string;
  readonly maxDepth: number | null;
  readonly maxBytes: number | null;
  readonly closedReason: string | null;
}

const COLUMNS: readonly Column<QueueRow>[] = [
  { key: 'queue' },
  { key: 'ready' },
  { key: 'scheduled' },
  { key: 'running' },
  { key: 'dead' },
  { key: 'paused' },
  { key: 'closed' },
  { key: 'attempts' },
  { key: 'backoff', isHidden: true },
  { key: 'backoffMs', title: 'BACKOFF', as: 'ms' },
  { key: 'backoffMaxMs', isHidden: true },
  { key: 'backoffJitter', isHidden: true },
  { key: 'timeoutMs', title: 'TIMEOUT', as: 'ms' },
  { key: 'ttlMs', title: 'TTL', as: 'ms' },
  { key: 'delayMs', isHidden: true },
  { key: 'retentionMs', title: 'RETENTION', as: 'ms' },
  { key: 'payloadBytesMax', isHidden: true },
  { key: 'maxCrashes', isHidden: true },
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
  readonly retention: string | undefined;
  readonly payloadBytesMax: number | undefined;
  readonly maxCrashes: number | undefined;
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

const pause = command<NameArguments & { reason: string | undefined }>({
  command: 'pause <name>',
  describe: 'Claim no more of its jobs; what runs goes on',
  builder: (yargs) =>
    positionalName(yargs)
      .option('reason', { type: 'string', describe: 'Why; `status` shows it' })
      .example('$0 queues pause emails --reason "the provider is down"', ''),
  handler: async (options) => {
    await withClient(options, (client) => client.pauseQueue(options.name, options.reason));
    await showQueue(options);
  },
});

const resume = command<NameArguments>({
  command: 'resume <name>',
  describe: 'Claim its jobs again',
  builder: (yargs) => positionalName(yargs).example('$0 queues resume emails', ''),
  handler: async (options) => {
    await withClient(options, (client) => client.resumeQueue(options.name));
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
    await withClient(options, (client) => client.closeQueue(options.name, options.reason));
    await showQueue(options);
  },
});

const open = command<NameArguments>({
  command: 'open <name>',
  describe: 'Take new jobs again',
  builder: (yargs) => positionalName(yargs).example('$0 queues open emails', ''),
  handler: async (options) => {
    await withClient(options, (client) => client.openQueue(options.name));
    await showQueue(options);
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

export const queuesCommand = command({
  command: 'queues',
  describe: 'List, create, change, pause, resume, close, open and delete queues',
  builder: (yargs) =>
    yargs
      .command(list)
      .command(set)
      .command(pause)
      .command(resume)
      .command(close)
      .command(open)
      .command(remove)
      .demandCommand(1, 'Name an action: list, set, pause, resume, close, open or delete.'),
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
    .option('retention', time('How long finished jobs are kept (1d)'))
    .option('payload-bytes-max', { type: 'number', describe: 'Largest payload (1048576)' })
    .option('max-crashes', { type: 'number', describe: 'Deaths of workers a job may cause' })
    .option('dead-letter-queue', time('Where its dead jobs go (dead-letters)'))
    .option('max-depth', time('Most jobs that wait, or none (none)'))
    .option('max-bytes', time('Most bytes of payloads that wait, or none (none)'));
}

function policyOf(options: SetArguments): QueuePolicy {
  const { attempts, delay, retention, payloadBytesMax, maxCrashes, deadLetterQueue } = options;
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
    retention: durationOf(retention),
    payloadBytesMax,
    maxCrashes,
    deadLetterQueue,
    maxDepth: boundOf(options.maxDepth),
    maxBytes: boundOf(options.maxBytes),
    ...(Object.keys(backoff).length > 0 ? { backoff } : {}),
  }) as QueuePolicy;
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
  const { overviewCalls } = await import('../../db/calls/overview.js');
  const { Queues } = await import('../../client/queues.js');
  await withDatabase(options, async (database) => {
    const stats = await new Queues(database).stats(options.name);
    const policies = await overviewCalls(database).policies();
    const policy = policies.find(({ queue }) => queue === options.name);
    if (policy) outputOf(options).record(rowOf(policy, stats));
    else process.exitCode = EXIT.notFound;
  });
}

function rowOf(policy: QueuePoliciesView, stats: readonly QueueStats[]): QueueRow {
  const counts = stats.find(({ queue }) => queue === policy.queue);
  const { ready = 0, scheduled = 0, running = 0, dead = 0, paused = false } = counts ?? {};
  const { closed = false, closedReason = null } = counts ?? {};
  return {
    queue: policy.queue,
    ready,
    scheduled,
    running,
    dead,
    paused,
    closed,
    attempts: policy.max_attempts,
    backoff: policy.backoff,
    backoffMs: policy.backoff_ms,
    backoffMaxMs: policy.backoff_max_ms,
    backoffJitter: Number(policy.backoff_jitter),
    timeoutMs: policy.timeout_ms,
    ttlMs: policy.ttl_ms === null ? null : Number(policy.ttl_ms),
    delayMs: Number(policy.delay_ms),
    retentionMs: Number(policy.retention_ms),
    payloadBytesMax: policy.payload_bytes_max,
    maxCrashes: policy.max_crashes,
    deadLetterQueue: policy.dead_letter_queue,
    maxDepth: policy.max_depth,
    maxBytes: policy.max_bytes === null ? null : Number(policy.max_bytes),
    closedReason,
  };
}
