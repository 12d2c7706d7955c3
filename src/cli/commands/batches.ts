import type { BatchInfo } from '../../client/operate/batch.js';
import type { BatchFilter } from '../../client/operate/batches.js';
import { HowdahError } from '../../core/errors.js';
import type { JobState } from '../../core/job/job.js';
import { command } from '../command.js';
import { type GlobalOptions, outputOf, parseJson, usageError, withClient } from '../context.js';
import type { Column } from '../output.js';
import { JOB_COLUMNS } from './jobs.js';

const COLUMNS: readonly Column<BatchInfo>[] = [
  { key: 'id' },
  { key: 'name' },
  { key: 'state' },
  { key: 'total' },
  { key: 'pending' },
  { key: 'completed' },
  { key: 'failed' },
  { key: 'openedAt', title: 'OPENED' },
  { key: 'finishedAt', isHidden: true },
];

type IdOptions = GlobalOptions & { id: string };

const list = command<
  GlobalOptions & {
    state: readonly string[] | undefined;
    limit: number | undefined;
    after: string | undefined;
  }
>({
  command: 'list',
  describe: 'List batches, newest first',
  builder: (yargs) =>
    yargs
      .option('state', {
        type: 'string',
        array: true,
        choices: ['open', 'closed', 'completed', 'failed'],
        describe: 'Only batches in these states',
      })
      .option('limit', { type: 'number', describe: 'How many (100, at most 1000)' })
      .option('after', { type: 'string', describe: 'Last id of the page before' })
      .example('$0 batches list --state open closed', ''),
  handler: async (options) => {
    const { state, limit, after } = options;
    const filter = { state, limit, after } as BatchFilter;
    const rows = await withClient(options, (client) => client.batches.list(filter));
    outputOf(options).list(rows, COLUMNS);
  },
});

const show = command<IdOptions>({
  command: 'show <id>',
  describe: 'Show how a batch stands',
  builder: (yargs) =>
    yargs
      .positional('id', { type: 'string', demandOption: true, describe: 'Id of the batch' })
      .example('$0 batches show 4711', ''),
  handler: async (options) => {
    await showBatch(options, options.id);
  },
});

const open = command<
  GlobalOptions & {
    name: string | undefined;
    queue: string | undefined;
    payload: string | undefined;
  }
>({
  command: 'open',
  describe: 'Open a batch, to which jobs are added by howdah enqueue --batch',
  builder: (yargs) =>
    yargs
      .option('name', { type: 'string', describe: 'What to call it in lists' })
      .option('queue', { type: 'string', describe: 'Queue of the job that follows' })
      .option('payload', { type: 'string', describe: 'Its payload as JSON (null)' })
      .example(`$0 batches open --queue reports --payload '{"month":5}'`, 'prints the id'),
  handler: async (options) => {
    const { name, queue, payload: text } = options;
    if (queue === undefined && text !== undefined) {
      throw usageError('Without --queue nothing follows that could have a --payload.');
    }
    const payload = text === undefined ? null : parseJson(text, '--payload');
    const { id } = await withClient(options, (client) =>
      client.batches.open({
        name,
        onComplete: queue === undefined ? undefined : { queue, payload },
      }),
    );
    const output = outputOf(options);
    if (output.mode === 'json') output.json({ id });
    else output.line(output.mode === 'tsv' ? id : `Batch ${id} is open.`);
  },
});

const close = command<IdOptions & { allowEmpty: boolean }>({
  command: 'close <id>',
  describe: 'Close a batch: nothing is added, its end is followed by its job',
  builder: (yargs) =>
    yargs
      .positional('id', { type: 'string', demandOption: true, describe: 'Id of the batch' })
      .option('allow-empty', {
        type: 'boolean',
        default: false,
        describe: 'Also where it has no jobs: it is complete at once',
      })
      .example('$0 batches close 4711', ''),
  handler: async (options) => {
    const { id, allowEmpty } = options;
    await withClient(options, (client) => client.batches.of(id).close({ allowEmpty }));
    await showBatch(options, options.id);
  },
});

const jobs = command<
  IdOptions & {
    state: readonly JobState[] | undefined;
    limit: number | undefined;
    after: string | undefined;
  }
>({
  command: 'jobs <id>',
  describe: 'List the jobs of a batch, newest first',
  builder: (yargs) =>
    yargs
      .positional('id', { type: 'string', demandOption: true, describe: 'Id of the batch' })
      .option('state', { type: 'string', array: true, describe: 'Only jobs in these states' })
      .option('limit', { type: 'number', describe: 'How many (100, at most 1000)' })
      .option('after', { type: 'string', describe: 'Last id of the page before' })
      .example('$0 batches jobs 4711 --state dead cancelled', ''),
  handler: async (options) => {
    const { id, state, limit, after } = options;
    const rows = await withClient(options, (client) =>
      client.batches.of(id).jobs({ state, limit, after }),
    );
    outputOf(options).list(rows, JOB_COLUMNS);
  },
});

async function showBatch(options: GlobalOptions, id: string): Promise<void> {
  const info = await withClient(options, (client) => client.batches.of(id).info());
  if (info) outputOf(options).record(info);
  else throw new HowdahError('HOWDAH_BATCH_UNKNOWN', `Batch ${id} does not exist.`);
}

export const batchesCommand = command({
  command: 'batches',
  describe: 'Open, close and show sets of jobs that are followed by a job',
  builder: (yargs) =>
    yargs
      .command(list)
      .command(show)
      .command(jobs)
      .command(open)
      .command(close)
      .demandCommand(1, 'Name an action: list, show, jobs, open or close.'),
  handler: () => undefined,
});
