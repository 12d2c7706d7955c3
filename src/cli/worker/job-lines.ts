import type { WorkerEvent } from '../../core/events.js';
import type { Worker } from '../../worker/worker.js';
import type { Output } from '../output.js';
import { showCount, showMs } from '../terminal-text.js';

/** More jobs than this in a second are counted, not named. */
const LINES_A_SECOND = 20;

/** A line for each job that was completed, as long as a person could read them. */
export function showCompletedJobs(worker: Worker, output: Output): void {
  let inSecond = 0;
  const timer = setInterval(() => {
    const hidden = inSecond - LINES_A_SECOND;
    if (hidden > 0) output.line(`... and ${showCount(hidden)} more completed`);
    inSecond = 0;
  }, 1_000).unref();
  worker.onEvent((event: WorkerEvent) => {
    if (event.type === 'worker.stopped') clearInterval(timer);
    if (event.type !== 'job.completed') return;
    inSecond += 1;
    if (inSecond > LINES_A_SECOND) return;
    const { job, durationMs } = event;
    output.line(`job ${job.id} of ${job.queue}: completed in ${showMs(durationMs)}`);
  });
}
