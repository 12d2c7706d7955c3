import type { HowdahError } from '../../core/errors.js';
import type { JobRef } from '../../core/events.js';
import type { Job } from '../../core/job.js';
import type { Binding } from '../binding.js';
import { type Call, type EndAttempt, factsOf } from '../call.js';
import { decideAnswered, decideThrown } from '../decide.js';
import type { JobContext } from '../job-context.js';
import { type JobMaker, jobMakerOf } from '../job-maker.js';
import type { Run } from '../run.js';
import type { HandlerPool } from './handler-pool.js';
import type { RunAnswer } from './messages.js';

/** One job a call, in a thread or process. */
export class FileCall implements Call {
  readonly #pool: HandlerPool;
  readonly #makeJob: JobMaker;
  readonly #around: Binding['around'];
  readonly #onCrash: (job: JobRef, error: HowdahError) => void;

  /** @param onCrash what ran the job has ended before it answered */
  constructor(
    binding: Binding,
    pool: HandlerPool,
    onCrash: (job: JobRef, error: HowdahError) => void,
  ) {
    this.#pool = pool;
    this.#makeJob = jobMakerOf(binding);
    this.#around = binding.around;
    this.#onCrash = onCrash;
  }

  async invoke(run: Run, context: JobContext): Promise<unknown> {
    const row = run.attempts[0]?.row;
    if (!row) return undefined;
    const job: Job = await this.#makeJob(row);
    const runIt = (): Promise<RunAnswer> => this.#pool.run(job, context);
    return this.#around ? this.#around(job, runIt) : runIt();
  }

  returned(run: Run, value: unknown, end: EndAttempt): void {
    const answer = value as RunAnswer;
    for (const attempt of run.attempts) {
      const facts = { ...factsOf(run, attempt), isSignalUsed: answer.isSignalUsed };
      end(attempt, decideAnswered(answer, facts));
    }
  }

  thrown(run: Run, thrown: unknown, end: EndAttempt): void {
    const { code } = (thrown ?? {}) as Partial<HowdahError>;
    for (const attempt of run.attempts) {
      if (code === 'HOWDAH_HANDLER_CRASHED') this.#onCrash(attempt.ref, thrown as HowdahError);
      end(attempt, decideThrown(thrown, factsOf(run, attempt)));
    }
  }
}
