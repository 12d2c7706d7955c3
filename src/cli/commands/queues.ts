import type { BlockedGroup } from '../../client/operate/groups.js';
import { command } from '../command.js';
import { outputOf, withClient } from '../context.js';
import type { Column } from '../output.js';
import { circuit, close, drain, limit, open, pause, resume } from './queue-changes.js';
import { type PolicyArguments, policyOf, policyOptions } from './queue-policy-arguments.js';
import { listQueues, type NameArguments, positionalName, showQueue } from './queue-rows.js';

const list = command({
  command: 'list',
  describe: 'List queues with their policies',
  builder: (yargs) => yargs.example('$0 queues list', '').example('$0 queues list --json', ''),
  handler: listQueues,
});

const show = command<NameArguments>({
  command: 'show <name>',
  describe: 'Show how a queue stands, and its policy',
  builder: (yargs) => positionalName(yargs).example('$0 queues show emails', ''),
  handler: showQueue,
});

const set = command<NameArguments & PolicyArguments>({
  command: 'set <name>',
  describe: 'Create a queue, or change the given part of its policy',
  builder: (yargs) =>
    policyOptions(positionalName(yargs))
      .example('$0 queues set emails', 'created with the default policy')
      .example('$0 queues set emails --attempts 5 --timeout 30s', 'only these two change'),
  handler: async (options) => {
    await withClient(options, (client) => client.queues.create(options.name, policyOf(options)));
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
    await withClient(options, (client) => client.queues.delete(name, { force }));
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
    const rows = await withClient(options, (client) => client.groups.blocked(name, { limit }));
    outputOf(options).list(rows, GROUP_COLUMNS);
  },
});

export const queuesCommand = command({
  command: 'queues',
  describe:
    'List, show, create, change, pause, resume, close, open, drain and delete queues, list their groups',
  builder: (yargs) =>
    yargs
      .command(list)
      .command(show)
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
        'Name an action: list, show, set, pause, resume, close, open, drain, circuit, limit, delete or groups.',
      ),
  handler: () => undefined,
});
