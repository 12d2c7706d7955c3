/** What became of the jobs that a worker held when it was told to stop. */
export interface StopReport {
  /** Finished within the grace. */
  readonly completed: number;
  /** Failed within the grace, and are retried or dead. */
  readonly failed: number;
  /** Given back, attempts uncounted: not begun, or cut short. */
  readonly released: number;
  /** Of the released: were running, and were told to stop when the grace was over. */
  readonly aborted: number;
  /**
   * Finished, while an open transaction of an application had the job: it ends as its handler returned when
   * that transaction is over, and does not run again.
   */
  readonly left: number;
}

/** How to stop. */
export interface StopOptions {
  /** How long running jobs may take to finish, in milliseconds or as text. Default: the worker's. */
  readonly grace?: import('../../core/time/duration.js').Duration;
}
