import type { WorkerInfo } from '../../client/operate/workers.js';
import { command } from '../command.js';
import { type GlobalOptions, outputOf, withClient } from '../context.js';
import type { Column } from '../output.js';

const COLUMNS: readonly Column<WorkerInfo>[] = [
  { key: 'leaseId', title: 'ID' },
  { key: 'worker' },
  { key: 'alive' },
  { key: 'leads' },
  { key: 'draining' },
  { key: 'queues' },
  { key: 'openedAt', title: 'SINCE' },
  { key: 'expiresAt', isHidden: true },
];

const list = command<GlobalOptions>({
  command: 'list',
  describe: 'List workers, the oldest first',
  builder: (yargs) => yargs.example('$0 workers list', ''),
  handler: async (options) => {
    const workers = await withClient(options, (client) => client.workers.list());
    outputOf(options).list(workers, COLUMNS);
  },
});

const drain = command<GlobalOptions & { worker: string }>({
  command: 'drain <worker>',
  describe: 'Let a worker finish what it holds and end with exit code 0',
  builder: (yargs) =>
    yargs
      .positional('worker', {
        type: 'string',
        demandOption: true,
        describe: 'Name or id; of one name all',
      })
      .example('$0 workers drain web-1:4711', ''),
  handler: async (options) => {
    const rows = await withClient(options, (client) => client.workers.drain(options.worker));
    outputOf(options).list(rows, [{ key: 'leaseId' }, { key: 'worker' }]);
  },
});

const stop = command<GlobalOptions & { name: string; all: boolean }>({
  command: 'stop <name>',
  describe: 'Place a poison pill in a queue: the worker that meets it finishes and ends',
  builder: (yargs) =>
    yargs
      .positional('name', { type: 'string', demandOption: true, describe: 'Name of the queue' })
      .option('all', {
        type: 'boolean',
        default: false,
        describe: 'Not only that one: every worker of the queue that is there now',
      })
      .example('$0 workers stop emails --all', ''),
  handler: async (options) => {
    const { name, all } = options;
    const id = await withClient(options, (client) =>
      client.workers.stopConsumers(name, { mode: all ? 'all' : 'one' }),
    );
    outputOf(options).record({ id, queue: name, mode: all ? 'all' : 'one' });
  },
});

export const workersCommand = command({
  command: 'workers',
  describe: 'List workers, drain them, stop the consumers of a queue',
  builder: (yargs) =>
    yargs
      .command(list)
      .command(drain)
      .command(stop)
      .demandCommand(1, 'Name an action: list, drain or stop.'),
  handler: () => undefined,
});
