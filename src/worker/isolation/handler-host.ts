import { HowdahError, problemOf } from '../../core/errors.js';
import type { Job } from '../../core/job/job.js';
import type { Handler } from '../handler/binding.js';
import { decideReturned, decideThrown, type EndFacts } from '../settle/decide.js';
import type { IsolatedContext } from './isolated-context.js';
import { loadHandler } from './load-handler.js';
import type { LoadAnswer, RunAnswer } from './messages.js';

/** The worker knows better, and decides again: see `file-call.ts`. */
const UNDISTURBED: EndFacts = {
  abortCode: undefined,
  isSignalUsed: false,
  isCancelRequested: false,
  isCompletedIn: false,
};

/** Lives in a thread or process: loads the handler file once and runs jobs. */
export class HandlerHost {
  readonly #file: string;
  #loading: Promise<Handler> | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  async load(): Promise<LoadAnswer> {
    try {
      await this.#handler();
      return {};
    } catch (error) {
      if (!(error instanceof HowdahError) || !error.remedy) throw error;
      return { problem: problemOf(error), remedy: error.remedy };
    }
  }

  /** Never rejects. */
  async run(job: Job, context: IsolatedContext): Promise<RunAnswer> {
    try {
      const handler = await this.#handler();
      const value: unknown = await handler(job, context);
      const decision = decideReturned(value, UNDISTURBED);
      return { decision, isThrown: false, isSignalUsed: context.isSignalUsed };
    } catch (thrown) {
      const decision = decideThrown(thrown, UNDISTURBED);
      return { decision, isThrown: true, isSignalUsed: context.isSignalUsed };
    }
  }

  #handler(): Promise<Handler> {
    this.#loading ??= loadHandler(this.#file).catch((error) => {
      this.#loading = undefined; // somebody may repair the file
      throw error;
    });
    return this.#loading;
  }
}
