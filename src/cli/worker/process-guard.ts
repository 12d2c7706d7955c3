import { writeSync } from 'node:fs';
import { constants } from 'node:os';
import { snapshotError } from '../../core/codec/error-snapshot.js';
import type { Logger } from '../../telemetry/logger.js';
import type { RunningJobs } from './running-jobs.js';

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** What the guard tells. */
interface GuardListener {
  /** First signal, or an exception that nobody caught: stop in good order. */
  onStop(why: string): void;
  /** Second signal: hurry. */
  onHurry(why: string): void;
}

/**
 * Watches over the process of a worker. A signal asks it to stop, a second one to hurry, a third one
 * ends it. A rejection that nobody handled, left behind by a handler, is logged and no more; an
 * exception that nobody caught is logged and stops the worker. When something ends the process
 * without stopping the worker (`process.exit` in a handler), the jobs that ran are named.
 */
export class ProcessGuard {
  readonly #running: RunningJobs;
  readonly #logger: Logger;
  readonly #leaseText: string;
  readonly #listener: GuardListener;
  #signals = 0;
  #isOver = false;
  /** An exception that nobody caught: the exit code is 1. */
  isBroken = false;

  constructor(parts: {
    readonly running: RunningJobs;
    readonly logger: Logger;
    /** How long until others run the jobs of a process that died. */
    readonly leaseText: string;
    readonly listener: GuardListener;
  }) {
    this.#running = parts.running;
    this.#logger = parts.logger;
    this.#leaseText = parts.leaseText;
    this.#listener = parts.listener;
    for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    process.on('unhandledRejection', this.#onRejection);
    process.on('uncaughtException', this.#onException);
    process.on('exit', this.#onExit);
  }

  /** The worker has stopped; nothing is left to watch. */
  end(): void {
    this.#isOver = true;
    for (const signal of SIGNALS) process.removeListener(signal, this.#onSignal);
    process.removeListener('exit', this.#onExit);
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.#signals += 1;
    if (this.#signals === 1 && !this.isBroken) this.#listener.onStop(signal);
    else if (this.#signals <= 2) this.#listener.onHurry(signal);
    else process.exit(128 + constants.signals[signal]);
  };

  readonly #onRejection = (reason: unknown): void => {
    this.#logger.error('process.unhandled-rejection', { error: snapshotError(reason) });
  };

  readonly #onException = (error: unknown): void => {
    this.#logger.error('process.uncaught-exception', { error: snapshotError(error) });
    if (this.isBroken) return;
    this.isBroken = true;
    if (this.#signals === 0) this.#listener.onStop('an exception that nobody caught');
  };

  /** Nothing asynchronous runs any more. */
  readonly #onExit = (): void => {
    if (this.#isOver) return;
    const jobs = this.#running.all.map(({ id, queue, attempt }) => `${queue}/${id}#${attempt}`);
    const what = jobs.length > 0 ? jobs.slice(0, 100).join(' ') : 'none';
    const text = `howdah: the process ends without stopping its worker. Running jobs: ${what}\n  They run elsewhere within ${this.#leaseText}.\n`;
    try {
      writeSync(2, text);
    } catch {
      // nobody reads it
    }
    process.exitCode ||= 1;
  };
}
