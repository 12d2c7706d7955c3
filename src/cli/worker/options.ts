import type { Argv } from 'yargs';
import { HowdahError } from '../../core/errors.js';
import type { Config } from '../../runtime/config.js';
import type { LogLevel } from '../../telemetry/logger.js';
import type { Binding } from '../../worker/handler/binding.js';
import type { WorkerOptions } from '../../worker/options.js';
import type { LoadedConfig } from '../config-file.js';
import { connectionOf, durationOf, type GlobalOptions, usageError } from '../context.js';
import { makeLogger } from './run-worker.js';

/** Options of a worker on the command line; they go before those of the file. */
export interface WorkerArguments extends GlobalOptions {
  readonly config: string | undefined;
  readonly queue: readonly string[] | undefined;
  readonly concurrency: number | undefined;
  readonly lease: string | undefined;
  readonly heartbeat: string | undefined;
  readonly grace: string | undefined;
  readonly startWithin: string | undefined;
  readonly name: string | undefined;
  readonly maintain: boolean;
  readonly log: string | undefined;
}

export function workerOptions<T>(yargs: Argv<T>) {
  return yargs
    .option('config', {
      type: 'string',
      describe: 'File with handlers, .ts or .js; default howdah.config.ts here',
    })
    .option('queue', { type: 'array', string: true, describe: 'Only these of its queues' })
    .option('concurrency', { type: 'number', describe: 'Handlers at once, for each queue' })
    .option('lease', {
      type: 'string',
      describe: 'When the process dies, its jobs run again after',
    })
    .option('heartbeat', { type: 'string', describe: 'How often the lease is renewed' })
    .option('grace', { type: 'string', describe: 'How long jobs may finish when it stops' })
    .option('start-within', {
      type: 'string',
      describe: 'How long to try while the database is not there or not migrated (0)',
    })
    .option('name', { type: 'string', describe: 'Name of the worker in the views' })
    .option('maintain', {
      type: 'boolean',
      default: true,
      describe: 'May be elected to promote, reap and prune; --no-maintain',
    })
    .option('log', {
      type: 'string',
      choices: ['debug', 'info', 'warn', 'error', 'silent'],
      describe: 'Least level that is logged to standard error (info)',
    });
}

/** What the file says, less what the command line says otherwise. */
export async function resolveWorker(
  options: WorkerArguments,
  { config, file }: LoadedConfig,
): Promise<WorkerOptions> {
  const { connection, ...rest } = config as Config & { url?: string };
  const { url, schema } = connectionOf(options, {
    ...urlOf(connection ?? rest.url),
    ...(rest.schema === undefined ? {} : { schema: rest.schema }),
  });
  const level = (options.log ?? 'info') as LogLevel;
  const isLogChosen = options.log !== undefined || rest.logger === undefined;
  return {
    ...rest,
    ...urlOf(url),
    ...(schema === undefined ? {} : { schema }),
    ...given('lease', durationOf(options.lease)),
    ...given('heartbeat', durationOf(options.heartbeat)),
    ...given('grace', durationOf(options.grace)),
    ...given('startWithin', durationOf(options.startWithin)),
    ...given('name', options.name),
    ...(options.maintain ? {} : { maintain: false }),
    ...(isLogChosen ? { logger: await makeLogger(level, options.json) } : {}),
    queues: chosenQueues(config.queues, options, file),
  };
}

function chosenQueues(
  all: readonly Binding[],
  { queue, concurrency }: WorkerArguments,
  file: string,
): readonly Binding[] {
  for (const binding of all) {
    const isUsable = typeof binding?.handler === 'function' || binding?.file !== undefined;
    if (isUsable && typeof binding.name === 'string') continue;
    throw new HowdahError('HOWDAH_HANDLER_INVALID', `${file} has a queue without a handler.`, {
      remedy: 'Fill queues with what work(queue, handler) returns.',
    });
  }
  const unknown = queue?.filter((name) => !all.some((binding) => binding.name === name)) ?? [];
  if (unknown.length > 0) {
    throw usageError(
      `${file} has no handler for ${unknown.join(', ')}.`,
      `It has: ${all.map(({ name }) => name).join(', ')}.`,
    );
  }
  if (
    concurrency !== undefined &&
    !(Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= 10_000)
  ) {
    throw usageError(`Option concurrency: ${concurrency} is not valid.`, 'Use 1 to 10000.');
  }
  return all
    .filter(({ name }) => queue === undefined || queue.includes(name))
    .map((binding) =>
      // threads and processes were counted where they were declared
      concurrency === undefined || binding.file ? binding : { ...binding, concurrency },
    );
}

function urlOf(url: string | undefined): { url?: string } {
  return url === undefined ? {} : { url };
}

function given<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: V };
}
