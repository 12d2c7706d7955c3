import type { Job } from '../../core/job/job.js';
import type { JobContext } from './job-context.js';

/**
 * Runs what is below: the next middleware, in the end the handler. Resolves to what that returned, rejects
 * with what it threw. To be called once.
 */
export type NextAttempt = () => Promise<unknown>;

/**
 * Surrounds the calls of handlers. What it throws fails the attempt as a handler's throw does. What it
 * returns goes in place of what the handler returned, an outcome such as `snooze('5m')` too; undefined
 * hands on what `next` gave, value or error. To make a success of a failure, return a value, null
 * perhaps. Without a call of `next` the handler is not run, and it has to return a value.
 *
 * The attempt lasts until both middleware and handler have ended, or until its time-out.
 * @param input what the handler gets: a job, or the jobs of a batch, decoded and valid
 */
export type AttemptMiddleware<Input = Job | readonly Job[]> = (
  input: Input,
  context: JobContext,
  next: NextAttempt,
) => unknown | Promise<unknown>;
