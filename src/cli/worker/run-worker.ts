import type { Logger, LogLevel } from '../../telemetry/logger.js';
import type { WorkerOptions } from '../../worker/options.js';
import type { RunOnceReport, Worker } from '../../worker/worker.js';
import { EXIT } from '../exit-codes.js';
import type { Output } from '../output.js';
import { ProcessGuard } from './process-guard.js';
import { RunningJobs } from './running-jobs.js';
import { StopAccount } from './stop-account.js';
import { textLogger } from './text-log.js';

/** How a worker is run from the command line. */
interface RunWorkerOptions {
  readonly worker: WorkerOptions;
  readonly output: Output;
  /** Ends by itself when nothing is ready, or after this time. */
  readonly once?: { readonly deadline: WorkerOptions['lease'] };
  readonly onStarted?: (worker: Worker) => void;
  /** Stops the worker as a signal would, when it resolves; the exit code is 1 then. */
  readonly until?: Promise<string>;
}

/**
 * Runs a worker until a signal stops it.
 * @returns the exit code
 * @throws whatever starting it throws
 */
export async function runWorker(options: RunWorkerOptions): Promise<number> {
  const { output } = options;
  const { createWorker } = await import('../../runtime/create-worker.js');
  const running = new RunningJobs();
  const worker = createWorker({
    ...options.worker,
    queues: options.worker.queues.map((binding) => running.track(binding)),
  });
  const logger = options.worker.logger as Logger;
  let account: StopAccount | undefined;
  let reason = '';
  const stop = (why: string): void => {
    reason ||= why;
    account ??= new StopAccount(worker, running, output);
    if (output.mode === 'json') output.json({ event: 'stopping', why, running: account.count });
    else output.line(`${why}: stopping (jobs running: ${account.count}); once more to hurry`);
    if (options.once) hurry(worker);
    void worker.stop();
  };
  const guard = new ProcessGuard({
    running,
    logger,
    leaseText: String(options.worker.lease ?? '30s'),
    listener: { onStop: stop, onHurry: () => hurry(worker) },
  });
  let isOver = false;
  let isCutOff = false;
  void options.until?.then((why) => {
    if (isOver) return;
    isCutOff = true;
    stop(why);
  });
  try {
    if (options.once) await runOnce(worker, options.once.deadline ?? '24h', output);
    else {
      await worker.start();
      options.onStarted?.(worker);
      await worker.stopped;
    }
    const report = await worker.stop();
    account?.end(reason, report, worker.counts);
  } finally {
    isOver = true;
    guard.end();
  }
  return guard.isBroken || isCutOff ? EXIT.failure : EXIT.ok;
}

function hurry(worker: Worker): void {
  void worker.stop();
  void worker.stop();
}

async function runOnce(
  worker: Worker,
  deadline: NonNullable<WorkerOptions['lease']>,
  output: Output,
): Promise<RunOnceReport> {
  const report = await worker.runOnce({ deadline });
  output.record(report);
  return report;
}

/** Standard error: text on a terminal, else JSON lines. */
export async function makeLogger(level: LogLevel | 'silent', isJson: boolean): Promise<Logger> {
  if (process.stderr.isTTY && !isJson) {
    return textLogger(level, (line) => void process.stderr.write(`${line}\n`));
  }
  const { jsonLogger } = await import('../../telemetry/logger.js');
  return jsonLogger({ level });
}

/** Ends the process although handlers may have left timers behind, once all is written. */
export async function exitWith(code: number): Promise<never> {
  const written = [process.stdout, process.stderr].map(
    (stream) => new Promise<void>((resolve) => stream.write('', () => resolve())),
  );
  const timer = new Promise<void>((resolve) => setTimeout(resolve, 2_000).unref());
  await Promise.race([Promise.all(written), timer]);
  process.exit(code);
}
