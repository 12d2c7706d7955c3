import type { Codecs } from '../../core/codec/codec.js';
import type { Job } from '../../core/job/job.js';
import type { Binding, Handler } from '../handler/binding.js';
import type { JobContext } from '../handler/job-context.js';
import type { Attempt } from '../settle/attempt.js';
import { type Decision, decideReturned, decideThrown, type EndFacts } from '../settle/decide.js';
import { type JobMaker, jobMakerOf } from './job-maker.js';
import type { Run } from './run.js';

/** How the handler of a binding is called, and what its answer means for each attempt. */
export interface Call {
  /** May throw, may return a promise. */
  invoke(run: Run, context: JobContext): unknown;
  /** @param end is called once for each attempt that has not ended */
  returned(run: Run, value: unknown, end: EndAttempt): void;
  thrown(run: Run, thrown: unknown, end: EndAttempt): void;
}

export type EndAttempt = (attempt: Attempt, decision: Decision) => void;

/** One job a call. */
export class SingleCall implements Call {
  readonly #handler: Handler;
  readonly #makeJob: JobMaker;

  constructor(binding: Binding, codecs?: Codecs) {
    this.#handler = binding.handler as Handler;
    this.#makeJob = jobMakerOf(binding, codecs);
  }

  invoke(run: Run, context: JobContext): unknown {
    const [attempt] = run.attempts;
    if (!attempt?.row) return undefined;
    const job = this.#makeJob(attempt.row, attempt);
    if (job instanceof Promise) return job.then((made: Job) => this.#handler(made, context));
    return this.#handler(job, context);
  }

  returned(run: Run, value: unknown, end: EndAttempt): void {
    for (const attempt of run.attempts) end(attempt, decideReturned(value, factsOf(run, attempt)));
  }

  thrown(run: Run, thrown: unknown, end: EndAttempt): void {
    for (const attempt of run.attempts) end(attempt, decideThrown(thrown, factsOf(run, attempt)));
  }
}

/** What the decision about one attempt of a run rests on. */
export function factsOf(run: Run, attempt: Attempt): EndFacts {
  return {
    abortCode: run.abortReason?.code,
    isSignalUsed: run.isSignalUsed,
    isCancelRequested: attempt.isCancelRequested,
    isCompletedIn: attempt.isCompletedIn,
  };
}
