import { type ErrorSnapshot, snapshotError } from './codec/error-snapshot.js';
import type { HowdahError } from './errors.js';

/** A job in an event. */
export interface JobRef {
  readonly id: string;
  readonly queue: string;
  readonly attempt: number;
}

/** What a worker reports. `type` tells which; all times are milliseconds. */
export interface WorkerEvents {
  /** It does not start yet, and tries again: see option `startWithin`. */
  'worker.waiting': {
    readonly worker: string;
    readonly error: HowdahError;
    readonly againMs: number;
  };
  /**
   * An open transaction holds the queue, or the schedules of its owner: what was declared is tried again until it
   * is done. The worker goes on; a queue follows the policy that it has. With an `error` it was refused then, and is given
   * up until the next start.
   */
  'declaration.held': {
    readonly what: 'queue' | 'schedules';
    readonly name: string;
    readonly error: HowdahError | undefined;
  };
  'worker.started': { readonly worker: string; readonly leaseId: string };
  /** Told from outside: it claims no more, finishes what it holds, then stops. */
  'worker.draining': { readonly worker: string; readonly reason: string };
  'worker.stopping': { readonly worker: string };
  'worker.stopped': { readonly worker: string };
  /** It is held by this worker; most claims bring many. Only told to listeners. */
  'job.claimed': { readonly job: JobRef };
  /** Its handler is called. Only told to listeners. */
  'job.started': { readonly job: JobRef };
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
  /**
   * These jobs begin: their worker died when they ran last. `isAlone`: with nothing beside them; else in a process of
   * their own, or because others have waited long enough.
   */
  'job.suspected': {
    readonly queue: string;
    readonly ids: readonly string[];
    readonly isAlone: boolean;
  };
  /** The attempt ran into its time-out; it counts as failed from now on. */
  'job.timed-out': { readonly job: JobRef; readonly timeoutMs: number };
  /** A result could not be stored; the job is completed with a placeholder. */
  'job.result-replaced': { readonly job: JobRef; readonly problem: string };
  /** A handler reported progress or a log line of a job that is no longer its own. Told once an attempt. */
  'job.report-ignored': { readonly job: JobRef; readonly error: HowdahError };
  /** Progress and log lines of so many jobs could not be written; they are dropped. */
  'report.failed': { readonly jobs: number; readonly error: HowdahError };
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
  /** Its outcome could not be stored for as long as a lease: the job is given back and runs again. */
  'job.abandoned': { readonly job: JobRef; readonly error: HowdahError };
  /** Something threw that should not have, in a part that goes on: please report it. */
  'part.threw': { readonly part: string; readonly error: ErrorSnapshot };
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
export type EventOf<Events, T extends keyof Events = keyof Events> = {
  [K in T]: { readonly type: K } & Events[K];
}[T];

export type EventListener<Events> = (event: EventOf<Events>) => void;

export type WorkerEvent = EventOf<WorkerEvents>;

export type WorkerEventListener = EventListener<WorkerEvents>;

/** Frequent: only those who listen hear of them. */
const QUIET: ReadonlySet<string> = new Set(['job.claimed', 'job.started', 'job.completed']);

/** Hands events to listeners. A listener that throws disturbs nobody. */
export class EventHub<Events extends object = WorkerEvents> {
  readonly #all = new Set<EventListener<Events>>();
  readonly #byType = new Map<keyof Events, Set<EventListener<Events>>>();
  readonly #log: EventListener<Events & ThrewEvents>;

  /** @param log receives every event but those of {@link QUIET}, whether anybody listens or not */
  constructor(log: EventListener<Events & ThrewEvents> = () => {}) {
    this.#log = log;
  }

  /** Whether anybody listens: lets the hot path skip making events. */
  hears(type: keyof Events): boolean {
    return this.#all.size > 0 || (this.#byType.get(type)?.size ?? 0) > 0;
  }

  /** @returns a function that takes the listener away */
  add(listener: EventListener<Events>): () => void {
    // a wrapper of its own, so that the same function added twice is removed once
    const own: EventListener<Events> = (event) => listener(event);
    this.#all.add(own);
    return () => void this.#all.delete(own);
  }

  /** Hears the events of one type. @returns a function that takes the listener away */
  on<T extends keyof Events>(type: T, listener: (event: EventOf<Events, T>) => void): () => void {
    const own: EventListener<Events> = (event) => listener(event as EventOf<Events, T>);
    const those = this.#byType.get(type) ?? new Set();
    this.#byType.set(type, those.add(own));
    return () => void those.delete(own);
  }

  emit<T extends keyof Events & string>(type: T, facts: Events[T]): void {
    const event = { type, ...facts } as unknown as EventOf<Events>;
    if (!QUIET.has(type)) this.#tell(this.#log as EventListener<Events>, event);
    for (const listener of this.#all) this.#tell(listener, event);
    for (const listener of this.#byType.get(type) ?? []) this.#tell(listener, event);
  }

  #tell(listener: EventListener<Events>, event: EventOf<Events>): void {
    try {
      const returned: unknown = listener(event);
      if (returned instanceof Promise) returned.catch((error) => this.#onThrow(listener, error));
    } catch (error) {
      this.#onThrow(listener, error);
    }
  }

  #onThrow(listener: EventListener<Events>, error: unknown): void {
    const log = this.#log as EventListener<Events>;
    if (listener === log) return;
    const event: EventOf<ThrewEvents> = { type: 'listener.threw', error: snapshotError(error) };
    this.#tell(log, event as unknown as EventOf<Events>);
  }
}

/** What every log is told. */
type ThrewEvents = Pick<WorkerEvents, 'listener.threw'>;
