import { readFileSync } from 'node:fs';
import yargs, { type Argv, type CommandModule } from 'yargs';
import { batchesCommand } from './commands/batches.js';
import { deadLettersCommand } from './commands/dead-letters.js';
import { devCommand } from './commands/dev.js';
import { doctorCommand } from './commands/doctor.js';
import { enqueueCommand } from './commands/enqueue.js';
import { jobsCommand } from './commands/jobs.js';
import { migrateCommand } from './commands/migrate.js';
import { queuesCommand } from './commands/queues.js';
import { receiveCommand } from './commands/receive.js';
import { schedulesCommand } from './commands/schedules.js';
import { statusCommand } from './commands/status.js';
import { topicsCommand } from './commands/topics.js';
import { workCommand } from './commands/work.js';
import { workersCommand } from './commands/workers.js';
import { closeOutput, type GlobalOptions, usageError } from './context.js';
import { EXIT, exitCodeOf } from './exit-codes.js';
import { STANDARD_INPUT } from './read-ids.js';
import { describeError } from './report-error.js';

const EPILOGUE = [
  'The database: --url, HOWDAH_DATABASE_URL, DATABASE_URL, or PGHOST, PGUSER, PGDATABASE and so on, the first that is given. Prefer a variable to --url for a URL with a password: arguments are visible to other users of the machine.',
  'Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 done in part.',
].join('\n\n');

const COMMANDS = [
  devCommand,
  workCommand,
  migrateCommand,
  enqueueCommand,
  receiveCommand,
  statusCommand,
  jobsCommand,
  queuesCommand,
  schedulesCommand,
  deadLettersCommand,
  batchesCommand,
  topicsCommand,
  workersCommand,
  doctorCommand,
] as unknown as readonly CommandModule<GlobalOptions, GlobalOptions>[];

/** Commands of commands. */
const GROUPS = ['jobs', 'queues', 'dead-letters', 'batches', 'topics', 'workers', 'schedules'];

/** Options that may be given more than once. */
const LISTS = new Set(['_', 'ids', 'receipts', 'state', 'queue', 'names']);

/** All commands and options. */
export function buildParser(args: readonly string[]): Argv<GlobalOptions> {
  const parser = yargs(args)
    .scriptName('howdah')
    .locale('en')
    .parserConfiguration({ 'dot-notation': false })
    .usage('$0 <command>\n\nA job queue that lives in your PostgreSQL.')
    .option('url', { type: 'string', global: true, describe: 'URL of the database' })
    .option('schema', { type: 'string', global: true, describe: 'Schema of Howdah' })
    .option('json', { type: 'boolean', default: false, global: true, describe: 'Answer in JSON' })
    .option('verbose', {
      type: 'boolean',
      default: false,
      global: true,
      describe: 'Show where an error comes from',
    })
    .middleware(refuseRepeated, true)
    .version(versionOfPackage())
    .alias({ help: 'h' })
    .group(['url', 'schema', 'json', 'verbose', 'help', 'version'], 'Global options:')
    .epilogue(EPILOGUE)
    .wrap(Math.min(100, process.stdout.columns ?? 100))
    .strict()
    .recommendCommands()
    .demandCommand(1, 'Name a command.')
    .exitProcess(false) as Argv<GlobalOptions>;
  for (const each of COMMANDS) parser.command(each);
  return parser;
}

/** Runs `howdah` with these arguments; says how it went by the exit code. */
export async function run(typed: readonly string[]): Promise<void> {
  ignoreLostReaders();
  const args = spellDashes(typed);
  const parser = buildParser(args).fail((message, error) => {
    // Thrown: otherwise the command would run in spite of it.
    throw error ?? usageOf(message, args);
  });
  try {
    await parser.parseAsync();
  } catch (error) {
    process.stderr.write(`${describeError(error, args.includes('--verbose'))}\n`);
    process.exitCode = exitCodeOf(error);
  }
}

function usageOf(message: string, args: readonly string[]): Error {
  const [group = '', action = ''] = args;
  const isGroup = GROUPS.includes(group);
  const text = message.trim().replace(/\s*\n\s*/g, ' ');
  const isMistyped = text.startsWith('Did you mean');
  const words = isGroup && !isMistyped && /^[a-z]+$/.test(action) ? [group, action] : [group];
  const known = COMMANDS.some(({ command }) => String(command).split(' ')[0] === group);
  const typed = isGroup ? action : group;
  const told = isMistyped ? `Unknown command: ${typed}. ${text}` : withDashes(text, args);
  return usageError(told, `See howdah ${[...(known ? words : []), '--help'].join(' ')}.`);
}

/** yargs names options without their dashes. */
function withDashes(text: string, args: readonly string[]): string {
  const [, name = ''] = /^Unknown argument: (\S+)$/.exec(text) ?? [];
  const typed = args.find((each) => /^--?/.test(each) && each.replace(/^--?|=.*$/g, '') === name);
  return typed === undefined ? text : `Unknown option: ${typed.replace(/=.*$/, '')}`;
}

/** yargs makes an array of an option that is given twice, which no command expects. */
function refuseRepeated(options: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(options)) {
    if (!Array.isArray(value) || LISTS.has(key)) continue;
    throw usageError(`Option ${key} is given more than once.`, 'Give it once.');
  }
}

/** A reader that goes away (`howdah jobs list | head`) is no error, and must not end a worker. */
function ignoreLostReaders(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    closeOutput();
    if (error.code !== 'EPIPE') process.exitCode = EXIT.failure;
  });
  process.stderr.on('error', () => undefined);
}

function versionOfPackage(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** yargs drops a lone `-`, or takes it for an argument of its own behind an option. */
function spellDashes(args: readonly string[]): string[] {
  const spelled: string[] = [];
  for (const each of args) {
    if (each !== '-') spelled.push(each);
    else if (spelled.at(-1) === '--from') spelled[spelled.length - 1] = '--from=-';
    else spelled.push(STANDARD_INPUT);
  }
  return spelled;
}
