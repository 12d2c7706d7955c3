import type { Clock } from './clock.js';
import { type ErrorSnapshot, snapshotError } from './codec/error-snapshot.js';
import { type BackoffBounds, backoffMs } from './time/backoff.js';

/** Where `part.threw` is told. */
interface FaultHub {
  emit(type: 'part.threw', facts: { part: string; error: ErrorSnapshot }): void;
}

/** A fence that tells the listeners of a worker, or of a client. */
export function fenceOf(clock: Clock, hub: FaultHub): Fence {
  return new Fence(clock, (part, thrown) =>
    hub.emit('part.threw', { part, error: snapshotError(thrown) }),
  );
}

/** Told of what should not have been thrown: in which part, and what. Must not throw. */
type OnFault = (part: string, thrown: unknown) => void;

/** Between two turns of a loop of which the last has thrown. */
const PACE: BackoffBounds = { min: 50, max: 5_000 };

/**
 * What nobody awaits must not throw: as an unhandled rejection that ends the process, or ends a loop on which
 * everything rests without a word. Whatever runs by itself, a loop, a timer, a callback, runs inside a
 * fence: what it throws is reported, and it goes on.
 */
export class Fence {
  readonly #clock: Clock;
  readonly #onFault: OnFault;

  constructor(clock: Clock, onFault: OnFault) {
    this.#clock = clock;
    this.#onFault = onFault;
  }

  /** Calls something. @returns its answer; undefined: it has thrown */
  call<T>(part: string, run: () => T): T | undefined {
    try {
      return run();
    } catch (thrown) {
      this.report(part, thrown);
      return undefined;
    }
  }

  /** Never rejects. */
  async follow(part: string, run: () => void | Promise<void>): Promise<void> {
    try {
      await run();
    } catch (thrown) {
      this.report(part, thrown);
    }
  }

  /**
   * Takes turns until one returns false or `signal` aborts. Never rejects: after a turn that has thrown there is
   * a pause, which grows with each.
   */
  async loop(part: string, turn: () => Promise<boolean>, signal?: AbortSignal): Promise<void> {
    for (let failures = 0; !signal?.aborted; ) {
      try {
        if (!(await turn())) return;
        failures = 0;
      } catch (thrown) {
        this.report(part, thrown);
        failures += 1;
        await this.#clock.sleep(backoffMs(failures, PACE, this.#clock.random()), signal);
      }
    }
  }

  report(part: string, thrown: unknown): void {
    try {
      this.#onFault(part, thrown);
    } catch {
      // who is told cannot be told of that
    }
  }
}
