import { Worker as Thread } from 'node:worker_threads';
import type { Clock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import { type Fence, fenceOf } from '../../core/fence.js';
import { backoffMs } from '../../core/time/backoff.js';
import type { Outage } from '../../core/time/outage.js';
import type { LeaseCalls } from '../../db/calls/leases.js';
import type { Executor } from '../../db/executor.js';
import type { DatabaseOptions } from '../../db/options.js';
import type { LeaseMessage, LeaseThreadData } from './messages.js';
import { LeaseSignals } from './signals.js';

/** Between two renewals here that failed; sooner where the heartbeat is short. */
const RENEW_RETRY_MS = 2_000;

/** What is said of a bundle, once: the worker works, from its event loop. */
const NO_THREAD =
  'the file of the thread is not beside this code, which was bundled: the lease is renewed from the event loop, and lost when a handler blocks that for longer. Keep howdah external';

/** What a lease keeper is made of. */
interface LeaseKeeperParts {
  readonly calls: LeaseCalls;
  /** A connection that no handler can use up. */
  readonly line: Executor;
  readonly database: DatabaseOptions;
  readonly worker: string;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly info: object;
  readonly clock: Clock;
  readonly hub: EventHub;
  /** Shared by what tries again in one process. */
  readonly outage: Outage;
  /** Attempts under this lease are void. Called before a new one is opened. */
  readonly onLost: (leaseId: string, reason: HowdahError) => void;
  readonly onOpened: (leaseId: string) => void;
  /** One of its jobs has a cancel request. */
  readonly onAttention: () => void;
}

/**
 * Keeps one lease open. The thread renews it; this side watches by its own clock, begun before each
 * heartbeat was sent, and gives the lease up when that says it may have ended: no worker of ours goes
 * on with jobs that others may run. Should the thread fail, this side renews.
 *
 *   none → open (a lease id) → lost (expired or gone) → open (another id) … → closed
 */
export class LeaseKeeper {
  readonly signals: LeaseSignals;
  readonly #parts: LeaseKeeperParts;
  readonly #closing = new AbortController();
  readonly #fence: Fence;
  #id: string | undefined;
  #generation = 0;
  #opening: Promise<string> | undefined;
  #thread: Thread | undefined;
  #threadFailures = 0;
  #isThreadMissing = false;
  #isRenewing = false;
  #renewsAfter = Number.NEGATIVE_INFINITY;

  constructor(parts: LeaseKeeperParts) {
    this.#parts = parts;
    this.#fence = fenceOf(parts.clock, parts.hub);
    this.signals = LeaseSignals.create(parts.clock.monotonic());
  }

  /** The lease now; undefined while there is none. */
  get id(): string | undefined {
    return this.#id;
  }

  /** Resolves with the lease when there is one. @throws HowdahError HOWDAH_CLIENT_CLOSED */
  current(): Promise<string> {
    if (this.#id !== undefined) return Promise.resolve(this.#id);
    this.#opening ??= this.#insist().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  /** @throws HowdahError when the first lease cannot be opened */
  async start(): Promise<void> {
    this.beat();
    await this.#open();
    this.#startThread();
  }

  /** Shows that the event loop turns, and checks that the lease still holds. Called every 100 ms. */
  beat(): void {
    const now = this.#parts.clock.monotonic();
    this.signals.beat(now);
    if (this.#id === undefined) return;
    const age = now - this.signals.renewedAt;
    if (age > this.#parts.leaseMs) this.lose('it was not renewed in time');
    else if (age > this.#parts.heartbeatMs * 1.5) {
      void this.#fence.follow('lease', () => this.#renewHere());
    }
  }

  /** Gives the lease up and opens another. */
  lose(why: string): void {
    const leaseId = this.#id;
    if (leaseId === undefined) return;
    this.#id = undefined;
    this.#generation += 1;
    this.signals.open(this.#generation, 0);
    this.#thread?.postMessage(undefined);
    const reason = new HowdahError('HOWDAH_LEASE_LOST', `The lease is lost: ${why}.`, {
      details: { leaseId },
    });
    this.#parts.hub.emit('lease.lost', { leaseId, reason: why });
    this.#fence.call('lease', () => this.#parts.onLost(leaseId, reason));
    if (!this.#closing.signal.aborted) void this.current().catch(() => undefined);
  }

  /** Stops renewing; {@link id} stays for the last settlements. */
  async stop(): Promise<void> {
    this.#closing.abort();
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.terminate();
  }

  async #insist(): Promise<string> {
    const { outage } = this.#parts;
    for (let hasFailed = false; ; hasFailed = true) {
      if (this.#closing.signal.aborted) {
        throw new HowdahError('HOWDAH_CLIENT_CLOSED', 'The worker has stopped.');
      }
      try {
        const id = await this.#open();
        if (hasFailed) outage.over();
        return id;
      } catch {
        // the line reports a lost connection; anything else is tried again all the same
      }
      await outage.turn(this.#closing.signal);
    }
  }

  async #open(): Promise<string> {
    const { calls, line, worker, leaseMs, info, clock, hub, onOpened } = this.#parts;
    const sentAt = clock.monotonic();
    const id = await calls.open(line, worker, leaseMs, info);
    this.#generation += 1;
    this.signals.open(this.#generation, sentAt);
    this.#id = id;
    this.#tellThread();
    hub.emit('lease.opened', { leaseId: id });
    // the lease is there, whatever becomes of that
    this.#fence.call('lease', () => onOpened(id));
    return id;
  }

  #startThread(): void {
    const { database, heartbeatMs, leaseMs } = this.#parts;
    const { pool, ...plain } = database;
    const data: LeaseThreadData = {
      database: plain,
      poolConfig: pool && connectionConfigOf(pool.options),
      heartbeatMs,
      leaseMs,
      signals: this.signals.data,
    };
    const here = import.meta.url as string | undefined; // none in a bundle for CommonJS
    try {
      const thread = new Thread(new URL('./thread.js', here), {
        workerData: data,
        name: 'howdah lease',
        resourceLimits: { maxOldGenerationSizeMb: 48, maxYoungGenerationSizeMb: 4 },
      });
      thread.on('message', (message: LeaseMessage) =>
        this.#fence.call('lease', () => this.#hear(message)),
      );
      thread.on('error', (error) => this.#onThreadEnd(thread, error));
      thread.on('exit', () => this.#onThreadEnd(thread, undefined));
      this.#thread = thread;
      this.#tellThread();
    } catch (error) {
      // Options that cannot be handed to a thread: a pool made with functions, for instance.
      const reason = here === undefined ? NO_THREAD : String(error);
      this.#parts.hub.emit('lease.thread-ended', { reason });
    }
  }

  #tellThread(): void {
    if (this.#id === undefined) return;
    this.#thread?.postMessage({ leaseId: this.#id, generation: this.#generation });
  }

  #hear({ type, generation }: LeaseMessage): void {
    if (generation !== this.#generation) return;
    if (type === 'gone') this.lose('the database does not know it any more');
    else this.#parts.onAttention();
  }

  #onThreadEnd(thread: Thread, error: unknown): void {
    if (this.#thread !== thread) return;
    this.#thread = undefined;
    this.#threadFailures += 1;
    const { clock, hub } = this.#parts;
    // it may be there later: what is installed is replaced under a worker that runs
    const isToldAlready = this.#isThreadMissing;
    this.#isThreadMissing = isMissing(error);
    if (!this.#isThreadMissing) {
      hub.emit('lease.thread-ended', { reason: String(error ?? 'it exited') });
    } else if (!isToldAlready) hub.emit('lease.thread-ended', { reason: NO_THREAD });
    const waitMs = backoffMs(this.#threadFailures, { min: 100, max: 30_000 }, clock.random());
    void this.#fence.follow('lease', async () => {
      await clock.sleep(waitMs, this.#closing.signal);
      if (!this.#closing.signal.aborted) this.#startThread();
    });
  }

  /** The thread is late: no connection left for it, perhaps. */
  async #renewHere(): Promise<void> {
    const leaseId = this.#id;
    const { clock, calls, line, heartbeatMs } = this.#parts;
    const sentAt = clock.monotonic();
    if (this.#isRenewing || leaseId === undefined || sentAt < this.#renewsAfter) return;
    this.#isRenewing = true;
    const generation = this.#generation;
    try {
      const answer = await calls.heartbeat(line, leaseId);
      if (answer.isAlive) this.signals.renewed(generation, sentAt);
      else this.#hear({ type: 'gone', generation });
      if (answer.hasAttention) this.#hear({ type: 'attention', generation });
    } catch {
      this.#renewsAfter = clock.monotonic() + Math.min(heartbeatMs, RENEW_RETRY_MS);
    } finally {
      this.#isRenewing = false;
    }
  }
}

/** What of a pool's options can be handed to a thread. The password is a hidden property of them. */
function connectionConfigOf(options: object | undefined): object {
  const { password } = (options ?? {}) as { password?: unknown };
  const plain = Object.entries({ ...options }).filter(([, value]) => typeof value !== 'function');
  return Object.fromEntries(password === undefined ? plain : [...plain, ['password', password]]);
}

/** The file of a thread is not there. */
function isMissing(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND';
}
