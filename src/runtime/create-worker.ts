import { Maintainer } from '../maintenance/maintainer.js';
import type { WorkerOptions } from '../worker/options.js';
import { Worker } from '../worker/worker.js';

/**
 * Makes a worker for some queues; `start()` begins. Unless `maintain` is false it also stands for
 * election to do the upkeep of the installation.
 * @throws HowdahError HOWDAH_OPTION_INVALID, HOWDAH_HANDLER_INVALID
 */
export function createWorker(options: WorkerOptions): Worker {
  return new Worker(options, (access) => new Maintainer(access));
}
