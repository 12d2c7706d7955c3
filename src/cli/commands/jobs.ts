import type { JobSummary } from '../../client/operate/jobs.js';
import { HowdahError } from '../../core/errors.js';
import type { JobState } from '../../core/job/job.js';
import { command } from '../command.js';
import { type GlobalOptions, outputOf, withClient } from '../context.js';
import type { Column } from '../output.js';
import { readIds } from '../read-ids.js';
import {
  cancelCommand,
  editCommand,
  positionalIds,
  reportOutcomes,
  resultCommand,
  watchCommand,
} from './job-changes.js';
import { completeCommand, extendCommand, failCommand, releaseCommand } from './settle.js';

export const JOB_COLUMNS: readonly Column<JobSummary>[] = [
  { key: 'id' },
  { key: 'queue' },
  { key: 'state' },
  { key: 'attempt' },
  { key: 'priority', isHidden: true },
  { key: 'group', isHidden: true },
  { key: 'enqueuedAt', title: 'ENQUEUED' },
  { key: 'runAt', title: 'DUE' },
  { key: 'claimedAt', isHidden: true },
  { key: 'finishedAt', title: 'FINISHED' },
  { key: 'worker', isHidden: true },
  { key: 'reason' },
  { key: 'lastError', title: 'LAST ERROR' },
];

interface ListArguments extends GlobalOptions {
  readonly queue: string | undefined;
  readonly state: readonly string[] | undefined;
  readonly limit: number;
  readonly after: string | undefined;
}

interface IdArguments extends GlobalOptions {
  readonly ids: readonly string[];
}

const list = command<ListArguments>({
  command: 'list',
  describe: 'List jobs, newest first',
  builder: (yargs) =>
    yargs
      .option('queue', { type: 'string', describe: 'Only of this queue' })
      .option('state', {
        type: 'array',
        string: true,
        describe:
          'Only in these states: scheduled, blocked, ready, running, completed, dead, cancelled, expired, discarded',
      })
      .option('limit', { type: 'number', default: 100, describe: 'How many, 1 to 1000' })
      .option('after', { type: 'string', describe: 'Id of the last job of the page before' })
      .example('$0 jobs list --queue emails --state running', '')
      .example('$0 jobs list --state dead | cut -f1', 'their ids, for a script'),
  handler: async (options) => {
    const { queue, state, limit, after } = options;
    const jobs = await withClient(options, (client) =>
      client.jobs.list({ queue, state: state as JobState[] | undefined, limit, after }),
    );
    const output = outputOf(options);
    output.list(jobs, JOB_COLUMNS);
    if (jobs.length === limit) output.remark(`\nMore: --after ${jobs.at(-1)?.id}`);
  },
});

const show = command<GlobalOptions & { id: string }>({
  command: 'show <id>',
  describe: 'Show everything about a job: payload, headers, errors, result, progress, log',
  builder: (yargs) =>
    yargs
      .positional('id', { type: 'string', demandOption: true, describe: 'Id of the job' })
      .example('$0 jobs show 4711 --json | jq .payload', ''),
  handler: async (options) => {
    const job = await withClient(options, (client) => client.jobs.get(options.id));
    if (job) {
      outputOf(options).record(job);
      return;
    }
    throw new HowdahError('HOWDAH_JOB_UNKNOWN', `There is no job ${options.id}, or no longer.`, {
      details: { id: options.id },
      remedy: 'Finished jobs are kept as long as the retention of their queue says.',
    });
  },
});

const retry = command<IdArguments>({
  command: 'retry <ids..>',
  describe: 'Run scheduled jobs now, and send dead ones back to their queue',
  builder: (yargs) =>
    positionalIds(yargs)
      .example('$0 jobs retry 4711 4712', '')
      .example('$0 jobs list --state scheduled | tail -n +2 | cut -f1 | $0 jobs retry -', 'many'),
  handler: async (options) => {
    const ids = await readIds(options.ids);
    const rows = await withClient(options, (client) => client.jobs.runNow(ids));
    reportOutcomes(options, rows, ['ready']);
  },
});

export const jobsCommand = command({
  command: 'jobs',
  describe: 'List, show, retry, cancel, edit and await jobs; settle received ones',
  builder: (yargs) =>
    yargs
      .command(list)
      .command(show)
      .command(retry)
      .command(cancelCommand)
      .command(editCommand)
      .command(resultCommand)
      .command(watchCommand)
      .command(completeCommand)
      .command(failCommand)
      .command(releaseCommand)
      .command(extendCommand)
      .demandCommand(
        1,
        'Name an action: list, show, retry, cancel, edit, result, watch, complete, fail, release or extend.',
      ),
  handler: () => undefined,
});
