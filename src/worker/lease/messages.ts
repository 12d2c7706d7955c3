import type { DatabaseOptions } from '../../db/options.js';
import type { LeaseSignalsData } from './signals.js';

/** What the lease thread is started with. */
export interface LeaseThreadData {
  /** Without the pool, which cannot be handed to a thread. */
  readonly database: Omit<DatabaseOptions, 'pool'>;
  /** How to connect where there is a pool instead of a URL. */
  readonly poolConfig: object | undefined;
  readonly signals: LeaseSignalsData;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
}

/** To the thread: renew this lease from now on. */
export interface RenewMessage {
  readonly leaseId: string;
  readonly generation: number;
}

/** From the thread, about the lease of a generation. */
export type LeaseMessage =
  /** One of its jobs has a cancel request. */
  | { readonly type: 'attention'; readonly generation: number }
  /** The database does not know the lease any more. */
  | { readonly type: 'gone'; readonly generation: number };
