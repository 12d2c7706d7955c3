/** How often the main thread shows that its event loop turns. */
export const BEAT_MS = 100;
/** Without a beat for this long the loop counts as blocked. */
const BLOCKED_MS = 500;

const BEAT = 0;
const DEADLINE = 1;
const RENEWED_AT = 2;
const GENERATION = 3;

/** What is handed to the thread. */
export interface LeaseSignalsData {
  readonly buffer: SharedArrayBuffer;
  /** Process-wide monotonic time, in nanoseconds, at which the main thread's clock showed zero. */
  readonly origin: bigint;
}

/**
 * What the main thread and the lease thread tell each other without messages, which a blocked event
 * loop could not read or send. Four 64-bit numbers, each written by one side only; times are
 * milliseconds of the main thread's monotonic clock.
 *
 *   beat        main    when its event loop turned last
 *   deadline    main    when the first running attempt times out; 0: nothing runs
 *   renewedAt   thread  when the last heartbeat that succeeded was sent (main: when the lease was opened)
 *   generation  main    which lease renewedAt speaks of
 */
export class LeaseSignals {
  readonly #cells: Float64Array;
  readonly #data: LeaseSignalsData;

  constructor(data: LeaseSignalsData) {
    this.#data = data;
    this.#cells = new Float64Array(data.buffer);
  }

  /** @param now of the main thread's clock */
  static create(now: number): LeaseSignals {
    const origin = process.hrtime.bigint() - BigInt(Math.round(now * 1e6));
    return new LeaseSignals({ buffer: new SharedArrayBuffer(4 * 8), origin });
  }

  get data(): LeaseSignalsData {
    return this.#data;
  }

  /** The main thread's monotonic clock, read from any thread. */
  now(): number {
    return Number(process.hrtime.bigint() - this.#data.origin) / 1e6;
  }

  beat(now: number): void {
    this.#cells[BEAT] = now;
  }

  get deadline(): number {
    return this.#cells[DEADLINE] ?? 0;
  }

  set deadline(deadline: number) {
    this.#cells[DEADLINE] = deadline;
  }

  get renewedAt(): number {
    return this.#cells[RENEWED_AT] ?? 0;
  }

  /** A new lease, or none: what the thread still hears of an older one does not count. */
  open(generation: number, openedAt: number): void {
    this.#cells[GENERATION] = generation;
    this.#cells[RENEWED_AT] = openedAt;
  }

  renewed(generation: number, sentAt: number): void {
    if (this.#cells[GENERATION] !== generation) return;
    this.#cells[RENEWED_AT] = Math.max(sentAt, this.renewedAt);
  }

  /**
   * Whether the lease may be renewed: the event loop turns, or the handler that blocks it is within
   * its time-out. A loop that is blocked while nothing runs gets one lease.
   */
  mayRenew(leaseMs: number): boolean {
    const now = this.now();
    const beat = this.#cells[BEAT] ?? 0;
    if (now - beat < BLOCKED_MS) return true;
    const { deadline } = this;
    return now <= (deadline === 0 ? beat + leaseMs : deadline + BLOCKED_MS);
  }
}
