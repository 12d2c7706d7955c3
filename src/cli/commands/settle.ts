import type { Argv } from 'yargs';
import type { Receipt } from '../../client/pull/received-job.js';
import { HowdahError } from '../../core/errors.js';
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
import { readIds } from '../read-ids.js';

interface ReceiptArguments extends GlobalOptions {
  readonly receipts: readonly string[];
}

export const completeCommand = command<ReceiptArguments & { result: string | undefined }>({
  command: 'complete <receipts..>',
  describe: 'Received jobs are done',
  builder: (yargs) =>
    positionalReceipts(yargs)
      .option('result', { type: 'string', describe: 'JSON that is kept with the job' })
      .example('$0 receive emails | jq -r .receipt | $0 jobs complete -', ''),
  handler: (options) => {
    const { result } = options;
    const value = result === undefined ? undefined : parseJson(result, '--result');
    return settleAll(options, (receipt) => receipt.complete(value).then(() => 'completed'));
  },
});

interface FailArguments extends ReceiptArguments {
  readonly error: string;
  readonly delay: string | undefined;
}

export const failCommand = command<FailArguments>({
  command: 'fail <receipts..>',
  describe: 'Received jobs have failed: they run again after their backoff, or are dead',
  builder: (yargs) =>
    positionalReceipts(yargs)
      .option('error', { type: 'string', default: 'failed', describe: 'What went wrong' })
      .option('delay', { type: 'string', describe: 'Until the next attempt, instead of backoff' })
      .example('$0 jobs fail 77.4711.1 --error "mailbox full" --delay 1h', ''),
  handler: (options) => {
    const delay = durationOf(options.delay);
    const error = { name: 'Error', message: options.error };
    return settleAll(options, (receipt) => receipt.fail(error, { delay }));
  },
});

export const releaseCommand = command<ReceiptArguments>({
  command: 'release <receipts..>',
  describe: 'Give received jobs back; the attempt does not count',
  builder: (yargs) => positionalReceipts(yargs).example('$0 jobs release 77.4711.1', ''),
  handler: (options) => settleAll(options, (receipt) => receipt.release().then(() => 'ready')),
});

export const extendCommand = command<ReceiptArguments & { visibility: string }>({
  command: 'extend <receipts..>',
  describe: 'Keep received jobs for longer; prints their new receipts',
  builder: (yargs) =>
    positionalReceipts(yargs)
      .option('visibility', {
        type: 'string',
        demandOption: true,
        describe: 'From now, 100ms to 12h',
      })
      .example('$0 jobs extend 77.4711.1 --visibility 10m', ''),
  handler: (options) => {
    const visibility = durationOf(options.visibility) ?? 0;
    return settleAll(options, (receipt) => receipt.extend(visibility).then(() => 'extended'));
  },
});

function positionalReceipts(yargs: Argv<GlobalOptions>) {
  return yargs.positional('receipts', {
    type: 'string',
    array: true,
    demandOption: true,
    describe: 'Receipts as `receive` prints them; - reads them from standard input, one a line',
  });
}

/** Exit code 1 when none is held any more, 4 when some are not. */
async function settleAll(
  options: ReceiptArguments,
  settle: (receipt: Receipt) => Promise<string>,
): Promise<void> {
  const receipts = await readIds(options.receipts);
  if (receipts.length === 0) throw usageError('No receipts were given.');
  const rows = await withClient(options, (client) => {
    const held = receipts.map((receipt) => client.receipt(receipt));
    return Promise.all(held.map((receipt) => settleOne(receipt, settle)));
  });
  outputOf(options).list(rows, [{ key: 'receipt' }, { key: 'outcome' }]);
  const stale = rows.filter(({ outcome }) => outcome === 'stale').length;
  if (stale > 0) process.exitCode = stale < rows.length ? EXIT.partial : EXIT.failure;
}

async function settleOne(receipt: Receipt, settle: (receipt: Receipt) => Promise<string>) {
  try {
    const outcome = await settle(receipt);
    return { receipt: receipt.receipt, outcome };
  } catch (error) {
    const { code } = error as Partial<HowdahError>;
    const isStale = code === 'HOWDAH_SETTLE_STALE' || code === 'HOWDAH_LEASE_LOST';
    if (!(error instanceof HowdahError) || !isStale) throw error;
    return { receipt: receipt.receipt, outcome: 'stale' };
  }
}
