import { whenAborted } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import type { Clock } from '../../core/clock.js';
import type { Job } from '../../core/job.js';
import type { JobContext } from '../job-context.js';
import type { HandlerFile } from './handler-file.js';
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
  readonly #file: HandlerFile;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  readonly #all = new Set<HandlerProcess>();
  readonly #idle: HandlerProcess[] = [];
  readonly #waiting = new Set<Waiter>();
  #failures = 0;

  constructor(file: HandlerFile, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  async open(): Promise<void> {
    try {
      await this.#start();
      await Promise.all(Array.from({ length: this.#file.size - 1 }, () => this.#start()));
    } catch (error) {
      await this.close();
      throw error;
    }
    for (const each of this.#all) void this.#replaceWhenEnded(each);
  }

  async run(job: Job, context: JobContext): Promise<RunAnswer> {
    const taken = this.#idle.pop() ?? (await this.#wait(context.signal));
    try {
      return await taken.run(job, context);
    } finally {
      this.#offer(taken);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#all].map((each) => each.close()));
  }

  /** Starts one and offers it when it has loaded the file. */
  async #start(): Promise<HandlerProcess> {
    const started = new HandlerProcess(this.#file);
    this.#all.add(started);
    void started.ended.then(() => {
      this.#all.delete(started);
      const at = this.#idle.indexOf(started);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    await started.loaded;
    this.#offer(started);
    return started;
  }

  async #replaceWhenEnded(process: HandlerProcess): Promise<void> {
    await process.ended;
    while (!this.#closing.signal.aborted) {
      try {
        const started = await this.#start();
        this.#failures = 0;
        void this.#replaceWhenEnded(started);
        return;
      } catch (error) {
        // it loaded before: jobs that wait fail rather than wait for somebody to repair the file
        this.#failures += 1;
        if (this.#idle.length === 0) for (const { reject } of this.#waiting) reject(error);
        const waitMs = backoffMs(this.#failures, RESTART, this.#clock.random());
        await this.#clock.sleep(waitMs, this.#closing.signal);
      }
    }
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
