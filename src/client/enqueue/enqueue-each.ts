import { joinJobs } from '../../core/job/job-text.js';
import type { Settled } from '../../core/time/batcher.js';
import {
  type Enqueued,
  type EnqueueReport,
  type JobsText,
  outcomeOf,
} from '../../db/calls/enqueue.js';
import { isFaultOfData } from './send.js';

/** Runs one enqueue statement that reports. */
export type SendJobs = (jobs: JobsText) => Promise<EnqueueReport>;

/** The same, but it gives up a lock after so many milliseconds: see `isHeld`. */
export type PatientSendJobs = (jobs: JobsText, lockMs: number) => Promise<EnqueueReport>;

/** Makes the parameter of an enqueue statement. */
export type JoinJobs = (jobs: readonly string[]) => JobsText;

/** How {@link reportJobs} goes about it. */
interface ReportWays {
  readonly send: SendJobs;
  /** Default: texts of whole jobs. */
  readonly join?: JoinJobs;
  /** False in a transaction of the caller, which a failure has aborted. Default true. */
  readonly mayResend?: boolean;
  /** The jobs joined, where the caller has done so already. */
  readonly text?: JobsText;
}

/**
 * Enqueues jobs by one statement and says of each what became of it. Where something about one job
 * fails the whole statement, which then had no effect, the halves are sent again until the culprit
 * stands alone: neighbours never suffer.
 * @throws whatever failed the statement and is no job's fault
 */
export async function reportJobs(
  jobs: readonly string[],
  { send, join = joinJobs, mayResend = true, text = join(jobs) }: ReportWays,
): Promise<readonly Settled<Enqueued>[]> {
  try {
    const report = await send(text);
    return jobs.map((_, i) => outcomeOf(report, i));
  } catch (error) {
    if (!mayResend || !isFaultOfData(error)) throw error;
    if (jobs.length === 1) return [{ error }];
    const middle = jobs.length >> 1;
    return [
      ...(await reportHalf(jobs.slice(0, middle), { send, join })),
      ...(await reportHalf(jobs.slice(middle), { send, join })),
    ];
  }
}

/** The other half may have been enqueued: its callers must not hear of this half's failure. */
async function reportHalf(
  jobs: readonly string[],
  ways: ReportWays,
): Promise<readonly Settled<Enqueued>[]> {
  try {
    return await reportJobs(jobs, ways);
  } catch (error) {
    return jobs.map(() => ({ error }));
  }
}
