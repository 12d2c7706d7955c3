import { command } from '../command.js';
import { durationOf, type GlobalOptions, outputOf, withClient } from '../context.js';

interface ReceiveArguments extends GlobalOptions {
  readonly name: string;
  readonly max: number;
  readonly wait: string | undefined;
  readonly visibility: string | undefined;
}

export const receiveCommand = command<ReceiveArguments>({
  command: 'receive <name>',
  describe:
    'Take ready jobs of a queue and print them as JSON lines; settle them by their receipts',
  builder: (yargs) =>
    yargs
      .positional('name', { type: 'string', demandOption: true, describe: 'Name of the queue' })
      .option('max', { type: 'number', default: 1, describe: 'Most jobs, 1 to 1000' })
      .option('wait', { type: 'string', describe: 'When nothing is ready, wait: 0 to 20s' })
      .option('visibility', {
        type: 'string',
        describe: 'How long they are yours, 100ms to 12h (as the queue says)',
      })
      .example('$0 receive emails --max 10 --wait 20s --visibility 5m', '')
      .example('$0 receive emails | jq -r .receipt | $0 jobs complete -', ''),
  handler: async (options) => {
    const { name, max } = options;
    const stop = new AbortController();
    const end = (): void => stop.abort();
    process.once('SIGINT', end).once('SIGTERM', end);
    await withClient(options, async (client) => {
      const jobs = await client.receive(name, {
        max,
        wait: durationOf(options.wait),
        visibility: durationOf(options.visibility),
        signal: stop.signal,
      });
      const output = outputOf(options);
      for (const job of jobs) {
        const { id, queue, receipt, attempt, maxAttempts, priority, payload, headers } = job;
        const { enqueuedAt, visibleAt, errors, group } = job;
        const facts = {
          id,
          queue,
          receipt,
          attempt,
          maxAttempts,
          priority,
          enqueuedAt,
          visibleAt,
          group,
        };
        output.json({ ...facts, payload, headers, errors });
      }
    });
    process.removeListener('SIGINT', end).removeListener('SIGTERM', end);
  },
});
