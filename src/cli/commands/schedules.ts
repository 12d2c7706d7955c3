import type { Argv } from 'yargs';
import type { Client } from '../../client/client.js';
import type { PreviewTarget, ScheduleInfo } from '../../client/operate/schedules.js';
import type { Json } from '../../core/json.js';
import type { MissedPolicy } from '../../core/schedule/nominal-times.js';
import { command } from '../command.js';
import {
  durationOf,
  type GlobalOptions,
  outputOf,
  parseJson,
  usageError,
  withClient,
} from '../context.js';
import { EXIT } from '../exit-codes.js';
import type { Column } from '../output.js';

const COLUMNS: readonly Column<ScheduleInfo>[] = [
  { key: 'name' },
  { key: 'queue' },
  { key: 'cron' },
  { key: 'zone' },
  { key: 'nextAt', title: 'NEXT' },
  { key: 'lastAt', title: 'LAST' },
  { key: 'lastOutcome', title: 'OUTCOME' },
  { key: 'lastJobId', title: 'JOB' },
  { key: 'lastJobState', title: 'STATE' },
  { key: 'paused' },
  { key: 'owner', isHidden: true },
  { key: 'missed', isHidden: true },
  { key: 'missedMax', isHidden: true },
  { key: 'error' },
  { key: 'lastError', isHidden: true },
];

interface NameArguments extends GlobalOptions {
  readonly name: string;
}

interface PutArguments extends NameArguments {
  readonly cron: string;
  readonly queue: string | readonly string[];
  readonly payload: string | undefined;
  readonly zone: string | undefined;
  readonly missed: string | undefined;
  readonly missedMax: number | undefined;
  readonly priority: number | undefined;
  readonly attempts: number | undefined;
  readonly ttl: string | undefined;
  readonly delay: string | undefined;
  readonly group: string | undefined;
  readonly headers: string | undefined;
}

const list = command<
  GlobalOptions & { queue: string | string[] | undefined; limit: number; after: string | undefined }
>({
  command: 'list',
  describe: 'List schedules by name, with the next time and the last outcome',
  builder: (yargs) =>
    yargs
      .option('queue', { type: 'string', describe: 'Only those of this queue' })
      .option('limit', { type: 'number', default: 100, describe: 'How many, 1 to 1000' })
      .option('after', { type: 'string', describe: 'Name of the last one of the page before' })
      .example('$0 schedules list', ''),
  handler: async (options) => {
    const { limit, after } = options;
    const queue = [options.queue ?? []].flat()[0];
    const rows = await withClient(options, (client) =>
      client.schedules.list({ queue, limit, after }),
    );
    const output = outputOf(options);
    output.list(rows, COLUMNS);
    if (rows.length === limit) output.remark(`\nMore: --after ${rows.at(-1)?.name}`);
  },
});

const put = command<PutArguments>({
  command: 'put <name>',
  describe: 'Create a schedule, or give the one of this name these values',
  builder: (yargs) =>
    positionalName(yargs)
      .option('cron', {
        type: 'string',
        demandOption: true,
        describe: 'Five fields, or six with seconds',
      })
      .option('queue', { type: 'string', demandOption: true, describe: 'Where its jobs go' })
      .option('payload', { type: 'string', describe: 'JSON (null)' })
      .option('zone', { type: 'string', describe: 'Time zone, such as Europe/Berlin (UTC)' })
      .option('missed', {
        type: 'string',
        choices: ['skip', 'once', 'all'],
        describe: 'What becomes of times that were missed (once)',
      })
      .option('missed-max', {
        type: 'number',
        describe: 'With all: at most so many, 1 to 1000 (100)',
      })
      .option('priority', { type: 'number', describe: '-100 to 100; higher runs first' })
      .option('attempts', { type: 'number', describe: 'Attempts before a job is dead' })
      .option('ttl', { type: 'string', describe: 'Longest wait for a worker' })
      .option('delay', { type: 'string', describe: 'Run so long after the nominal time' })
      .option('group', { type: 'string', describe: 'Key of the group of its jobs' })
      .option('headers', { type: 'string', describe: 'JSON object beside the payload' })
      .example(
        `$0 schedules put nightly --cron '0 3 * * *' --zone Europe/Berlin --queue reports`,
        '',
      ),
  handler: async (options) => {
    const { name, cron, zone, missed, missedMax, priority, attempts, group, headers } = options;
    const info = await withClient(options, async (client) => {
      await client.schedules.put({
        name,
        cron,
        zone,
        missed: missed as MissedPolicy | undefined,
        missedMax,
        queue: [options.queue].flat()[0] ?? '',
        payload: options.payload === undefined ? null : parseJson(options.payload, '--payload'),
        priority,
        attempts,
        group,
        ttl: durationOf(options.ttl),
        delay: durationOf(options.delay),
        headers:
          headers === undefined
            ? undefined
            : (parseJson(headers, '--headers') as Record<string, Json>),
      });
      return client.schedules.get(name);
    });
    outputOf(options).record(info ?? {});
  },
});

const show = command<NameArguments & { runs: number | undefined }>({
  command: 'show <name>',
  describe: 'Show everything about a schedule, or what came of its last times',
  builder: (yargs) =>
    positionalName(yargs)
      .option('runs', {
        type: 'number',
        describe: 'The last so many times of the last day, 1 to 1000',
      })
      .example('$0 schedules show nightly --runs 20', ''),
  handler: async (options) => {
    const { name, runs } = options;
    await withClient(options, async (client) => {
      const info = await client.schedules.get(name);
      if (info === undefined) {
        process.stderr.write(`There is no schedule ${name}.\n`);
        process.exitCode = EXIT.notFound;
      } else if (runs === undefined) outputOf(options).record(info);
      else {
        const rows = await client.schedules.runs(name, { limit: runs });
        outputOf(options).list(rows, [
          { key: 'nominalAt', title: 'NOMINAL TIME' },
          { key: 'outcome' },
          { key: 'jobId', title: 'JOB' },
          { key: 'error' },
          { key: 'decidedAt', isHidden: true },
        ]);
      }
    });
  },
});

interface PreviewArguments extends GlobalOptions {
  readonly name: string | undefined;
  readonly cron: string | undefined;
  readonly zone: string | undefined;
  readonly count: number;
}

const preview = command<PreviewArguments>({
  command: 'preview [name]',
  describe: 'Show the next times of a schedule, or of an expression',
  builder: (yargs) =>
    yargs
      .positional('name', { type: 'string', describe: 'Name of the schedule' })
      .option('cron', { type: 'string', describe: 'An expression instead' })
      .option('zone', { type: 'string', describe: 'Its time zone (UTC)' })
      .option('count', { type: 'number', default: 10, describe: 'How many, 1 to 1000' })
      .conflicts('name', ['cron', 'zone'])
      .example('$0 schedules preview nightly --count 3', '')
      .example(`$0 schedules preview --cron '30 2 * * *' --zone Europe/Berlin`, ''),
  handler: async (options) => {
    const { name, cron, zone, count } = options;
    const target: PreviewTarget | undefined =
      name ?? (cron === undefined ? undefined : { cron, zone });
    if (target === undefined) throw usageError('Name a schedule, or give --cron.');
    const rows = await withClient(options, (client) => client.schedules.preview(target, { count }));
    outputOf(options).list(rows, [{ key: 'at' }, { key: 'local' }]);
  },
});

const pause = command<NameArguments & { reason: string | undefined }>({
  command: 'pause <name>',
  describe: 'Fire no more until it is resumed',
  builder: (yargs) =>
    positionalName(yargs)
      .option('reason', { type: 'string', describe: 'Why; `show` shows it' })
      .example('$0 schedules pause nightly --reason "audit"', ''),
  handler: (options) =>
    change(options, (client) => client.schedules.pause(options.name, options.reason)),
});

const resume = command<NameArguments>({
  command: 'resume <name>',
  describe: 'Go on with the next time; those meanwhile are not made up for',
  builder: (yargs) => positionalName(yargs).example('$0 schedules resume nightly', ''),
  handler: (options) => change(options, (client) => client.schedules.resume(options.name)),
});

const run = command<NameArguments>({
  command: 'run <name>',
  describe: 'Enqueue its job now, also while it is paused; prints the id',
  builder: (yargs) => positionalName(yargs).example('$0 schedules run nightly', ''),
  handler: async (options) => {
    const id = await withClient(options, (client) => client.schedules.runNow(options.name));
    const output = outputOf(options);
    if (output.mode === 'json') output.json({ id });
    else output.line(id);
  },
});

const remove = command<NameArguments>({
  command: 'delete <name>',
  describe: 'Delete a schedule; its jobs stay',
  builder: (yargs) => positionalName(yargs).example('$0 schedules delete nightly', ''),
  handler: async (options) => {
    await withClient(options, (client) => client.schedules.delete(options.name));
    outputOf(options).record({ name: options.name, deleted: true });
  },
});

export const schedulesCommand = command({
  command: 'schedules',
  describe: 'List, put, show, preview, pause, resume, run and delete cron schedules',
  builder: (yargs) =>
    yargs
      .command(list)
      .command(put)
      .command(show)
      .command(preview)
      .command(pause)
      .command(resume)
      .command(run)
      .command(remove)
      .demandCommand(1, 'Name an action: list, put, show, preview, pause, resume, run or delete.'),
  handler: () => undefined,
});

function positionalName(yargs: Argv<GlobalOptions>) {
  return yargs.positional('name', {
    type: 'string',
    demandOption: true,
    describe: 'Name of the schedule',
  });
}

/** Changes it and shows how it stands then. */
async function change(
  options: NameArguments,
  how: (client: Client) => Promise<void>,
): Promise<void> {
  const info = await withClient(options, async (client) => {
    await how(client);
    return client.schedules.get(options.name);
  });
  outputOf(options).record(info ?? {});
}
