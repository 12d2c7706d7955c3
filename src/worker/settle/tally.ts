import type { EventHub } from '../../core/events.js';
import type { SettleVerb } from '../../core/job/outcome.js';
import type { SettleOutcome } from '../../db/calls/settle.js';
import type { Attempt } from './attempt.js';

/** How many attempts ended how, as the database confirmed. */
export interface Counts {
  readonly completed: number;
  /** Failed; the job runs again. */
  readonly failed: number;
  /** Sent to a dead-letter queue, by a failure or by the handler's wish. */
  readonly dead: number;
  readonly snoozed: number;
  /** Given back; the attempt does not count. */
  readonly released: number;
  readonly cancelled: number;
  readonly expired: number;
  /** The job was no longer this worker's; nothing was changed. */
  readonly stale: number;
}

/** Of a worker that has run nothing yet. */
export const NO_COUNTS: Counts = Object.freeze({
  completed: 0,
  failed: 0,
  dead: 0,
  snoozed: 0,
  released: 0,
  cancelled: 0,
  expired: 0,
  stale: 0,
});

/** Counts settled attempts and reports each as an event. */
export class Tally {
  readonly counts: { -readonly [K in keyof Counts]: Counts[K] } = { ...NO_COUNTS };
  readonly #hub: EventHub;

  constructor(hub: EventHub) {
    this.#hub = hub;
  }

  /** @param runAtMs Unix time in milliseconds when the job runs again; null: not, or at once */
  settled(attempt: Attempt, outcome: SettleOutcome, runAtMs: number | null): void {
    const key = this.#keyOf(attempt, outcome);
    this.counts[key]++;
    if (key !== 'completed' || this.#hub.hears('job.completed'))
      this.#report(attempt, key, runAtMs);
    if (attempt.settlement?.verb === 'rate_limited' && key === 'released') {
      const { delayMs: waitMs = 0 } = attempt.settlement;
      this.#hub.emit('job.rate-limited', { job: attempt.ref, waitMs });
    }
  }

  #keyOf(attempt: Attempt, outcome: SettleOutcome): keyof Counts {
    switch (outcome) {
      case 'scheduled':
      case 'ready':
        return keyOfWaiting(attempt.settlement?.verb);
      default:
        return outcome;
    }
  }

  #report(attempt: Attempt, key: keyof Counts, runAtMs: number | null): void {
    const job = attempt.ref;
    const { durationMs, settlement } = attempt;
    const runAt = runAtMs === null ? null : new Date(runAtMs);
    const error = settlement?.error;
    const hub = this.#hub;
    if (key === 'completed') hub.emit('job.completed', { job, durationMs });
    else if (key === 'failed') hub.emit('job.failed', { job, durationMs, error, runAt });
    else if (key === 'snoozed') hub.emit('job.snoozed', { job, runAt });
    else if (key === 'dead') hub.emit('job.dead', { job, error });
    else if (key === 'stale') {
      const outcome = settlement?.verb ?? 'complete';
      hub.emit('job.stale', { job, outcome, isUncertain: attempt.isUncertain });
    } else hub.emit(`job.${key}`, { job });
  }
}

function keyOfWaiting(verb: SettleVerb | undefined): 'snoozed' | 'released' | 'failed' {
  if (verb === 'snooze') return 'snoozed';
  return verb === 'release' || verb === 'rate_limited' ? 'released' : 'failed';
}
