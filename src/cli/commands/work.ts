import { command } from '../command.js';
import { durationOf, explained, outputOf, usageError } from '../context.js';
import { type WorkerArguments, workerOptions } from '../worker/options.js';

interface WorkArguments extends WorkerArguments {
  readonly once: boolean;
  readonly deadline: string | undefined;
}

export const workCommand = command<WorkArguments>({
  command: 'work',
  describe: 'Run a worker with the handlers of a file',
  builder: (yargs) =>
    workerOptions(yargs)
      .option('once', {
        type: 'boolean',
        default: false,
        describe: 'Work until nothing is ready, then end',
      })
      .option('deadline', { type: 'string', describe: 'With --once: end after this time' })
      .example('$0 work', 'the handlers of howdah.config.ts')
      .example('$0 work --config src/handlers.ts --queue emails --concurrency 50', '')
      .example('$0 work --once --deadline 50s', 'from cron or a serverless function'),
  handler: async (options) => {
    const { findConfig, loadConfig } = await import('../config-file.js');
    const file = findConfig(options.config);
    if (file === undefined) {
      throw usageError('There is no howdah.config.ts here.', 'Name a file with --config FILE.');
    }
    const { resolveWorker } = await import('../worker/options.js');
    const { runWorker, exitWith } = await import('../worker/run-worker.js');
    const worker = await resolveWorker(options, await loadConfig(file));
    const code = await runWorker({
      worker,
      output: outputOf(options),
      ...(options.once ? { once: { deadline: durationOf(options.deadline) } } : {}),
    }).catch((error) => {
      throw explained(error, worker);
    });
    await exitWith(code);
  },
});
