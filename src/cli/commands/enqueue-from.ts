import { closeSync, openSync, writeSync } from 'node:fs';
import { outputOf, usageError, withClient } from '../context.js';
import { EXIT, exitCodeOf } from '../exit-codes.js';
import { type FeedAccount, Feeder, FeedStopped } from '../input/feeder.js';
import type { BadRecord } from '../input/record.js';
import { openSource } from '../input/source.js';
import { ProgressLine, rateText } from '../progress.js';
import { describeError } from '../report-error.js';
import { shortened, showCount, visible } from '../terminal-text.js';
import { type EnqueueArguments, jobOptionsOf } from './enqueue-arguments.js';

/** So many malformed lines are shown one by one; all of them go to --rejects. */
const SHOWN_MAX = 20;
const INTERRUPTED = 130;

/** `enqueue --from`: a job for each line, and at the end an exact account. */
export async function enqueueFrom(options: EnqueueArguments, from: string): Promise<void> {
  const jobOptions = jobOptionsOf(options);
  const rejects = new Rejects(options.rejects);
  const source = openSource({ from, format: options.format, delimiter: options.delimiter });
  let isInterrupted = false;
  const interrupt = (): void => {
    isInterrupted = true;
    source.stop();
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  try {
    await withClient(options, async (client) => {
      const start = performance.now();
      const feeder: Feeder = new Feeder({
        client,
        queue: options.queue,
        options: jobOptions,
        onError: options.onError as 'stop' | 'skip',
        onRejected: (record) => rejects.add(record, progress),
      });
      const { account } = feeder;
      const progress = new ProgressLine(() => ({
        text: rateText(account.enqueued, account.rejected, (performance.now() - start) / 1_000),
        share: source.bytesTotal ? source.bytesRead() / source.bytesTotal : undefined,
      }));
      const stopped = await feeder.run(source.records).catch((error: unknown) => error);
      progress.end();
      rejects.end();
      report(options, account, stopped, isInterrupted);
    });
  } finally {
    process.removeListener('SIGINT', interrupt).removeListener('SIGTERM', interrupt);
    source.stop();
    rejects.close();
  }
}

function report(
  options: EnqueueArguments,
  account: FeedAccount,
  stopped: unknown,
  isInterrupted: boolean,
): void {
  const { read, enqueued, rejected, unknown } = account;
  const notTried = read - enqueued - rejected - unknown;
  const line = stopped instanceof FeedStopped ? stopped.line : undefined;
  const full = {
    read,
    enqueued,
    rejected,
    ...(unknown > 0 ? { unknown } : {}),
    ...(notTried > 0 ? { notTried } : {}),
    ...(line === undefined ? {} : { stoppedAtLine: line }),
    ...(isInterrupted ? { interrupted: true } : {}),
  };
  const output = outputOf(options);
  if (output.mode === 'table') output.line(sentenceOf(account, line, isInterrupted));
  else output.record(full);
  if (rejected > 0) process.exitCode = EXIT.partial;
  if (isInterrupted) process.exitCode = INTERRUPTED;
  if (stopped === undefined) return;
  if (!(stopped instanceof FeedStopped)) throw stopped;
  process.stderr.write(`${describeError(stopped.cause, options.verbose)}\n`);
  const isLineToBlame = stopped.cause.code.startsWith('HOWDAH_PAYLOAD');
  process.exitCode = isLineToBlame ? EXIT.failure : exitCodeOf(stopped.cause);
}

function sentenceOf(account: FeedAccount, line: number | undefined, isInterrupted: boolean) {
  const { read, enqueued, rejected, unknown } = account;
  const notTried = read - enqueued - rejected - unknown;
  const parts = [
    `${showCount(read)} read`,
    `${showCount(enqueued)} enqueued`,
    `${showCount(rejected)} rejected`,
    ...(unknown > 0 ? [`${showCount(unknown)} enqueued or not`] : []),
    ...(notTried > 0 ? [`${showCount(notTried)} not tried`] : []),
  ];
  const end = line === undefined ? '' : `; stopped at line ${line}`;
  return `${parts.join(', ')}${end}${isInterrupted ? '; interrupted' : ''}.`;
}

/** The lines that are passed over: the first on standard error, all of them in a file if wanted. */
class Rejects {
  readonly #file: number | undefined;
  #count = 0;

  constructor(file: string | undefined) {
    this.#file = file === undefined ? undefined : open(file);
  }

  add(record: BadRecord, progress: ProgressLine): void {
    this.#count += 1;
    if (this.#file !== undefined) writeSync(this.#file, `${JSON.stringify(record)}\n`);
    if (this.#count > SHOWN_MAX) return;
    const text = shortened(visible(record.problem), 300);
    progress.above(
      `line ${record.line} ${text.startsWith('is ') || text.startsWith('has ') ? text : `is refused: ${text}`}`,
    );
  }

  end(): void {
    const hidden = this.#count - SHOWN_MAX;
    if (hidden <= 0) return;
    const where = this.#file === undefined ? '; --rejects FILE keeps all of them' : '';
    process.stderr.write(`... and ${showCount(hidden)} more${where}\n`);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }
}

function open(file: string): number {
  try {
    return openSync(file, 'w');
  } catch (error) {
    throw usageError(`${file} cannot be written: ${(error as Error).message}.`);
  }
}
