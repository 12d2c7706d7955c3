import type { WorkerEvent, WorkerEventListener, WorkerEventType } from '../core/events.js';
import type { Logger, LogLevel } from './logger.js';

/** How loudly each event is logged. */
const LEVELS: Readonly<Record<WorkerEventType, LogLevel>> = {
  'worker.waiting': 'warn',
  'declaration.held': 'warn',
  'worker.started': 'info',
  'worker.draining': 'info',
  'worker.stopping': 'info',
  'worker.stopped': 'info',
  'job.claimed': 'debug',
  'job.started': 'debug',
  'job.completed': 'debug',
  'job.failed': 'info',
  'job.snoozed': 'debug',
  'job.released': 'debug',
  'job.dead': 'warn',
  'job.cancelled': 'info',
  'job.expired': 'info',
  'job.stale': 'warn',
  'job.suspected': 'warn',
  'job.timed-out': 'warn',
  'job.result-replaced': 'warn',
  'job.report-ignored': 'warn',
  'report.failed': 'warn',
  'handler.leaked': 'warn',
  'handler.crashed': 'warn',
  'lease.opened': 'debug',
  'lease.lost': 'warn',
  'lease.thread-ended': 'warn',
  'listener.hearing': 'info',
  'listener.deaf': 'warn',
  'job.abandoned': 'error',
  'part.threw': 'error',
  'listener.threw': 'error',
  'connection.lost': 'warn',
  'connection.restored': 'info',
  'queue.missing': 'warn',
  'queue.found': 'info',
  'queue.held': 'warn',
  'queue.freed': 'info',
  'job.rate-limited': 'warn',
  'claim.failed': 'warn',
  'settle.failed': 'warn',
  'maintenance.leading': 'info',
  'maintenance.resigned': 'info',
  'maintenance.failed': 'warn',
  'maintenance.done': 'debug',
};

/** Writes events to a logger: the message is the type, the fields are the facts. */
export function eventLog(logger: Logger): WorkerEventListener {
  return ({ type, ...facts }: WorkerEvent) => logger[LEVELS[type]](type, facts);
}
