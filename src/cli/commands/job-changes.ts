import type { Argv } from 'yargs';
import type { CancelFilter } from '../../client/operate/cancel-filter.js';
import type { JobEdit } from '../../core/job/job-edit.js';
import type { Json } from '../../core/json.js';
import { command } from '../command.js';
import {
  durationOf,
  type GlobalOptions,
  outputOf,
  parseJson,
  parseTime,
  usageError,
  withClient,
} from '../context.js';
import { EXIT } from '../exit-codes.js';
import { readIds } from '../read-ids.js';

interface CancelArguments extends GlobalOptions {
  readonly ids: readonly string[];
  readonly reason: string | undefined;
  readonly queue: string | undefined;
  readonly state: readonly string[] | undefined;
  readonly group: string | undefined;
  readonly since: string | undefined;
  readonly until: string | undefined;
  readonly olderThan: string | undefined;
  readonly payload: string | undefined;
  readonly limit: number | undefined;
  readonly preview: boolean;
  readonly yes: boolean;
}

export const cancelCommand = command<CancelArguments>({
  command: 'cancel [ids..]',
  describe: 'Cancel waiting jobs, and ask the workers of running ones to stop',
  builder: (yargs) =>
    yargs
      .positional('ids', {
        type: 'string',
        array: true,
        default: [] as string[],
        describe: 'Ids of jobs; - reads them from standard input, one a line',
      })
      .option('reason', { type: 'string', describe: 'Why; kept with the job' })
      .option('queue', { type: 'string', describe: 'Instead of ids: all of this queue' })
      .option('state', {
        type: 'array',
        string: true,
        describe: 'Only in these states: scheduled, blocked, ready, running',
      })
      .option('group', { type: 'string', describe: 'Only of this group' })
      .option('since', { type: 'string', describe: 'Enqueued at this time, or later' })
      .option('until', { type: 'string', describe: 'Enqueued before this time' })
      .option('older-than', { type: 'string', describe: 'Enqueued longer ago: 1h, 7d' })
      .option('payload', { type: 'string', describe: 'JSON that the payload contains' })
      .option('limit', { type: 'number', describe: 'How many at most (default: all)' })
      .option('preview', { type: 'boolean', default: false, describe: 'Only count them' })
      .option('yes', { type: 'boolean', default: false, describe: 'All, without a filter' })
      .example('$0 jobs cancel 4711 --reason "wrong address"', '')
      .example('$0 jobs cancel --queue emails --state ready --older-than 1d', '')
      .example('$0 jobs cancel --queue emails --payload \'{"to":"a@b.c"}\' --preview', ''),
  handler: async (options) => {
    const filter = filterOf(options);
    if (options.ids.length === 0) await cancelWhere(options, filter);
    else if (Object.keys(filter).length === 0) await cancelIds(options);
    else throw usageError('Ids and a filter exclude each other.', 'Give one of them.');
  },
});

async function cancelIds(options: CancelArguments): Promise<void> {
  const ids = await readIds(options.ids);
  if (options.preview) throw usageError('Option preview goes with a filter.', 'See jobs list.');
  const rows = await withClient(options, (client) => client.jobs.cancel(ids, options.reason));
  reportOutcomes(options, rows, ['cancelled', 'requested'], [{ key: 'why' }]);
}

/** Calls until nothing is left; the counts are those of all calls. */
async function cancelWhere(options: CancelArguments, filter: CancelFilter): Promise<void> {
  const { preview, yes, reason, limit = Number.POSITIVE_INFINITY } = options;
  if (Object.keys(filter).length === 0 && !preview && !yes) {
    throw usageError(
      'Neither ids nor a filter: that would be all jobs.',
      'Give ids or a filter such as --queue, look with --preview, or say --yes.',
    );
  }
  let [cancelled, requested, left, isMore] = [0, 0, limit, true];
  const refused: { id: string; outcome: string; why: string }[] = [];
  await withClient(options, async (client) => {
    while (isMore && left > 0) {
      const most = preview ? 100_000 : 10_000;
      const part = await client.jobs.cancelWhere(filter, {
        preview,
        reason,
        limit: Math.min(left, most),
      });
      cancelled += part.cancelled;
      requested += part.requested;
      refused.push(...part.refused);
      left -= part.cancelled + part.requested + part.refused.length;
      isMore = part.more && !preview;
    }
  });
  const output = outputOf(options);
  output.record({ cancelled, requested, refused, ...(preview ? { preview } : {}) });
}

function filterOf(options: CancelArguments): CancelFilter {
  const { queue, state, group, since, until, olderThan, payload } = options;
  const filter: CancelFilter = {
    queue,
    state: state as CancelFilter['state'],
    group,
    since: since === undefined ? undefined : parseTime(since, 'since'),
    until: until === undefined ? undefined : parseTime(until, 'until'),
    olderThan: durationOf(olderThan),
    payload: payload === undefined ? undefined : (parseJson(payload, '--payload') as Json),
  };
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}

interface EditArguments extends GlobalOptions {
  readonly id: string;
  readonly payload: string | undefined;
  readonly headers: string | undefined;
  readonly priority: number | undefined;
  readonly delay: string | undefined;
  readonly runAt: string | undefined;
}

export const editCommand = command<EditArguments>({
  command: 'edit <id>',
  describe: 'Change a job that waits: its payload, headers, priority, time',
  builder: (yargs) =>
    yargs
      .positional('id', { type: 'string', demandOption: true, describe: 'Id of the job' })
      .option('payload', { type: 'string', describe: 'The new payload, as JSON' })
      .option('headers', { type: 'string', describe: 'The new headers, as JSON' })
      .option('priority', { type: 'number', describe: '-100 to 100; higher runs first' })
      .option('delay', { type: 'string', describe: 'Not before so long from now: 0, 10m, 2h' })
      .option('run-at', { type: 'string', describe: 'Not before this time, with a zone' })
      .example('$0 jobs edit 4711 --delay 2h', '')
      .example('$0 jobs edit 4711 --payload \'{"to":"ann@example.com"}\' --priority 10', ''),
  handler: async (options) => {
    const { id, payload, headers, priority, delay, runAt } = options;
    const edit: JobEdit = {
      ...(payload !== undefined && { payload: parseJson(payload, '--payload') }),
      headers:
        headers === undefined
          ? undefined
          : (parseJson(headers, '--headers') as Record<string, Json>),
      priority,
      delay: durationOf(delay),
      runAt,
    };
    const state = await withClient(options, (client) => client.jobs.edit(id, edit));
    outputOf(options).record({ id, state });
  },
});

export const resultCommand = command<GlobalOptions & { id: string; timeout: string | undefined }>({
  command: 'result <id>',
  describe: 'Wait for the end of a job and print its result as JSON',
  builder: (yargs) =>
    yargs
      .positional('id', { type: 'string', demandOption: true, describe: 'Id of the job' })
      .option('timeout', { type: 'string', describe: 'Longest wait (default: without end)' })
      .example('$0 jobs result 4711 --timeout 30s', '')
      .example('$0 jobs result "$(howdah enqueue sums \'{"a":1}\')"', ''),
  handler: async (options) => {
    const timeout = durationOf(options.timeout);
    const result = await withClient(options, (client) => client.result(options.id, { timeout }));
    outputOf(options).json(result);
  },
});

export const watchCommand = command<GlobalOptions & { id: string }>({
  command: 'watch <id>',
  describe: 'Print the progress of a job as JSON lines until it has ended',
  builder: (yargs) =>
    yargs
      .positional('id', { type: 'string', demandOption: true, describe: 'Id of the job' })
      .example('$0 jobs watch 4711 | jq .progress', ''),
  handler: async (options) => {
    const stop = new AbortController();
    const end = (): void => stop.abort();
    process.once('SIGINT', end).once('SIGTERM', end);
    await withClient(options, async (client) => {
      const output = outputOf(options);
      try {
        for await (const report of client.watch(options.id, stop)) output.json(report);
      } catch (error) {
        if (!stop.signal.aborted) throw error;
      }
    });
    process.removeListener('SIGINT', end).removeListener('SIGTERM', end);
  },
});

export function positionalIds(yargs: Argv<GlobalOptions>) {
  return yargs.positional('ids', {
    type: 'string',
    array: true,
    demandOption: true,
    describe: 'Ids of jobs; - reads them from standard input, one a line',
  });
}

/** Exit code 3 when none of the jobs is there, 4 when some could not be changed. */
export function reportOutcomes<Row extends { readonly id: string; readonly outcome: string }>(
  options: GlobalOptions,
  rows: readonly Row[],
  good: readonly string[],
  more: readonly { readonly key: keyof Row & string }[] = [],
): void {
  if (rows.length === 0) throw usageError('No ids were given.');
  outputOf(options).list(rows, [{ key: 'id' }, { key: 'outcome' }, ...more]);
  const done = rows.filter(({ outcome }) => good.includes(outcome)).length;
  if (rows.every(({ outcome }) => outcome === 'unknown')) process.exitCode = EXIT.notFound;
  else if (done < rows.length) process.exitCode = done > 0 ? EXIT.partial : EXIT.failure;
}
