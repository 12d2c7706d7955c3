import { type ErrorSnapshot, snapshotError } from './error-snapshot.js';
import type { HowdahError } from './errors.js';

/** A job in an event. */
export interface JobRef {
  readonly id: string;
  readonly queue: string;
  readonly attempt: number;
}

/** What a worker reports. `type` tells which; all times are milliseconds. */
export interface WorkerEvents {
  'worker.started': { readonly worker: string; readonly leaseId: string };
  /** Told from outside: it claims no more, finishes what it holds, then stops. */
  'worker.draining': { readonly worker: string; readonly reason: string };
  'worker.stopping': { readonly worker: string };
  'worker.stopped': { readonly worker: string };
  /** The attempt is settled as completed. */
  'job.completed': { readonly job: JobRef; readonly durationMs: number };
  /** The attempt is settled as failed; the job runs again at `runAt` (null: now). */
  'job.failed': {
    readonly job: JobRef;
    readonly durationMs: number;
    readonly error: ErrorSnapshot | undefined;
    readonly runAt: Date | null;
  };
  'job.snoozed': { readonly job: JobRef; readonly runAt: Date | null };
  'job.released': { readonly job: JobRef };
  /** The job lies in its dead-letter queue. */
  'job.dead': { readonly job: JobRef; readonly error: ErrorSnapshot | undefined };
  'job.cancelled': { readonly job: JobRef };
  'job.expired': { readonly job: JobRef };
  /**
   * The database refused the outcome: the job is no longer this worker's. `outcome` is what was asked.
   * `isUncertain`: it was asked before and the reply got lost, so the first try may have done it.
   */
  'job.stale': {
    readonly job: JobRef;
    readonly outcome: string;
    readonly isUncertain: boolean;
  };
  /** The attempt ran into its time-out; it counts as failed from now on. */
  'job.timed-out': { readonly job: JobRef; readonly timeoutMs: number };
  /** A result could not be stored; the job is completed with a placeholder. */
  'job.result-replaced': { readonly job: JobRef; readonly problem: string };
  /** The handler still runs although its attempt has ended; its slot is free again. */
  'handler.leaked': { readonly job: JobRef; readonly afterMs: number };
  /** The thread or process that ran the handler has ended; the attempt has failed. */
  'handler.crashed': { readonly job: JobRef; readonly reason: string };
  'lease.opened': { readonly leaseId: string };
  /** Attempts were aborted and a new lease is opened. */
  'lease.lost': { readonly leaseId: string; readonly reason: string };
  /** The lease is renewed by the main thread while the lease thread is started again. */
  'lease.thread-ended': { readonly reason: string };
  /** The worker hears notifications (again). */
  'listener.hearing': { readonly leaseId: string };
  /** Notifications do not arrive; new work is found by polling until they do. */
  'listener.deaf': { readonly reason: string; readonly pollMs: number };
  'connection.lost': { readonly purpose: string; readonly error: HowdahError };
  'connection.restored': { readonly purpose: string; readonly downMs: number };
  /** The queue is gone from the database; the worker looks again at every poll. */
  'queue.missing': { readonly queue: string };
  'queue.found': { readonly queue: string };
  /** Nothing is claimed from it: `paused` (until a time), `rate-limited`, `circuit-open`. */
  'queue.held': { readonly queue: string; readonly reason: string };
  /** It is claimed from again, after `queue.held`. */
  'queue.freed': { readonly queue: string };
  /** The handler was told to come again later: the whole queue waits. */
  'job.rate-limited': { readonly job: JobRef; readonly waitMs: number };
  'claim.failed': { readonly queue: string; readonly error: HowdahError };
  'settle.failed': { readonly jobs: number; readonly error: HowdahError };
  /** A listener of events threw; only the log is told. */
  'listener.threw': { readonly error: ErrorSnapshot };
  'maintenance.leading': { readonly term: string };
  'maintenance.resigned': { readonly term: string };
  'maintenance.failed': { readonly duty: string; readonly error: HowdahError };
  /** A duty changed something. */
  'maintenance.done': {
    readonly duty: string;
    readonly counts: Readonly<Record<string, number>>;
    readonly tookMs: number;
  };
}

export type WorkerEventType = keyof WorkerEvents;

/** One event: its type beside its facts. */
export type WorkerEvent = {
  [T in WorkerEventType]: { readonly type: T } & WorkerEvents[T];
}[WorkerEventType];

export type WorkerEventListener = (event: WorkerEvent) => void;

/** Hands events to listeners. A listener that throws disturbs nobody. */
export class EventHub {
  readonly #listeners = new Set<WorkerEventListener>();
  readonly #log: WorkerEventListener;

  /** @param log receives every event but `job.completed`, whether anybody listens or not */
  constructor(log: WorkerEventListener = () => {}) {
    this.#log = log;
  }

  /** Whether anybody listens: lets the hot path skip making events. */
  get isHeard(): boolean {
    return this.#listeners.size > 0;
  }

  /** @returns a function that takes the listener away */
  add(listener: WorkerEventListener): () => void {
    // a wrapper of its own, so that the same function added twice is removed once
    const own: WorkerEventListener = (event) => listener(event);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  emit<T extends WorkerEventType>(type: T, facts: WorkerEvents[T]): void {
    const event = { type, ...facts } as unknown as WorkerEvent;
    if (type !== 'job.completed') this.#tell(this.#log, event);
    for (const listener of this.#listeners) this.#tell(listener, event);
  }

  #tell(listener: WorkerEventListener, event: WorkerEvent): void {
    try {
      const returned: unknown = listener(event);
      if (returned instanceof Promise) returned.catch((error) => this.#onThrow(listener, error));
    } catch (error) {
      this.#onThrow(listener, error);
    }
  }

  #onThrow(listener: WorkerEventListener, error: unknown): void {
    if (listener === this.#log) return;
    this.#tell(this.#log, { type: 'listener.threw', error: snapshotError(error) });
  }
}
