import type { Codecs } from '../../core/codec/codec.js';
import { describeValue } from '../../core/describe-value.js';
import { HowdahError } from '../../core/errors.js';
import type { Job } from '../../core/job/job.js';
import { settlementOf } from '../../core/job/outcome.js';
import type { BatchHandler, Binding } from '../handler/binding.js';
import type { JobContext } from '../handler/job-context.js';
import type { Attempt } from '../settle/attempt.js';
import { decideReturned, decideThrown } from '../settle/decide.js';
import { type Call, type EndAttempt, factsOf } from './call.js';
import { type JobMaker, jobMakerOf } from './job-maker.js';
import type { Run } from './run.js';

/** Many jobs a call. Jobs whose payload does not fit are left out of it and fail on their own. */
export class BatchCall implements Call {
  readonly #handler: BatchHandler;
  readonly #makeJob: JobMaker;
  readonly #end: EndAttempt;

  /** @param end ends attempts before the handler is called */
  constructor(binding: Binding, end: EndAttempt, codecs?: Codecs) {
    this.#handler = binding.handler as BatchHandler;
    this.#makeJob = jobMakerOf(binding, codecs);
    this.#end = end;
  }

  invoke(run: Run, context: JobContext): unknown {
    const made = run.attempts.map((attempt) => this.#make(attempt));
    if (made.some((job) => job instanceof Promise)) {
      return Promise.all(made).then((jobs) => this.#call(run, jobs, context));
    }
    return this.#call(run, made as (Job | Refused)[], context);
  }

  returned(run: Run, value: unknown, end: EndAttempt): void {
    const { attempts } = run;
    const entryOf = readEntries(value, attempts);
    if (entryOf instanceof Error) {
      this.thrown(run, entryOf, end);
      return;
    }
    const inOrder = orderly(end);
    attempts.forEach((attempt, index) => {
      const entry = entryOf(attempt, index);
      const facts = factsOf(run, attempt);
      const decision =
        entry instanceof Error ? decideThrown(entry, facts) : decideReturned(entry, facts);
      inOrder(attempt, decision);
    });
  }

  thrown(run: Run, thrown: unknown, end: EndAttempt): void {
    const inOrder = orderly(end);
    for (const attempt of run.attempts) {
      inOrder(attempt, decideThrown(thrown, factsOf(run, attempt)));
    }
  }

  #make(attempt: Attempt): Job | Refused | Promise<Job | Refused> {
    if (!attempt.row) return new Refused(undefined);
    try {
      const job = this.#makeJob(attempt.row, attempt);
      return job instanceof Promise ? job.catch((error) => new Refused(error)) : job;
    } catch (error) {
      return new Refused(error);
    }
  }

  #call(run: Run, made: readonly (Job | Refused)[], context: JobContext): unknown {
    const jobs: Job[] = [];
    const taking: Attempt[] = [];
    run.attempts.forEach((attempt, index) => {
      const job = made[index];
      if (job instanceof Refused) {
        this.#end(attempt, decideThrown(job.error, factsOf(run, attempt)));
      } else if (job) {
        jobs.push(job);
        taking.push(attempt);
      }
    });
    run.attempts = taking;
    return jobs.length === 0 ? undefined : this.#handler(jobs, context);
  }
}

const AGAIN: ReadonlySet<string> = new Set(['fail', 'snooze', 'release', 'rate_limited']);

/**
 * Of a strict group only the first that is to run again does so by itself; the others wait behind it, at
 * their places, and their attempts do not count.
 */
function orderly(end: EndAttempt): EndAttempt {
  let isHeldUp = false;
  return (attempt, decision) => {
    const isAgain = AGAIN.has(decision.settlement.verb);
    const isWaiting = isAgain && isHeldUp && attempt.isFollower;
    isHeldUp ||= isAgain;
    end(attempt, isWaiting ? { settlement: { verb: 'release' } } : decision);
  };
}

/** A job that could not be made. */
class Refused {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

type EntryOf = (attempt: Attempt, index: number) => unknown;

/** What the handler said of each job, or why that cannot be understood. */
function readEntries(value: unknown, attempts: readonly Attempt[]): EntryOf | HowdahError {
  if (value === undefined || settlementOf(value)) return () => value;
  if (value instanceof Map) return ({ id }) => value.get(id);
  if (Array.isArray(value)) {
    if (value.length === attempts.length) return (_, index) => value[index];
    return invalid(`an array of ${value.length} for ${attempts.length} jobs`);
  }
  return invalid(describeValue(value));
}

function invalid(what: string): HowdahError {
  return new HowdahError('HOWDAH_HANDLER_INVALID', `The batch handler returned ${what}.`, {
    remedy: 'Return nothing, an array aligned with the jobs, or a Map by job id.',
  });
}
