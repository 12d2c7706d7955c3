import { command } from '../command.js';
import { connectionOf, explained, type GlobalOptions, outputOf, usageError } from '../context.js';
import { EXIT } from '../exit-codes.js';

interface MigrateArguments extends GlobalOptions {
  readonly check: boolean;
  readonly print: boolean;
  readonly to: number | undefined;
  readonly down: boolean;
  readonly dryRun: boolean;
  readonly yes: boolean;
  readonly directUrl: string | undefined;
}

export const migrateCommand = command<MigrateArguments>({
  command: 'migrate',
  describe: 'Install the schema in the database, or bring it up to date',
  builder: (yargs) =>
    yargs
      .option('check', {
        type: 'boolean',
        default: false,
        describe: 'Only compare; exit code 1 when something is pending',
      })
      .option('print', {
        type: 'boolean',
        default: false,
        describe: 'Print the SQL for psql and touch no database',
      })
      .option('to', { type: 'number', describe: 'Version to end at; 0 removes everything' })
      .option('down', { type: 'boolean', default: false, describe: 'Undo the newest migration' })
      .option('dry-run', { type: 'boolean', default: false, describe: 'Only say what would run' })
      .option('yes', {
        type: 'boolean',
        default: false,
        describe: 'Allow going down, which deletes data',
      })
      .option('direct-url', {
        type: 'string',
        describe: 'URL of the server itself, where --url leads through a pooler',
      })
      .example('$0 migrate', 'to the newest version; safe to run from many processes at once')
      .example('$0 migrate --check', 'for a deployment pipeline')
      .example('$0 migrate --print | psql "$DATABASE_URL"', 'by hand')
      .example('$0 migrate --to 0 --yes', 'remove everything'),
  handler: async (options) => {
    refuseContradictions(options);
    if (options.print) await print(options);
    else if (options.check) await check(options);
    else await run(options);
  },
});

function refuseContradictions({
  check: isCheck,
  print: isPrint,
  down,
  to,
}: MigrateArguments): void {
  const chosen = [isCheck && '--check', isPrint && '--print', down && '--down'].filter(Boolean);
  if (to !== undefined && (isCheck || down)) chosen.push('--to');
  if (chosen.length > 1) throw usageError(`${chosen.join(' and ')} exclude each other.`);
}

async function print(options: MigrateArguments): Promise<void> {
  const { printMigrations } = await import('../../db/migrate/migrate.js');
  const { schema } = connectionOf(options);
  const sql = await printMigrations({
    ...(schema === undefined ? {} : { schema }),
    ...(options.to === undefined ? {} : { to: options.to }),
  });
  outputOf(options).line(sql.trimEnd());
}

async function check(options: MigrateArguments): Promise<void> {
  const { migrationStatus } = await import('../../db/migrate/migrate.js');
  const connection = connectionOf(options);
  const status = await migrationStatus({ ...connection, ...direct(options) }).catch((error) => {
    throw explained(error, connection);
  });
  const isGood = status.pending.length === 0 && status.unknown.length === 0;
  const { version, latest, pending, unknown } = status;
  outputOf(options).record({
    version,
    latest,
    isUpToDate: isGood,
    ...(pending.length > 0 ? { pending } : {}),
    ...(unknown.length > 0 ? { unknown } : {}),
  });
  if (!isGood) process.exitCode = EXIT.failure;
}

async function run(options: MigrateArguments): Promise<void> {
  const { migrate } = await import('../../db/migrate/migrate.js');
  const connection = connectionOf(options);
  const wanted = {
    ...connection,
    ...direct(options),
    ...(options.to === undefined ? {} : { to: options.to }),
    direction: options.down ? ('down' as const) : ('up' as const),
  };
  const output = outputOf(options);
  try {
    const isUpOnly = options.to === undefined && !options.down;
    if (!isUpOnly && !options.dryRun && !options.yes) {
      const planned = await migrate({ ...wanted, dryRun: true });
      if (planned.direction === 'down' && planned.applied.length > 0)
        throw downRefused(planned.applied);
    }
    const { direction, applied, version } = await migrate({ ...wanted, dryRun: options.dryRun });
    output.record({ ...(options.dryRun ? { dryRun: true } : {}), direction, applied, version });
  } catch (error) {
    throw explained(error, connection);
  }
}

function direct({ directUrl }: MigrateArguments): { directUrl?: string } {
  return directUrl === undefined ? {} : { directUrl };
}

function downRefused(applied: readonly string[]): Error {
  return usageError(
    `Going down undoes ${applied.join(', ')} and deletes what they hold.`,
    'Say --yes if that is meant, or look first with --dry-run.',
  );
}
