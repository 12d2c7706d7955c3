import type { Clock } from '../../core/clock.js';
import type { Job } from '../../core/job/job.js';
import { whenAborted } from '../../core/time/abort.js';
import { backoffMs } from '../../core/time/backoff.js';
import type { HandlerFile } from '../handler/handler-file.js';
import type { JobContext } from '../handler/job-context.js';
import type { HandlerPool } from './handler-pool.js';
import { HandlerProcess } from './handler-process.js';
import type { RunAnswer } from './messages.js';

/** Between two starts of a process whose file does not load any more. */
const RESTART = { min: 100, max: 30_000 };

interface Waiter {
  readonly resolve: (process: HandlerProcess) => void;
  readonly reject: (error: unknown) => void;
}

/** Child processes, one job each at a time. One that ends is replaced. */
export class ProcessPool implements HandlerPool {
  starting = 0;
  readonly #file: HandlerFile;
  readonly #clock: Clock;
  readonly #onReady: () => void;
  readonly #closing = new AbortController();
  readonly #all = new Set<HandlerProcess>();
  readonly #idle: HandlerProcess[] = [];
  readonly #waiting = new Set<Waiter>();
  #isOpen = false;

  /** @param onReady a process has been replaced, or could not be */
  constructor(file: HandlerFile, clock: Clock, onReady: () => void) {
    this.#file = file;
    this.#clock = clock;
    this.#onReady = onReady;
  }

  async open(): Promise<void> {
    try {
      await this.#start();
      await Promise.all(Array.from({ length: this.#file.size - 1 }, () => this.#start()));
    } catch (error) {
      await this.close();
      throw error;
    }
    this.#isOpen = true;
  }

  async run(job: Job, context: JobContext): Promise<RunAnswer> {
    const taken = this.#idle.pop() ?? (await this.#wait(context.signal));
    try {
      return await taken.run(job, context);
    } finally {
      this.#offer(taken);
    }
  }

  runApart(job: Job, context: JobContext): Promise<RunAnswer> {
    return this.run(job, context);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#all].map((each) => each.close()));
  }

  /** Starts one and offers it when it has loaded the file. */
  async #start(): Promise<void> {
    const started = new HandlerProcess(this.#file, () => this.#onEnd(started));
    this.#all.add(started);
    await started.loaded;
    this.#offer(started);
  }

  #onEnd(process: HandlerProcess): void {
    this.#all.delete(process);
    const at = this.#idle.indexOf(process);
    if (at >= 0) this.#idle.splice(at, 1);
    // one that never loaded is started again by who started it
    if (this.#isOpen && process.isLoaded) void this.#replace();
  }

  async #replace(): Promise<void> {
    this.starting += 1;
    let isStarted = await this.#tryStart();
    this.starting -= 1;
    this.#onReady();
    for (let failures = 1; !isStarted; failures++) {
      const waitMs = backoffMs(failures, RESTART, this.#clock.random());
      await this.#clock.sleep(waitMs, this.#closing.signal);
      isStarted = await this.#tryStart();
    }
  }

  /** A file that does not load any more fails the jobs that wait: somebody has to repair it. */
  async #tryStart(): Promise<boolean> {
    if (this.#closing.signal.aborted) return true;
    try {
      await this.#start();
    } catch (error) {
      for (const { reject } of this.#waiting) reject(error);
      return false;
    }
    return true;
  }

  #offer(process: HandlerProcess): void {
    if (process.isEnded) return;
    const [next] = this.#waiting;
    if (!next) this.#idle.push(process);
    else next.resolve(process);
  }

  /** Until one is free: only when one has just been ended are there fewer than slots. */
  async #wait(signal: AbortSignal): Promise<HandlerProcess> {
    let waiter: Waiter | undefined;
    let forget = (): void => {};
    try {
      return await new Promise((resolve, reject) => {
        waiter = { resolve, reject };
        this.#waiting.add(waiter);
        forget = whenAborted(signal, () => reject(signal.reason));
        if (signal.aborted) reject(signal.reason);
      });
    } finally {
      forget();
      if (waiter) this.#waiting.delete(waiter);
    }
  }
}
