import type { Clock } from '../../core/clock.js';
import type { HandlerFile } from '../handler/handler-file.js';
import type { HandlerPool } from './handler-pool.js';
import { ProcessPool } from './process-pool.js';
import { ThreadPool } from './thread-pool.js';

/**
 * Opens nothing yet.
 * @param onReady one that had ended has been replaced: another job may begin
 */
export function makePool(file: HandlerFile, clock: Clock, onReady: () => void): HandlerPool {
  return file.kind === 'thread'
    ? new ThreadPool(file, onReady)
    : new ProcessPool(file, clock, onReady);
}
