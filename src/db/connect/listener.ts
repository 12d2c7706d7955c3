import type { Clock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import { type Fence, fenceOf } from '../../core/fence.js';
import { Alarm } from '../../core/time/alarm.js';
import { channelOf, type LeaseCalls } from '../calls/leases.js';
import { toHowdahError } from '../errors/pg-error.js';
import type { Executor, Session } from '../executor.js';
import type { Line } from './line.js';

/** Longest poll interval while rings do not arrive, whatever was set in trust of them. */
export const DEAF_POLL_MAX_MS = 2_000;
/** How often the listener makes sure that it hears. */
const TEST_EVERY_MS = 8_000;
/** How long it waits to hear itself. */
const HEAR_MS = 3_000;
const TEST = 't';

/** What a listener is made of. */
interface ListenerParts {
  readonly calls: LeaseCalls;
  /** The connection that listens. */
  readonly line: Line;
  /** Another connection, to ring from. */
  readonly other: Executor;
  readonly clock: Clock;
  readonly hub: EventHub;
  readonly pollMs: number;
  /** '' = look for work, 'q' and a name = in this queue, 'c' = look for cancel requests, 'p' = look for what is due soon. */
  readonly onRing: (payload: string) => void;
  readonly onHearing: (isHearing: boolean) => void;
  /** Default: one that tells the hub. */
  readonly fence?: Fence;
}

/**
 * Listens on the channel of the lease, on a connection of its own. NOTIFY is a hint: through a
 * transaction pooler, or after a silent cut, nothing arrives and nobody says so. So it rings itself
 * through another connection, at the start and every 8 s, and is distrusted while it does not hear that.
 *
 *   deaf → (rings itself and hears it) → hearing → (does not, or the connection breaks) → deaf
 */
export class Listener {
  readonly #parts: ListenerParts;
  readonly #next: Alarm;
  readonly #fence: Fence;
  #leaseId: string | undefined;
  #channel: string | undefined;
  #isHearing = false;
  #isDeafSaid = false;
  #heard: (() => void) | undefined;
  #isClosed = false;

  constructor(parts: ListenerParts) {
    this.#parts = parts;
    this.#next = new Alarm(parts.clock);
    this.#fence = parts.fence ?? fenceOf(parts.clock, parts.hub);
  }

  /** Begins to listen for a lease, or goes over to the channel of another. */
  follow(leaseId: string): void {
    this.#leaseId = leaseId;
    this.#next.ring();
  }

  /** The connection was made anew: nothing is listened to on it yet. */
  reconnected(): void {
    this.#channel = undefined;
    this.#isHearing = false; // what was said meanwhile is lost: when it hears again, it looks around
    this.#next.ring();
  }

  /** Tests until it is closed. */
  async run(): Promise<void> {
    await this.#fence.loop('listen', async () => {
      if (!this.#isClosed) await this.#test();
      if (!this.#isClosed) await this.#next.wait(TEST_EVERY_MS);
      return !this.#isClosed;
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#heard?.();
    this.#next.ring();
  }

  async #test(): Promise<void> {
    const leaseId = this.#leaseId;
    if (leaseId === undefined) return;
    const { line, calls, other } = this.#parts;
    try {
      const session = await this.#sessionSoon();
      if (!session) return this.#deaf('there is no connection to listen on');
      if (session.isPooled) return this.#deaf('a transaction pooler drops notifications');
      await this.#listen(leaseId);
      const heard = this.#hears();
      heard.catch(() => undefined); // awaited below, where that is reached
      if (!(await calls.ringSelf(other, leaseId, TEST))) {
        this.#heard?.();
        return this.#deaf("the server's queue of notifications is half full");
      }
      if (await heard) this.#hearing(leaseId);
      else if (!this.#isClosed) {
        this.#deaf('a notification to itself did not arrive');
        line.replace(new HowdahError('HOWDAH_TIMEOUT', 'The LISTEN connection hears nothing.'));
      }
    } catch (error) {
      if (!this.#isClosed) this.#deaf(toHowdahError(error).message);
    }
  }

  async #listen(leaseId: string): Promise<void> {
    const channel = channelOf(leaseId);
    if (channel === this.#channel) return;
    const session = await this.#parts.line.session();
    if (this.#channel) await session.unlisten(this.#channel);
    this.#channel = undefined;
    await session.listen(channel, (payload) => this.#onNotify(payload));
    this.#channel = channel;
  }

  async #sessionSoon(): Promise<Session | undefined> {
    const { line, clock } = this.#parts;
    const done = new AbortController();
    const late = clock.sleep(HEAR_MS, done.signal).then(() => undefined);
    return Promise.race([line.session(), late]).finally(() => done.abort());
  }

  #onNotify(payload: string): void {
    if (payload === TEST) this.#heard?.();
    else this.#fence.call('ring', () => this.#parts.onRing(payload));
  }

  async #hears(): Promise<boolean> {
    let isHeard = false;
    const giveUp = new AbortController();
    this.#heard = () => {
      isHeard = !this.#isClosed;
      giveUp.abort();
    };
    await this.#parts.clock.sleep(HEAR_MS, giveUp.signal);
    this.#heard = undefined;
    return isHeard;
  }

  #hearing(leaseId: string): void {
    if (this.#isHearing) return;
    this.#isHearing = true;
    this.#parts.hub.emit('listener.hearing', { leaseId });
    this.#fence.call('listen', () => this.#parts.onHearing(true));
  }

  #deaf(reason: string): void {
    if (!this.#isHearing && this.#isDeafSaid) return;
    this.#isHearing = false;
    this.#isDeafSaid = true;
    const { hub, onHearing } = this.#parts;
    const pollMs = Math.min(this.#parts.pollMs, DEAF_POLL_MAX_MS);
    hub.emit('listener.deaf', { reason, pollMs });
    this.#fence.call('listen', () => onHearing(false));
  }
}
