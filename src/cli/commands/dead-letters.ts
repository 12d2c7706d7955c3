import type { Argv } from 'yargs';
import type { Client } from '../../client/client.js';
import type { DeadLetter, DeadLetterFilter } from '../../client/operate/dead-letters.js';
import type { Json } from '../../core/json.js';
import type { DeadLetterGroup } from '../../db/calls/dead-letters.js';
import { command } from '../command.js';
import {
  type GlobalOptions,
  outputOf,
  parseJson,
  parseTime,
  usageError,
  withClient,
} from '../context.js';
import { EXIT } from '../exit-codes.js';
import type { Column } from '../output.js';
import { readIds } from '../read-ids.js';
import { showCount } from '../terminal-text.js';

const COLUMNS: readonly Column<DeadLetter>[] = [
  { key: 'id' },
  { key: 'queue' },
  { key: 'deadLetterQueue', isHidden: true },
  { key: 'reason' },
  { key: 'deadAt', title: 'DIED' },
  { key: 'enqueuedAt', isHidden: true },
  { key: 'fingerprint' },
  { key: 'lastError', title: 'LAST ERROR' },
];

const GROUP_COLUMNS: readonly Column<DeadLetterGroup>[] = [
  { key: 'fingerprint' },
  { key: 'jobs' },
  { key: 'queues' },
  { key: 'firstDeadAt', title: 'FIRST DIED' },
  { key: 'lastDeadAt', title: 'LAST DIED' },
  { key: 'id', title: 'FOR INSTANCE' },
  { key: 'name' },
  { key: 'message' },
];

interface ListArguments extends GlobalOptions {
  readonly queue: string | undefined;
  readonly deadLetterQueue: string | undefined;
  readonly reason: string | undefined;
  readonly limit: number;
  readonly after: string | undefined;
}

interface FilterArguments extends Omit<ListArguments, 'after'> {
  readonly ids: readonly string[];
  readonly error: string | undefined;
  readonly since: string | undefined;
  readonly until: string | undefined;
  readonly payload: string | undefined;
  readonly preview: boolean;
  readonly yes: boolean;
  readonly to?: string | undefined;
  readonly rate?: number | undefined;
  readonly fingerprint: string | undefined;
}

const list = command<ListArguments>({
  command: 'list',
  describe: 'List dead jobs, newest first; --json shows payloads and errors too',
  builder: (yargs) =>
    yargs
      .option('queue', { type: 'string', describe: 'The queue they came from' })
      .option('dead-letter-queue', { type: 'string', describe: 'The queue they lie in' })
      .option('reason', { type: 'string', describe: 'Why they are dead' })
      .option('limit', { type: 'number', default: 100, describe: 'How many, 1 to 1000' })
      .option('after', { type: 'string', describe: 'Id of the last one of the page before' })
      .example('$0 dead-letters list --queue emails', '')
      .example('$0 dead-letters list --json | jq .errors', ''),
  handler: async (options) => {
    const { queue, deadLetterQueue, reason, limit, after } = options;
    const dead = await withClient(options, (client) =>
      client.deadLetters.list({ queue, deadLetterQueue, reason, limit, after }),
    );
    const output = outputOf(options);
    output.list(dead, COLUMNS);
    if (dead.length === limit) output.remark(`\nMore: --after ${dead.at(-1)?.id}`);
  },
});

const groups = command<Omit<ListArguments, 'reason' | 'after'>>({
  command: 'groups',
  describe: 'Group dead jobs by the fingerprint of their last error, the largest groups first',
  builder: (yargs) =>
    yargs
      .option('queue', { type: 'string', describe: 'The queue they came from' })
      .option('dead-letter-queue', { type: 'string', describe: 'The queue they lie in' })
      .option('limit', { type: 'number', default: 100, describe: 'How many, 1 to 1000' })
      .example('$0 dead-letters groups --queue emails', ''),
  handler: async (options) => {
    const { queue, deadLetterQueue, limit } = options;
    const found = await withClient(options, (client) =>
      client.deadLetters.groups({ queue, deadLetterQueue, limit }),
    );
    outputOf(options).list(found, GROUP_COLUMNS);
  },
});

const redrive = command<FilterArguments>({
  command: 'redrive [ids..]',
  describe: 'Send dead jobs back to their queue, with fresh attempts',
  builder: (yargs) =>
    filterOptions(yargs)
      .option('to', { type: 'string', describe: 'Another queue than the one they came from' })
      .option('rate', { type: 'number', describe: 'So many jobs a second, not all at once' })
      .example('$0 dead-letters redrive 4711', '')
      .example('$0 dead-letters redrive --queue emails --error timeout --preview', 'only look')
      .example('$0 dead-letters redrive --yes', 'all of them'),
  handler: (options) =>
    change(options, 'redriven', (client, filter) =>
      client.deadLetters.redrive(filter, {
        limit: options.limit,
        preview: options.preview,
        to: options.to,
        rate: options.rate,
      }),
    ),
});

const discard = command<FilterArguments>({
  command: 'discard [ids..]',
  describe: 'Delete dead jobs; the history keeps them as discarded',
  builder: (yargs) =>
    filterOptions(yargs)
      .example('$0 dead-letters discard 4711', '')
      .example('$0 dead-letters discard --queue emails --until 2027-01-01', 'old ones')
      .example('$0 dead-letters discard --yes', 'all of them'),
  handler: (options) =>
    change(options, 'discarded', (client, filter) =>
      client.deadLetters.discard(filter, { limit: options.limit, preview: options.preview }),
    ),
});

export const deadLettersCommand = command({
  command: 'dead-letters',
  describe: 'List, group, redrive and discard dead jobs',
  builder: (yargs) =>
    yargs
      .command(list)
      .command(groups)
      .command(redrive)
      .command(discard)
      .demandCommand(1, 'Name an action: list, groups, redrive or discard.'),
  handler: () => undefined,
});

function filterOptions(yargs: Argv<GlobalOptions>) {
  return yargs
    .positional('ids', {
      type: 'string',
      array: true,
      default: [] as string[],
      describe: 'Ids of dead jobs; - reads them from standard input, one a line',
    })
    .option('queue', { type: 'string', describe: 'The queue they came from' })
    .option('dead-letter-queue', { type: 'string', describe: 'The queue they lie in' })
    .option('reason', { type: 'string', describe: 'Why they are dead' })
    .option('error', { type: 'string', describe: 'Part of the message of their last error' })
    .option('fingerprint', { type: 'string', describe: 'Fingerprint of their last error' })
    .option('since', { type: 'string', describe: 'Dead since this time, or later' })
    .option('until', { type: 'string', describe: 'Dead before this time' })
    .option('payload', { type: 'string', describe: 'JSON that the payload contains' })
    .option('limit', { type: 'number', default: 1000, describe: 'How many, 1 to 100000' })
    .option('preview', { type: 'boolean', default: false, describe: 'Only say which' })
    .option('yes', { type: 'boolean', default: false, describe: 'All of them, without a filter' });
}

const REDRIVEN = [
  { key: 'id' },
  { key: 'from' },
  { key: 'to' },
  { key: 'reason' },
  { key: 'error' },
] as const;
const DISCARDED = [{ key: 'id' }, { key: 'queue' }, { key: 'reason' }, { key: 'error' }] as const;

type ChangedRow =
  | Awaited<ReturnType<Client['deadLetters']['redrive']>>[number]
  | Awaited<ReturnType<Client['deadLetters']['discard']>>[number];

async function change(
  options: FilterArguments,
  done: 'redriven' | 'discarded',
  run: (client: Client, filter: DeadLetterFilter) => Promise<readonly ChangedRow[]>,
): Promise<void> {
  const filter = await filterOf(options);
  if (Object.keys(filter).length === 0 && !options.preview && !options.yes) {
    throw usageError(
      'Neither ids nor a filter: that would be all dead letters.',
      'Give ids or a filter such as --queue, look with --preview, or say --yes.',
    );
  }
  const rows = await withClient(options, (client) => run(client, filter));
  const output = outputOf(options);
  const columns = done === 'redriven' ? REDRIVEN : DISCARDED;
  output.list(rows, columns as readonly { key: keyof ChangedRow & string }[]);
  const what = options.preview ? `would be ${done}` : `${done}`;
  output.remark(`\n${showCount(rows.length)} ${what}.`);
  if (rows.length === options.limit) output.remark('There may be more: see --limit.');
  const missing = (filter.ids?.length ?? 0) - rows.length;
  if (missing <= 0) return;
  process.stderr.write(`${missing} of the ids are no dead letters.\n`);
  process.exitCode = rows.length === 0 ? EXIT.notFound : EXIT.partial;
}

async function filterOf(options: FilterArguments): Promise<DeadLetterFilter> {
  const { queue, deadLetterQueue, reason, error, fingerprint, since, until, payload } = options;
  const ids = await readIds(options.ids);
  const isIdsGiven = options.ids.length > 0;
  const filter: DeadLetterFilter = {
    ids: isIdsGiven ? ids : undefined,
    queue,
    deadLetterQueue,
    reason,
    error,
    fingerprint,
    since: since === undefined ? undefined : parseTime(since, 'since'),
    until: until === undefined ? undefined : parseTime(until, 'until'),
    payload: payload === undefined ? undefined : (parseJson(payload, '--payload') as Json),
  };
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}
