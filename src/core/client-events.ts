import type { ErrorSnapshot } from './codec/error-snapshot.js';
import type { HowdahError } from './errors.js';

/** A job in an event of a client. */
export interface EnqueuedRef {
  readonly id: string;
  readonly queue: string;
}

/** What a client reports, after the commit of what it reports. */
export interface ClientEvents {
  /**
   * A job is new. `isCommitted` is false in a transaction of the caller: whether that commits is not known
   * here.
   */
  'job.enqueued': { readonly job: EnqueuedRef; readonly isCommitted: boolean };
  /** Its dedupe key was taken: `job` is the first one of the key. */
  'job.deduplicated': { readonly job: EnqueuedRef; readonly isCommitted: boolean };
  /** `receive` gave it out. */
  'job.received': { readonly job: EnqueuedRef & { readonly attempt: number } };
  /**
   * A received job is settled: `completed`, `scheduled`, `ready`, `dead`, `cancelled`. The queue is
   * undefined for a receipt that names none.
   */
  'job.settled': {
    readonly job: { readonly id: string; readonly queue: string | undefined };
    readonly outcome: string;
  };
  /** `cancel` ended it: it waited. */
  'job.cancelled': { readonly job: { readonly id: string }; readonly reason: string | undefined };
  /** `cancel` found it running: its worker is told, and reports how it ended. */
  'job.cancel-requested': {
    readonly job: { readonly id: string };
    readonly reason: string | undefined;
  };
  /** `cancelWhere` ended, or told the workers of, so many. */
  'jobs.cancelled': {
    readonly cancelled: number;
    readonly requested: number;
    readonly reason: string | undefined;
  };
  /** `redrive` sent it back to `job.queue`, from the dead-letter queue where it lay. */
  'job.redriven': { readonly job: EnqueuedRef; readonly from: string };
  /** `discard` deleted it. The queue, from which it came, is null where that is gone. */
  'job.discarded': { readonly job: { readonly id: string; readonly queue: string | null } };
  /** An open transaction holds the queue: what was declared of it is tried again. Until then it has the policy it had. With an `error` it was refused then. */
  'declaration.held': {
    readonly what: 'queue';
    readonly name: string;
    readonly error: HowdahError | undefined;
  };
  /** Something threw that should not have, in a part that goes on: please report it. */
  'part.threw': { readonly part: string; readonly error: ErrorSnapshot };
  /** A listener of events threw; only the log is told. */
  'listener.threw': { readonly error: ErrorSnapshot };
}
