import { STATEMENT_CHARS_MAX } from '../../core/job/job-text.js';
import type { JobsText } from '../../db/calls/enqueue.js';
import type { JoinJobs } from './enqueue-each.js';

/** Jobs of a bulk enqueue that go in one statement. */
export interface Chunk {
  readonly jobs: readonly string[];
  /** Position of each job's payload in the input. */
  readonly indexes: readonly number[];
  /** The parameter of the statement: made while the chunk before is under way. */
  readonly text: JobsText;
}

/** Collects jobs until they fill a statement: by their number, or at about 1 MiB of text. */
export class ChunkBuilder {
  readonly #jobsMax: number;
  readonly #join: JoinJobs;
  #jobs: string[] = [];
  #indexes: number[] = [];
  #chars = 0;

  constructor(jobsMax: number, join: JoinJobs) {
    this.#jobsMax = jobsMax;
    this.#join = join;
  }

  /** Whether the job must go into the next chunk. */
  isFullFor(job: string): boolean {
    return this.#jobs.length > 0 && this.#chars + job.length > STATEMENT_CHARS_MAX;
  }

  /** @returns whether the chunk is full now */
  add(index: number, job: string): boolean {
    this.#jobs.push(job);
    this.#indexes.push(index);
    this.#chars += job.length;
    return this.#jobs.length >= this.#jobsMax;
  }

  /** What there is, if anything; the next chunk begins. */
  take(): Chunk | undefined {
    if (this.#jobs.length === 0) return undefined;
    const chunk = chunkOf(this.#jobs, this.#indexes, this.#join);
    this.#jobs = [];
    this.#indexes = [];
    this.#chars = 0;
    return chunk;
  }
}

/** Both halves of a chunk of at least two jobs. */
export function halve({ jobs, indexes }: Chunk, join: JoinJobs): [Chunk, Chunk] {
  const middle = jobs.length >> 1;
  return [
    chunkOf(jobs.slice(0, middle), indexes.slice(0, middle), join),
    chunkOf(jobs.slice(middle), indexes.slice(middle), join),
  ];
}

function chunkOf(jobs: readonly string[], indexes: readonly number[], join: JoinJobs): Chunk {
  return { jobs, indexes, text: join(jobs) };
}
