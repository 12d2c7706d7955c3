import { command } from '../command.js';
import { outputOf, parseJson, usageError, withClient } from '../context.js';
import { type EnqueueArguments, jobOptionsOf } from './enqueue-arguments.js';

export const enqueueCommand = command<EnqueueArguments>({
  command: 'enqueue <queue> [payload]',
  describe: 'Enqueue one job, or one for each line of a file',
  builder: (yargs) =>
    yargs
      .positional('queue', { type: 'string', demandOption: true, describe: 'Name of the queue' })
      .positional('payload', { type: 'string', describe: 'Payload as JSON' })
      .option('from', {
        type: 'string',
        describe: 'File of JSON lines or CSV with a header row; - is standard input',
      })
      .option('format', {
        type: 'string',
        choices: ['jsonl', 'csv'],
        describe: 'Of --from; by default as the name of the file ends',
      })
      .option('delimiter', { type: 'string', describe: 'Of CSV: one character, or tab' })
      .option('on-error', {
        type: 'string',
        choices: ['stop', 'skip'],
        default: 'stop',
        describe: 'At a line that is refused: stop there, or pass it over',
      })
      .option('rejects', { type: 'string', describe: 'File for the lines that are passed over' })
      .option('delay', { type: 'string', describe: 'Not before this time has passed: 90s, 2h' })
      .option('run-at', { type: 'string', describe: 'Not before: 2027-01-31T09:00:00Z' })
      .option('priority', { type: 'number', describe: '-100 to 100; higher runs first' })
      .option('headers', { type: 'string', describe: 'JSON object of facts beside the payload' })
      .option('attempts', { type: 'number', describe: 'Attempts before the job is dead' })
      .option('weight', { type: 'number', describe: 'What it counts for against limits (1)' })
      .option('ttl', { type: 'string', describe: 'Longest wait for a worker' })
      .option('group', { type: 'string', describe: 'Key of its group: those run in order' })
      .option('batch', { type: 'string', describe: 'Id of an open batch that it belongs to' })
      .option('dedupe-key', { type: 'string', describe: 'One job per key and window' })
      .option('dedupe-window', { type: 'string', describe: 'How long the key is remembered (5m)' })
      .option('dedupe-mode', {
        type: 'string',
        choices: ['skip', 'replace', 'throttle', 'latest'],
        describe: 'What a second job does with the first (skip: nothing)',
      })
      .option('on-full', {
        type: 'string',
        choices: ['throw', 'wait', 'drop-oldest'],
        describe: 'At a full queue (throw)',
      })
      .option('wait-max', { type: 'string', describe: 'Longest wait with --on-full wait (30s)' })
      .example(`$0 enqueue emails '{"to":"ada@example.org"}'`, 'prints the id')
      .example(
        `$0 enqueue emails '{"order":7}' --dedupe-key order-7`,
        'once, however often it is run',
      )
      .example('$0 enqueue emails --from mails.jsonl --delay 10m', 'a job a line')
      .example('$0 enqueue places --from airports.csv --on-error skip --rejects bad.jsonl', '')
      .example('zcat log.jsonl.gz | $0 enqueue events --from -', ''),
  handler: async (options) => {
    const { payload, from } = options;
    if ((payload === undefined) === (from === undefined)) {
      throw usageError('Give either a payload or --from.', 'See howdah enqueue --help.');
    }
    if (from === undefined) await enqueueOne(options, payload ?? '');
    else await (await import('./enqueue-from.js')).enqueueFrom(options, from);
  },
});

async function enqueueOne(options: EnqueueArguments, text: string): Promise<void> {
  const payload = parseJson(text, 'The payload');
  const { id, created, same } = await withClient(options, (client) =>
    client.enqueue(options.queue, payload, jobOptionsOf(options)),
  );
  const output = outputOf(options);
  if (output.mode === 'json') output.json({ id, queue: options.queue, created, same });
  else if (output.mode === 'tsv') output.line(id);
  else if (created) output.line(`Job ${id} is in queue ${options.queue}.`);
  else output.line(`Job ${id} has that dedupe key${same ? '' : ', with another payload'}.`);
}
