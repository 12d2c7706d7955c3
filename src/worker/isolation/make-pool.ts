import type { Clock } from '../../core/clock.js';
import type { HandlerFile } from './handler-file.js';
import type { HandlerPool } from './handler-pool.js';
import { ProcessPool } from './process-pool.js';
import { ThreadPool } from './thread-pool.js';

/** Opens nothing yet. */
export function makePool(file: HandlerFile, clock: Clock): HandlerPool {
  return file.kind === 'thread' ? new ThreadPool(file) : new ProcessPool(file, clock);
}
