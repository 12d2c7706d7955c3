import { hostname } from 'node:os';
import type { Clock } from '../../core/clock.js';
import type { Fence } from '../../core/fence.js';
import { pullCalls } from '../../db/calls/pull.js';
import type { Database } from '../../db/database.js';
import { PullStation, type RingSubject } from './station.js';

/** The listening connection is closed when nobody has waited for this long. */
const IDLE_MS = 5_000;

/** A part of the client that waits at the station. */
interface StationUser {
  readonly about: RingSubject;
  /** @param whose the jobs, or the queue, that it is about; undefined: any */
  readonly onRing: (whose?: readonly string[]) => void;
  /** The station has been closed, and every registration has gone with it. */
  readonly onClosed: () => void;
}

/** The one station of a client: made when somebody waits, closed when nobody has for a while. */
export class SharedStation {
  /** Name of this process in the leases. */
  readonly consumer = `${hostname()}:${process.pid}`.slice(0, 200);
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #fence: Fence;
  readonly #users: StationUser[] = [];
  #station: PullStation | undefined;
  #idle: NodeJS.Timeout | undefined;
  #holds = 0;
  #isClosed = false;

  constructor(database: Database, clock: Clock, fence: Fence) {
    this.#database = database;
    this.#clock = clock;
    this.#fence = fence;
  }

  use(user: StationUser): void {
    this.#users.push(user);
  }

  /** It connects when somebody registers. */
  get(): PullStation {
    this.#station ??= new PullStation({
      database: this.#database,
      calls: pullCalls(this.#database),
      consumer: this.consumer,
      clock: this.#clock,
      fence: this.#fence,
      onRing: (about, whose) => {
        for (const user of this.#users) {
          if (user.about === about) this.#fence.call('ring', () => user.onRing(whose));
        }
      },
    });
    return this.#station;
  }

  /** Somebody waits. @returns a function to call once when that is over */
  hold(): () => void {
    this.#holds += 1;
    clearTimeout(this.#idle);
    return () => {
      this.#holds -= 1;
      if (this.#holds === 0 && !this.#isClosed) this.#closeLater();
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#idle);
    await this.#station?.close();
  }

  #closeLater(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (this.#holds > 0) return;
      const station = this.#station;
      this.#station = undefined;
      for (const user of this.#users) this.#fence.call('station', () => user.onClosed());
      void station?.close().catch(() => undefined);
    }, IDLE_MS);
    this.#idle.unref();
  }
}
