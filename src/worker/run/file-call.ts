import type { Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import type { JobRef } from '../../core/events.js';
import type { Job } from '../../core/job/job.js';
import { permanently } from '../../core/job/outcome.js';
import { isTooDeep, JSON_DEPTH_MAX } from '../../core/json.js';
import type { Binding } from '../handler/binding.js';
import type { JobContext } from '../handler/job-context.js';
import type { HandlerPool } from '../isolation/handler-pool.js';
import type { RunAnswer } from '../isolation/messages.js';
import type { Attempt } from '../settle/attempt.js';
import { decideAnswered, decideReturned, decideThrown } from '../settle/decide.js';
import { type Call, type EndAttempt, factsOf } from './call.js';
import { type JobMaker, jobMakerOf } from './job-maker.js';
import type { Run } from './run.js';

/** One job a call, in a thread or process. */
export class FileCall implements Call {
  readonly #pool: HandlerPool;
  readonly #makeJob: JobMaker;
  readonly #around: Binding['around'];
  /** Tells what came over from what middleware returned. */
  readonly #answers = new WeakSet<object>();
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
    const isSuspect = attempt.row[4] < 0;
    refuseDeep(attempt.row[1], attempt.row[5]?.[5]);
    const job: Job = await this.#makeJob(attempt.row, attempt);
    const runIt = (): Promise<RunAnswer> => this.#run(job, context, attempt, isSuspect);
    return this.#around ? this.#around(job, context, runIt) : runIt();
  }

  returned(run: Run, value: unknown, end: EndAttempt): void {
    for (const attempt of run.attempts) {
      const facts = factsOf(run, attempt);
      if (this.#isAnswer(value)) {
        const { isSignalUsed } = value;
        end(attempt, decideAnswered(value, { ...facts, isSignalUsed }));
      } else end(attempt, decideReturned(value, facts)); // middleware has put it in its place
    }
  }

  thrown(run: Run, thrown: unknown, end: EndAttempt): void {
    for (const attempt of run.attempts) end(attempt, decideThrown(thrown, factsOf(run, attempt)));
  }

  async #run(
    job: Job,
    context: JobContext,
    { ref }: Attempt,
    isSuspect: boolean,
  ): Promise<RunAnswer> {
    const pool = this.#pool;
    try {
      const answer = await (isSuspect ? pool.runApart(job, context) : pool.run(job, context));
      this.#answers.add(answer);
      return answer;
    } catch (error) {
      const { code } = error as HowdahError;
      if (code === 'HOWDAH_HANDLER_CRASHED') this.#onCrash(ref, error as HowdahError);
      throw error;
    }
  }

  #isAnswer(value: unknown): value is RunAnswer {
    return typeof value === 'object' && value !== null && this.#answers.has(value);
  }
}

/**
 * What was stored by other ways than ours may be nested so deep that copying it into a thread or process fails in
 * there, where nobody hears of it.
 */
function refuseDeep(...stored: readonly unknown[]): void {
  if (!stored.some((value) => isTooDeep(value))) return;
  const problem = `The payload or a header is nested deeper than ${JSON_DEPTH_MAX} levels.`;
  throw permanently(
    new HowdahError('HOWDAH_PAYLOAD_INVALID', problem, {
      remedy: 'It was not enqueued by a function of Howdah; enqueue it flatter.',
    }),
  );
}
