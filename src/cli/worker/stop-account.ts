import type { WorkerEvent } from '../../core/events.js';
import type { Counts } from '../../worker/settle/tally.js';
import type { StopReport } from '../../worker/stop/stop-report.js';
import type { Worker } from '../../worker/worker.js';
import type { Output } from '../output.js';
import { showMs } from '../terminal-text.js';
import type { RunningJob, RunningJobs } from './running-jobs.js';

/** So many jobs are told of one by one. */
const SHOWN_MAX = 200;

/** Tells, while a worker stops, what became of each job that was running. */
export class StopAccount {
  readonly #output: Output;
  readonly #open: Map<string, RunningJob>;
  readonly #unlisten: () => void;
  #shown = 0;

  constructor(worker: Worker, running: RunningJobs, output: Output) {
    this.#output = output;
    this.#open = new Map(running.all.map((job) => [job.id, job]));
    this.#unlisten = worker.onEvent((event) => this.#hear(event));
  }

  get count(): number {
    return this.#open.size;
  }

  /** Everything has been said. @param why the signal @param life counts since the start */
  end(why: string, report: StopReport, life: Counts): void {
    this.#unlisten();
    for (const job of this.#open.values()) this.#tell(job, 'unsettled');
    const { completed, failed, released, aborted, left } = report;
    if (this.#output.mode === 'json') {
      this.#output.json({ event: 'stopped', why, ...report, life });
      return;
    }
    const cut = aborted > 0 ? `; ${aborted} were aborted after the grace` : '';
    const held = left > 0 ? `; ${left} end when an open transaction lets go of them` : '';
    this.#output.line(
      `stopped (${why}): while stopping ${completed} completed, ${failed} failed, ${released} released${cut}${held}`,
    );
    this.#output.line(`since its start: ${showCounts(life)}`);
  }

  #hear(event: WorkerEvent): void {
    if (!event.type.startsWith('job.') || !('job' in event)) return;
    if (event.type === 'job.timed-out' || event.type === 'job.result-replaced') return;
    const job = this.#open.get(event.job.id);
    if (!job) return;
    this.#open.delete(job.id);
    this.#tell(job, event.type.slice('job.'.length));
  }

  #tell({ id, queue, attempt, since }: RunningJob, outcome: string): void {
    this.#shown += 1;
    if (this.#shown > SHOWN_MAX) return;
    const tookMs = Math.round(performance.now() - since);
    if (this.#output.mode === 'json') {
      this.#output.json({ event: 'job', id, queue, attempt, outcome, tookMs });
    } else {
      this.#output.line(
        `job ${id} of ${queue}, attempt ${attempt}: ${outcome} after ${showMs(tookMs)}`,
      );
    }
  }
}

/** The counts that are not 0; completed and failed always. */
function showCounts(counts: Counts): string {
  return Object.entries(counts)
    .filter(([key, count]) => count > 0 || key === 'completed' || key === 'failed')
    .map(([key, count]) => `${count} ${key}`)
    .join(', ');
}
