import type { Job } from '../../core/job/job.js';
import type { HandlerFile } from '../handler/handler-file.js';
import type { JobContext } from '../handler/job-context.js';
import { HandlerProcess } from './handler-process.js';
import type { RunAnswer } from './messages.js';

/** A process that nobody needs ends after this time. */
const IDLE_MS = 5_000;

/** Processes for the suspects of a handler that runs in threads: started when one is needed, ended soon after. */
export class SpareProcesses {
  readonly #file: HandlerFile;
  readonly #all = new Set<HandlerProcess>();
  readonly #idle: HandlerProcess[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(file: HandlerFile) {
    this.#file = file;
  }

  /** @throws HowdahError as `HandlerPool.run` */
  async run(job: Job, context: JobContext): Promise<RunAnswer> {
    const taken = this.#idle.pop() ?? (await this.#start());
    try {
      return await taken.run(job, context);
    } finally {
      if (!taken.isEnded) this.#idle.push(taken);
      this.#endLater();
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await Promise.all([...this.#all].map((each) => each.close()));
  }

  async #start(): Promise<HandlerProcess> {
    const started: HandlerProcess = new HandlerProcess(this.#file, () => {
      this.#all.delete(started);
      const at = this.#idle.indexOf(started);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    this.#all.add(started);
    await started.loaded;
    return started;
  }

  #endLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      for (const each of this.#idle.splice(0)) void each.close();
    }, IDLE_MS);
    this.#timer.unref();
  }
}
