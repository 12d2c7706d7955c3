import type { Clock } from '../core/clock.js';
import { HowdahError } from '../core/errors.js';
import { Turns } from '../core/time/turns.js';
import type { Database } from '../db/database.js';
import type { Executor, Statement } from '../db/executor.js';
import { isHeld, makePatient } from '../db/patience.js';

/** How long a statement waits for each lock: at first, and where few calls are held. */
export const LOCK_MS = 100;
/** Where many are held, so that each has its turn soon. */
export const BRIEF_LOCK_MS = 25;
/** Where others stand in line for their first try: it tells those that are held from those that are not. */
const GLANCE_MS = 5;
/** Most held calls that are tried at once: a pool has ten connections unless it is told otherwise. */
const HELD_MAX = 2;
const PAUSE_MS = 20;
/** Of a line apart: as if the pool had so many. */
const APART_MAX = 4;

/** A statement that gives up a lock after so many milliseconds. */
type PatientCall<T> = (lockMs: number) => Promise<T>;

/** What {@link HeldCalls} is made with. */
interface HeldCallsOptions {
  readonly clock: Clock;
  /** How long a call may be held. */
  readonly limitMs: number;
  /** Connections of the pool. */
  readonly connectionsMax: number;
}

/**
 * Calls that may have to wait for somebody's transaction. Each is tried for a moment, and given up where a
 * lock is not to be had; what is held takes turns on two connections until it gets through or its time is over. So held
 * calls never use up the pool, and calls that nobody holds up go on.
 */
export class HeldCalls {
  readonly #clock: Clock;
  readonly #limitMs: number;
  /** First tries: they may take half of the pool. */
  readonly #first: Turns;
  readonly #again: Turns;
  #held = 0;

  constructor({ clock, limitMs, connectionsMax }: HeldCallsOptions) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#first = new Turns(Math.max(1, connectionsMax >> 1));
    this.#again = new Turns(connectionsMax < 8 ? 1 : HELD_MAX);
  }

  /** A line of its own, for calls that must not stand behind these. */
  apart(): HeldCalls {
    return new HeldCalls({ clock: this.#clock, limitMs: this.#limitMs, connectionsMax: APART_MAX });
  }

  /** @throws HowdahError HOWDAH_TIMEOUT where it was held for too long */
  async run<T>(call: PatientCall<T>): Promise<T> {
    const since = this.#clock.monotonic();
    try {
      return await this.#first.run(() => call(this.#first.waiting > 0 ? GLANCE_MS : LOCK_MS));
    } catch (error) {
      if (!isHeld(error)) throw error;
    }
    return this.again(call, since);
  }

  /** A call that was held. @param since when it was made, on the monotonic clock */
  async again<T>(call: PatientCall<T>, since: number): Promise<T> {
    this.#held++;
    try {
      for (;;) {
        try {
          return await this.#again.run(() => call(this.#held > HELD_MAX ? BRIEF_LOCK_MS : LOCK_MS));
        } catch (error) {
          if (!isHeld(error)) throw error;
          if (this.isOver(since)) throw heldTooLong(error, this.#limitMs);
        }
        await this.#clock.sleep(PAUSE_MS);
      }
    } finally {
      this.#held--;
    }
  }

  /** Whether a call that was made then may be held no longer. */
  isOver(since: number): boolean {
    return this.#clock.monotonic() - since >= this.#limitMs;
  }
}

function heldTooLong(cause: HowdahError, waitedMs: number): HowdahError {
  return new HowdahError(
    'HOWDAH_TIMEOUT',
    `A lock that it needs was held by another transaction for ${waitedMs} ms: nothing was done.`,
    {
      cause,
      details: { ...cause.details, waitedMs },
      remedy:
        'End the transaction that has its group, dedupe key, batch or row (docs/operations.md, Vacuum and long transactions), or raise statementTimeout.',
    },
  );
}

/** Runs statements so that none of them waits on a connection of the pool for somebody's transaction. */
export class PatientExecutor implements Executor {
  readonly #database: Database;
  readonly #held: HeldCalls;
  readonly #statements = new WeakMap<Statement, Statement>();

  constructor(database: Database, held: HeldCalls) {
    this.#database = database;
    this.#held = held;
  }

  /** @param statement its first parameter is an argument of a function: see {@link makePatient} */
  query<R extends object>(statement: Statement, values: readonly unknown[] = []): Promise<R[]> {
    let patient = this.#statements.get(statement);
    if (!patient) {
      patient = makePatient(statement, values.length);
      this.#statements.set(statement, patient);
    }
    const asked = patient;
    return this.#held.run((ms) => this.#database.query<R>(asked, [...values, ms]));
  }
}
