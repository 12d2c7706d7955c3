import type { DrainProgress } from '../../client/operate/queue-control.js';
import type { Duration } from '../../core/time/duration.js';
import { command } from '../command.js';
import { durationOf, parseTime, withClient } from '../context.js';
import { ProgressLine } from '../progress.js';
import { type NameArguments, positionalName, showQueue, showQueues } from './queue-rows.js';

interface PauseArguments extends NameArguments {
  readonly reason: string | undefined;
  readonly until: string | undefined;
  readonly for: string | undefined;
}

export const pause = command<PauseArguments>({
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
    const names = await withClient(options, (client) => client.queues.pause(options.name, given));
    await showQueues(options, names);
  },
});

export const resume = command<NameArguments>({
  command: 'resume <name>',
  describe: 'Claim its jobs again',
  builder: (yargs) => positionalName(yargs).example('$0 queues resume emails', ''),
  handler: async (options) => {
    const names = await withClient(options, (client) => client.queues.resume(options.name));
    await showQueues(options, names);
  },
});

export const drain = command<NameArguments & { timeout: string | undefined }>({
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
        client.queues.drain(options.name, {
          ...(timeout !== undefined && { timeout }),
          onProgress,
        }),
      );
    } finally {
      line.end();
    }
    await showQueue(options);
  },
});

export const close = command<NameArguments & { reason: string | undefined }>({
  command: 'close <name>',
  describe: 'Take no new jobs; those that are there are worked off',
  builder: (yargs) =>
    positionalName(yargs)
      .option('reason', { type: 'string', describe: 'Why; who enqueues is told' })
      .example('$0 queues close emails --reason "moved to mails"', ''),
  handler: async (options) => {
    const names = await withClient(options, (client) =>
      client.queues.close(options.name, options.reason),
    );
    await showQueues(options, names);
  },
});

export const circuit = command<NameArguments & { state: string; reason: string | undefined }>({
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
      state === 'open' ? client.queues.openCircuit(name, reason) : client.queues.closeCircuit(name),
    );
    await showQueue(options);
  },
});

export const limit = command<NameArguments & { for: string; reason: string | undefined }>({
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
    await withClient(options, (client) => client.queues.limit(name, wait, reason));
    await showQueue(options);
  },
});

export const open = command<NameArguments>({
  command: 'open <name>',
  describe: 'Take new jobs again',
  builder: (yargs) => positionalName(yargs).example('$0 queues open emails', ''),
  handler: async (options) => {
    const names = await withClient(options, (client) => client.queues.open(options.name));
    await showQueues(options, names);
  },
});
