import type { Clock } from '../core/clock.js';
import type { EventHub } from '../core/events.js';
import type { Outage } from '../core/time/outage.js';
import type { Database } from '../db/database.js';

/** What runs beside a worker under the same lease: the maintenance of the installation. */
export interface Companion {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** `p`: a delayed job may be due soon; `s`: a schedule has changed. */
  notice(kind: 'p' | 's'): void;
}

/** What a companion draws on. */
interface CompanionAccess {
  readonly database: Database;
  readonly clock: Clock;
  readonly hub: EventHub;
  /** Shared with the connections of the worker. */
  readonly outage: Outage;
  readonly leaseMs: number;
  /** The worker's lease now; undefined while there is none. */
  readonly leaseId: () => string | undefined;
}

export type CompanionFactory = (access: CompanionAccess) => Companion;
