import type { Job } from '../../core/job/job.js';
import type { Around, Binding } from '../../worker/handler/binding.js';

/** A job whose handler has begun and not returned. */
export interface RunningJob {
  readonly id: string;
  readonly queue: string;
  readonly attempt: number;
  readonly since: number;
}

/** Knows which handlers run, so that it can be said what became of each when the process ends. */
export class RunningJobs {
  readonly #jobs = new Map<string, RunningJob>();

  get all(): RunningJob[] {
    return [...this.#jobs.values()];
  }

  /** The same binding, watched. */
  track(binding: Binding): Binding {
    const { handler } = binding;
    if (!handler) return this.#trackFile(binding);
    const watched = (input: never, context: never): unknown => {
      const jobs = [input].flat() as unknown as readonly Job[];
      for (const job of jobs) this.#begin(job);
      try {
        const returned = handler(input, context);
        if (returned instanceof Promise) return returned.finally(() => this.#end(jobs));
        this.#end(jobs);
        return returned;
      } catch (error) {
        this.#end(jobs);
        throw error;
      }
    };
    return Object.freeze({ ...binding, handler: watched });
  }

  #trackFile(binding: Binding): Binding {
    const around: Around = (job, _context, run) => {
      this.#begin(job);
      return run().finally(() => this.#end([job]));
    };
    return Object.freeze({ ...binding, around });
  }

  #begin({ id, queue, attempt }: Job): void {
    this.#jobs.set(id, { id, queue, attempt, since: performance.now() });
  }

  #end(jobs: readonly Job[]): void {
    for (const { id, attempt } of jobs) {
      if (this.#jobs.get(id)?.attempt === attempt) this.#jobs.delete(id);
    }
  }
}
