import { type Clock, systemClock } from '../core/clock.js';
import { HowdahError } from '../core/errors.js';
import {
  EventHub,
  type EventOf,
  type WorkerEventListener,
  type WorkerEvents,
  type WorkerEventType,
} from '../core/events.js';
import { givenOptions } from '../core/option.js';
import { whenAborted } from '../core/time/abort.js';
import { backoffMs, RECONNECT } from '../core/time/backoff.js';
import { type Duration, parseDuration } from '../core/time/duration.js';
import { toHowdahError } from '../db/errors/pg-error.js';
import { eventLog } from '../telemetry/event-log.js';
import type { CompanionFactory } from './companion.js';
import { Engine } from './engine.js';
import { resolveWorkerOptions, type WorkerOptions, type WorkerSettings } from './options.js';
import { type Counts, NO_COUNTS, type Tally } from './settle/tally.js';
import { drain, finish } from './stop/drain.js';
import { shutDown } from './stop/shutdown.js';
import type { StopOptions, StopReport } from './stop/stop-report.js';

/** Bounds of {@link Worker.runOnce}. */
export interface RunOnceOptions {
  /** Ends the run after this time, 1 ms to 24 h; what still runs then is given back. Default 24 h. */
  readonly deadline?: Duration;
}

/** What {@link Worker.runOnce} did. */
export interface RunOnceReport extends Counts {
  /** Nothing that was ready is left; false when the deadline came first. */
  readonly isDrained: boolean;
}

/** Besides what is retryable anyway, this passes when somebody migrates or declares. */
const PASSING: ReadonlySet<string> = new Set([
  'HOWDAH_SCHEMA_MISSING',
  'HOWDAH_SCHEMA_OLDER',
  'HOWDAH_QUEUE_UNKNOWN',
]);

/**
 * Works queues until it is stopped. It survives restarts of the database, lost connections and
 * fail-overs: it reconnects for ever, and what it has finished meanwhile is settled afterwards.
 *
 *   new → running → stopping → stopped        (`runOnce` needs a worker that is not running)
 */
export class Worker {
  readonly #settings: WorkerSettings;
  readonly #companion: CompanionFactory | undefined;
  readonly #clock: Clock;
  readonly #hub: EventHub;
  readonly #hurry = new AbortController();
  #resolveStopped: () => void = () => {};
  #stopped = this.#untilStopped();
  #starting: Promise<Engine> | undefined;
  #stopping: Promise<StopReport> | undefined;
  #hasFailed = false;
  #isOnce = false;
  #isDraining = false;
  /** Of the last life. */
  #tally: Tally | undefined;
  readonly #stopAsked = new AbortController();

  /**
   * Opens nothing yet.
   * @param companion what runs beside it under its lease
   * @throws HowdahError HOWDAH_OPTION_INVALID, HOWDAH_HANDLER_INVALID
   */
  constructor(options: WorkerOptions, companion?: CompanionFactory, clock: Clock = systemClock) {
    this.#settings = resolveWorkerOptions(options);
    this.#companion = this.#settings.isMaintaining ? companion : undefined;
    this.#clock = clock;
    this.#hub = new EventHub(eventLog(this.#settings.logger));
  }

  /** Resolves when the worker has stopped, or its start has failed; never rejects. Another start begins another. */
  get stopped(): Promise<void> {
    return this.#stopped;
  }

  /** How the attempts of its whole life have ended so far, as the database confirmed. */
  get counts(): Counts {
    return { ...(this.#tally?.counts ?? NO_COUNTS) };
  }

  /** Name in the views. */
  get name(): string {
    return this.#settings.name;
  }

  /**
   * Resolves when the worker looks for jobs. The first connection must succeed, within option `startWithin`;
   * from then on it is made again for ever. After a start that has failed it may be called again.
   * @throws HowdahError HOWDAH_DATABASE_UNAVAILABLE, HOWDAH_SCHEMA_MISSING, HOWDAH_QUEUE_UNKNOWN, ...
   */
  async start(): Promise<void> {
    if (this.#stopping) throw stopped();
    if (this.#isOnce) throw busy();
    this.#starting ??= this.#beginLife();
    await this.#starting;
  }

  /**
   * Stops: claims no more, lets running jobs finish within the grace, then aborts them and gives them
   * back. Called again while it stops, it hurries: the grace is over at once. Never rejects.
   */
  stop(options: StopOptions = {}): Promise<StopReport> {
    givenOptions('options', options, { grace: true });
    const graceMs =
      options.grace === undefined
        ? this.#settings.graceMs
        : parseDuration(options.grace, 'grace', { max: 86_400_000 });
    this.#stopAsked.abort();
    if (this.#stopping) this.#hurry.abort();
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  /**
   * Works until nothing is ready or the deadline passes, and leaves no lease, connection or timer
   * behind: for serverless functions and tests. Jobs that fail and are due again at once are run
   * again; jobs delayed into the future are left.
   */
  async runOnce(options: RunOnceOptions = {}): Promise<RunOnceReport> {
    givenOptions('options', options, { deadline: true });
    const deadlineMs = parseDuration(options.deadline ?? '24h', 'deadline', {
      min: 1,
      max: 86_400_000,
    });
    if (this.#starting || this.#isOnce) throw busy();
    if (this.#stopping) throw stopped();
    this.#isOnce = true;
    try {
      return await this.#drain(deadlineMs);
    } finally {
      this.#isOnce = false;
    }
  }

  /** Hears every event. @returns a function that takes the listener away */
  onEvent(listener: WorkerEventListener): () => void {
    return this.#hub.add(listener);
  }

  /** Hears the events of one type. @returns a function that takes the listener away */
  on<T extends WorkerEventType>(
    type: T,
    listener: (event: EventOf<WorkerEvents, T>) => void,
  ): () => void {
    return this.#hub.on(type, listener);
  }

  #untilStopped(): Promise<void> {
    return new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
  }

  async #beginLife(): Promise<Engine> {
    if (this.#hasFailed) this.#stopped = this.#untilStopped();
    this.#hasFailed = false;
    try {
      return await this.#start();
    } catch (error) {
      this.#hasFailed = true;
      this.#starting = undefined;
      this.#resolveStopped();
      throw error;
    }
  }

  async #start(): Promise<Engine> {
    const engine = await this.#open();
    engine.run();
    this.#hub.emit('worker.started', { worker: this.name, leaseId: engine.keeper.id ?? '' });
    return engine;
  }

  /** An engine that has opened; each try has one of its own. */
  async #open(): Promise<Engine> {
    const giveUpAt = this.#clock.monotonic() + this.#settings.startWithinMs;
    for (let failures = 1; ; failures += 1) {
      const engine: Engine = this.#makeEngine(this.#companion, (reason) => {
        void engine.fence.follow('drain', () => this.#drainOff(engine, reason));
      });
      try {
        await engine.open();
        return engine;
      } catch (thrown) {
        const error = toHowdahError(thrown);
        const leftMs = giveUpAt - this.#clock.monotonic();
        const isPassing = error.isRetryable || PASSING.has(error.code);
        if (!isPassing || leftMs <= 0 || this.#stopAsked.signal.aborted) throw thrown;
        const againMs = Math.min(leftMs, backoffMs(failures, RECONNECT, this.#clock.random()));
        this.#hub.emit('worker.waiting', { worker: this.name, error, againMs });
        await this.#clock.sleep(againMs, this.#stopAsked.signal);
        if (this.#stopAsked.signal.aborted) throw stopped();
      }
    }
  }

  async #stop(graceMs: number): Promise<StopReport> {
    let report: StopReport = { completed: 0, failed: 0, released: 0, aborted: 0, left: 0 };
    const engine = await this.#starting?.catch(() => undefined);
    if (engine) {
      this.#hub.emit('worker.stopping', { worker: this.name });
      report = await shutDown(engine, graceMs, this.#hurry.signal);
      this.#hub.emit('worker.stopped', { worker: this.name });
    }
    this.#resolveStopped();
    return report;
  }

  /** Told from outside to finish what it holds and end. */
  async #drainOff(engine: Engine, reason: string): Promise<void> {
    if (this.#isDraining || this.#stopping) return;
    this.#isDraining = true;
    this.#hub.emit('worker.draining', { worker: this.name, reason });
    await finish(engine, this.#stopAsked.signal);
    if (!this.#stopAsked.signal.aborted) await this.stop();
  }

  async #drain(deadlineMs: number): Promise<RunOnceReport> {
    const engine = this.#makeEngine(undefined);
    await engine.open();
    const until = new AbortController();
    const done = new AbortController();
    const end = (): void => until.abort();
    const forget = whenAborted(this.#hurry.signal, end);
    void this.#clock.sleep(deadlineMs, done.signal).then(end);
    let isDrained = false;
    try {
      isDrained = await drain(engine, until.signal);
    } finally {
      done.abort();
      forget();
      await shutDown(engine, 0, this.#hurry.signal);
    }
    return { ...engine.tally.counts, isDrained };
  }

  #makeEngine(companion: CompanionFactory | undefined, onDrain?: (reason: string) => void): Engine {
    const { settings, clock, hub } = {
      settings: this.#settings,
      clock: this.#clock,
      hub: this.#hub,
    };
    const engine = new Engine({ settings, clock, hub, companion, ...(onDrain && { onDrain }) });
    this.#tally = engine.tally;
    return engine;
  }
}

function busy(): HowdahError {
  return new HowdahError('HOWDAH_OPTION_INVALID', 'The worker is running already.', {
    remedy: 'Stop it first, or make another.',
  });
}

function stopped(): HowdahError {
  return new HowdahError('HOWDAH_SHUTDOWN', 'The worker has been stopped.', {
    remedy: 'Make another.',
  });
}
