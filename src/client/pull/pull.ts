import { clientClosed } from '../../core/client-closed.js';
import type { ClientEvents } from '../../core/client-events.js';
import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import { fenceOf } from '../../core/fence.js';
import { isPermanent } from '../../core/job/outcome.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import { whenAborted } from '../../core/time/abort.js';
import { type PullCalls, pullCalls, type ReceivedRow } from '../../db/calls/pull.js';
import { stopCalls } from '../../db/calls/stop.js';
import type { Database } from '../../db/database.js';
import type { Declarations } from '../../db/declarations.js';
import type { Executor } from '../../db/executor.js';
import { type HeldCalls, PatientExecutor } from '../held-calls.js';
import type { SharedStation } from '../station/shared-station.js';
import { openReceived } from './open-received.js';
import { PullQueue, type Waiter } from './pull-queue.js';
import { PullSettler } from './pull-settler.js';
import { parseReceipt } from './receipt.js';
import {
  type ReceiveOptions,
  type ReceiveSettings,
  resolveReceiveOptions,
} from './receive-options.js';
import {
  HeldJob,
  HeldReceipt,
  holdOf,
  type Receipt,
  type ReceiptParts,
  type ReceivedJob,
} from './received-job.js';

/** Most waiters of one client. */
const WAITERS_MAX = 100_000;

/** What a {@link Pull} is made with. */
interface PullParts {
  readonly database: Database;
  readonly held: HeldCalls;
  readonly declarations: Declarations;
  readonly clock: Clock;
  readonly codecs: Codecs | undefined;
  readonly hub: EventHub<ClientEvents>;
  readonly station: SharedStation;
}

/** The consumer's side of a client: receive jobs, settle them. */
export class Pull {
  readonly #database: Database;
  readonly #patient: Executor;
  readonly #declarations: Declarations;
  readonly #clock: Clock;
  readonly #codecs: Codecs | undefined;
  readonly #hub: EventHub<ClientEvents>;
  readonly #calls: PullCalls;
  readonly #settler: PullSettler;
  readonly #queues = new Map<string, PullQueue>();
  readonly #station: SharedStation;
  #waiters = 0;
  #isClosed = false;

  constructor({ database, held, declarations, clock, codecs, hub, station }: PullParts) {
    this.#database = database;
    this.#patient = new PatientExecutor(database, held.apart());
    this.#declarations = declarations;
    this.#clock = clock;
    this.#codecs = codecs;
    this.#hub = hub;
    this.#calls = pullCalls(database);
    this.#settler = new PullSettler(this.#calls, held, clock);
    this.#station = station;
    station.use({
      about: 'work',
      onRing: (names) => {
        for (const name of names ?? this.#queues.keys()) this.#queues.get(name)?.rung();
      },
      onClosed: () => this.#queues.clear(),
    });
  }

  async receive(target: AnyQueue | string, options: ReceiveOptions): Promise<ReceivedJob[]> {
    const { max, waitMs, visibilityMs, signal } = resolveReceiveOptions(options);
    await this.#declarations.ensure(typeof target === 'string' ? undefined : target);
    if (this.#isClosed) throw clientClosed();
    if (signal?.aborted) return [];
    if (this.#waiters >= WAITERS_MAX) throw tooMany(this.#waiters);
    const name = nameOf(target);
    const until = this.#clock.monotonic() + waitMs;
    for (let leftMs = waitMs; ; leftMs = Math.max(0, until - this.#clock.monotonic())) {
      const rows = await this.#wait(name, { max, visibilityMs, waitMs: leftMs, signal });
      const jobs = await this.#open(rows, name);
      // where none of them could be decoded, others may be
      if (jobs.length > 0 || rows.length === 0 || this.#isClosed || signal?.aborted) return jobs;
    }
  }

  async #wait(
    name: string,
    { max, visibilityMs, waitMs, signal }: ReceiveSettings,
  ): Promise<readonly ReceivedRow[]> {
    const queue = this.#queue(name);
    this.#waiters += 1;
    const release = this.#station.hold();
    try {
      return await waitIn(queue, { max, visibilityMs, isImpatient: waitMs === 0 }, waitMs, signal);
    } finally {
      this.#waiters -= 1;
      release();
    }
  }

  /** Jobs that cannot be decoded are settled as failed, as a worker does it. */
  async #open(rows: readonly ReceivedRow[], queue: string): Promise<ReceivedJob[]> {
    const jobs: ReceivedJob[] = [];
    const parts = this.#parts;
    for (const row of rows) {
      try {
        jobs.push(new HeldJob(openReceived(row, queue, this.#codecs), queue, parts));
        const attempt = row.attempt - row.uncounted;
        if (this.#hub.hears('job.received'))
          this.#hub.emit('job.received', { job: { id: row.id, queue, attempt } });
      } catch (thrown) {
        const held = new HeldReceipt({ ...holdOf(row), queue }, parts);
        const settling = isPermanent(thrown)
          ? held.deadLetter((thrown as Error).message)
          : held.fail(thrown);
        await settling.catch(() => undefined); // its visibility ends it
      }
    }
    return jobs;
  }

  receipt(receipt: string): Receipt {
    return new HeldReceipt(parseReceipt(receipt), this.#parts);
  }

  /** Ends every wait, gives back what came too late, and waits for settlements under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#queues.values()].map((queue) => queue.close(clientClosed())));
    await this.#settler.idle();
  }

  get #parts(): ReceiptParts {
    const { obey } = stopCalls(this.#database);
    return {
      extend: (hold, ms) =>
        this.#calls.extend(this.#patient, hold.leaseId, hold.id, hold.claims, ms),
      settler: this.#settler,
      codecs: this.#codecs,
      onSettled: ({ id, queue }, outcome) => {
        if (this.#hub.hears('job.settled'))
          this.#hub.emit('job.settled', { job: { id, queue }, outcome });
      },
      obey: ({ leaseId, id, claims }) => obey(this.#patient, leaseId, id, claims),
    };
  }

  #queue(name: string): PullQueue {
    const known = this.#queues.get(name);
    if (known) return known;
    const queue = new PullQueue({
      queue: name,
      calls: this.#calls,
      consumer: this.#station.consumer,
      clock: this.#clock,
      fence: fenceOf(this.#clock, this.#hub),
      station: () => this.#station.get(),
      giveBack: (rows) => this.#giveBack(rows),
    });
    this.#queues.set(name, queue);
    return queue;
  }

  /** Where that fails, their visibility ends it. */
  async #giveBack(rows: readonly ReceivedRow[]): Promise<void> {
    await Promise.allSettled(
      rows.map((row) => this.#settler.settle(holdOf(row), '"outcome":"release"')),
    );
  }
}

/** Waits for jobs until there are some, the time is up or the signal says so. */
function waitIn(
  queue: PullQueue,
  wish: Pick<Waiter, 'max' | 'visibilityMs' | 'isImpatient'>,
  waitMs: number,
  signal: AbortSignal | undefined,
): Promise<readonly ReceivedRow[]> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      queue.remove(waiter);
      waiter.end([]);
    };
    const timer = wish.isImpatient ? undefined : setTimeout(leave, waitMs);
    const done = (): void => {
      clearTimeout(timer);
      forget();
    };
    const waiter: Waiter = {
      ...wish,
      end: (rows) => {
        done();
        resolve(rows);
      },
      fail: (error) => {
        done();
        reject(error);
      },
    };
    const forget = whenAborted(signal, leave);
    queue.add(waiter);
  });
}

function tooMany(waiters: number): HowdahError {
  return new HowdahError('HOWDAH_BUFFER_FULL', `${waiters} calls wait to receive jobs.`, {
    details: { waiters },
    remedy: 'Receive more at once in fewer calls.',
  });
}
