import type { EmbeddedPostgres } from '../../embedded/postgres.js';
import type { WorkerOptions } from '../../worker/options.js';
import { command } from '../command.js';
import type { LoadedConfig } from '../config-file.js';
import { type Connection, connectionOf, explained, isServerNamed, outputOf } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { redact } from '../report-error.js';
import { type WorkerArguments, workerOptions } from '../worker/options.js';

interface DevArguments extends WorkerArguments {
  readonly data: string | undefined;
  readonly port: number | undefined;
}

export const devCommand = command<DevArguments>({
  command: 'dev',
  describe: 'Everything for development: a PostgreSQL, the schema, a worker',
  builder: (yargs) =>
    workerOptions(yargs)
      .option('data', {
        type: 'string',
        describe: 'Keep the data in this folder (.howdah); else it goes with the server',
      })
      .option('port', {
        type: 'number',
        describe: 'Port of the embedded server; default a free one',
      })
      .example('$0 dev', 'a throw-away server, and the handlers of howdah.config.ts if there')
      .example('$0 dev --data', 'the data stays in .howdah')
      .example('$0 dev --url postgres://localhost/app', 'a server of your own'),
  handler: async (options) => {
    const { findConfig, loadConfig } = await import('../config-file.js');
    const { exitWith } = await import('../worker/run-worker.js');
    const file = findConfig(options.config);
    const loaded = file === undefined ? undefined : await loadConfig(file);
    const named = connectionOf(options, connectionOfFile(loaded));
    const server = isServerNamed(named) ? undefined : await startServer(options);
    const connection = server ? { ...named, url: server.url } : named;
    let code: number;
    try {
      code = await develop(options, loaded, connection, server);
    } catch (error) {
      await server?.stop();
      throw explained(error, connection);
    }
    await server?.stop();
    await exitWith(code);
  },
});

function connectionOfFile(loaded: LoadedConfig | undefined): Connection {
  const { connection, url = connection, schema } = loaded?.config ?? {};
  return { ...(url ? { url } : {}), ...(schema ? { schema } : {}) };
}

async function startServer({ data, port }: DevArguments): Promise<EmbeddedPostgres> {
  const { startEmbeddedPostgres } = await import('../../embedded/postgres.js');
  return startEmbeddedPostgres({
    ...(data === undefined ? {} : { dataDir: data || '.howdah' }),
    ...(port === undefined ? {} : { port }),
  });
}

async function develop(
  options: DevArguments,
  loaded: LoadedConfig | undefined,
  connection: Connection,
  server: EmbeddedPostgres | undefined,
): Promise<number> {
  const { migrate } = await import('../../db/migrate/migrate.js');
  const { version } = await migrate(connection);
  announce(options, connection, server, version);
  const serverEnded = server?.stopped.then(() => 'PostgreSQL has ended');
  if (!loaded) return waitForSignal(options, serverEnded);
  const { resolveWorker } = await import('../worker/options.js');
  const { runWorker } = await import('../worker/run-worker.js');
  const { showCompletedJobs } = await import('../worker/job-lines.js');
  const worker: WorkerOptions = { ...(await resolveWorker(options, loaded)), ...connection };
  await createNamedQueues(worker);
  const output = outputOf(options);
  return runWorker({
    worker,
    output,
    ...(serverEnded ? { until: serverEnded } : {}),
    onStarted: (started) => {
      const queues = worker.queues.map(({ name }) => name);
      if (output.mode === 'json') output.json({ event: 'started', worker: started.name, queues });
      else {
        output.line(`Worker ${started.name} works ${queues.join(', ')}; Ctrl-C stops it.`);
        showCompletedJobs(started, output);
      }
    },
  });
}

/** Queues that handlers name by a string are declared nowhere: for development they are made here. */
async function createNamedQueues(worker: WorkerOptions): Promise<void> {
  const { createClient } = await import('../../client/client.js');
  const { url, schema } = worker;
  const client = createClient({ ...(url ? { url } : {}), ...(schema ? { schema } : {}) });
  try {
    for (const { queue } of worker.queues) {
      if (typeof queue === 'string') await client.queues.create(queue);
    }
  } finally {
    await client.close();
  }
}

function announce(
  options: DevArguments,
  { url }: Connection,
  server: EmbeddedPostgres | undefined,
  schemaVersion: number,
): void {
  const output = outputOf(options);
  // Its password protects nothing but this very server, and is needed to reach it.
  const shown = server ? server.url : url && redact(url);
  if (output.mode === 'json') {
    output.json({
      event: 'ready',
      url: shown ?? null,
      isEmbedded: server !== undefined,
      schemaVersion,
    });
    return;
  }
  output.line(`PostgreSQL: ${shown ?? 'as PGHOST, PGDATABASE and so on say'}`);
  output.line(`Schema at version ${schemaVersion}.`);
  if (server) {
    output.line('In other terminals:');
    output.line(`  export HOWDAH_DATABASE_URL=${server.url}`);
  }
}

/** Without handlers there is a database to look at. */
async function waitForSignal(
  options: DevArguments,
  serverEnded: Promise<string> | undefined,
): Promise<number> {
  const output = outputOf(options);
  output.remark('No howdah.config.ts here, so no worker runs. Ctrl-C stops the server.');
  const alive = setInterval(() => undefined, 3_600_000);
  const signalled = new Promise<string>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, resolve);
  });
  const why = await Promise.race([signalled, ...(serverEnded ? [serverEnded] : [])]);
  clearInterval(alive);
  output.remark(`${why}: stopped`);
  return why.startsWith('SIG') ? EXIT.ok : EXIT.failure;
}
