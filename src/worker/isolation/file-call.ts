import type { Codecs } from '../../core/codec.js';
import type { HowdahError } from '../../core/errors.js';
import type { JobRef } from '../../core/events.js';
import type { Job } from '../../core/job.js';
import type { Binding } from '../binding.js';
import { type Call, type EndAttempt, factsOf } from '../call.js';
import { decideAnswered, decideReturned, decideThrown } from '../decide.js';
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
    codecs?: Codecs,
  ) {
    this.#pool = pool;
    this.#makeJob = jobMakerOf(binding, codecs);
    this.#around = binding.around;
    this.#onCrash = onCrash;
  }

  async invoke(run: Run, context: JobContext): Promise<unknown> {
    const [attempt] = run.attempts;
    if (!attempt?.row) return undefined;
    const job: Job = await this.#makeJob(attempt.row, attempt);
    const runIt = (): Promise<RunAnswer> => this.#pool.run(job, context);
    return this.#around ? this.#around(job, context, runIt) : runIt();
  }

  returned(run: Run, value: unknown, end: EndAttempt): void {
    for (const attempt of run.attempts) {
      if (!isAnswer(value)) {
        // middleware has put something in its place
        end(attempt, decideReturned(value, factsOf(run, attempt)));
        continue;
      }
      const answer = value;
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

function isAnswer(value: unknown): value is RunAnswer {
  return typeof value === 'object' && value !== null && 'decision' in value;
}
