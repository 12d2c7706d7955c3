import { Alarm } from '../core/alarm.js';
import type { Clock } from '../core/clock.js';
import type { Codecs } from '../core/codec.js';
import type { HowdahError } from '../core/errors.js';
import type { EventHub } from '../core/events.js';
import type { Outage } from '../core/outage.js';
import type { Settlement } from '../core/outcome.js';
import type { SettleCalls, SettledRow, SettleOutcome } from '../db/calls/settle.js';
import type { Executor } from '../db/executor.js';
import { toHowdahError } from '../db/pg-error.js';
import type { Attempt } from './attempt.js';
import { encodeAsks, encodeResult, encodeResults } from './settle-encoding.js';
import type { Tally } from './tally.js';

/** Most attempts in one statement. */
const BATCH_MAX = 1_000;
/**
 * A statement costs the server about a quarter of a millisecond before its first job, and its commit an
 * fsync that others wait for: at 3,000 jobs a second each brought 8.
 */
const PACE_MS = 5;
/** So many are worth a statement at once. */
const PACED_MAX = 100;
/** With this many unsettled attempts no more jobs are claimed. */
export const UNSETTLED_MAX = 5_000;

const PLACEHOLDER: Settlement = {
  verb: 'complete',
  result: '{"howdah":"result not stored","problem":"the database refused it"}',
};

/** What a settler is made of. */
export interface SettlerParts {
  readonly calls: SettleCalls;
  readonly codecs?: Codecs | undefined;
  /** The connection for outcomes; its commits are durable. */
  readonly line: Executor;
  /** For outcomes that may have to wait for a handler's own transaction. */
  readonly pool: Executor;
  readonly tally: Tally;
  readonly hub: EventHub;
  /** Each transaction of a handler settles by itself: what fails takes turns. */
  readonly outage: Outage;
  readonly clock: Clock;
  /** Whether what is settled makes room for jobs that could run now. */
  readonly isAwaited: () => boolean;
  /** Resolves when what the attempt has said is written, or given up. */
  readonly flush: (attempt: Attempt) => Promise<void>;
  /** Called when unsettled attempts fall below the bound again. */
  readonly onRoom: () => void;
  /** Called with what has been settled. */
  readonly onSettled: (attempts: readonly Attempt[]) => void;
}

/**
 * Gathers outcomes and settles them, many in one statement: what comes while a statement is under
 * way goes with the next, and where few come that is sent a few milliseconds after the one before. After
 * an error it tries again for ever, because each outcome is fenced and so may be sent twice; an outcome
 * the database refuses is replaced, so that no job hangs.
 */
export class Settler {
  readonly #parts: SettlerParts;
  readonly #closing = new AbortController();
  #completes: Attempt[] = [];
  #others: Attempt[] = [];
  /** What they have said is being written. */
  readonly #reporting = new Set<Attempt>();
  /** Under way. */
  readonly #sent = new Set<readonly Attempt[]>();
  #unsettled = 0;
  #isScheduled = false;
  #onIdle: (() => void)[] = [];
  readonly #company: Alarm;
  /** When the last statement was sent. */
  #sentAt = Number.NEGATIVE_INFINITY;
  /** Of those that wait one has others wait for it: the next of its group. */
  #isUrgent = false;

  constructor(parts: SettlerParts) {
    this.#parts = parts;
    this.#company = new Alarm(parts.clock);
  }

  /** Attempts whose outcome the database has not confirmed. */
  get unsettled(): number {
    return this.#unsettled;
  }

  /** Ids of the jobs whose outcome the database has not confirmed. */
  get jobIds(): string[] {
    const batches = [this.#completes, this.#others, [...this.#reporting], ...this.#sent];
    return batches.flatMap((batch) => batch.map(({ id }) => id));
  }

  get isFull(): boolean {
    return this.#unsettled >= UNSETTLED_MAX;
  }

  /** Takes over an attempt whose settlement is decided. */
  add(attempt: Attempt): void {
    if (attempt.isCommitted) {
      this.#parts.tally.settled(attempt, 'completed', null);
      this.#parts.onSettled([attempt]);
      return;
    }
    this.#unsettled++;
    if (attempt.isReporting) void this.#addReporting(attempt);
    else this.#take(attempt);
  }

  /** Its end is not visible before what it said last. */
  async #addReporting(attempt: Attempt): Promise<void> {
    this.#reporting.add(attempt);
    await this.#parts.flush(attempt);
    this.#reporting.delete(attempt);
    this.#take(attempt);
  }

  #take(attempt: Attempt): void {
    if (attempt.isCompletedIn) {
      void this.#send([attempt]);
      return;
    }
    if (attempt.settlement?.verb === 'complete') this.#completes.push(attempt);
    else this.#others.push(attempt);
    if (attempt.group !== null) this.#isUrgent = true;
    if (this.#isScheduled) {
      if (this.#isWorthIt) this.#company.ring();
      return;
    }
    this.#isScheduled = true;
    // after the callbacks of this moment, so that what ends together is settled together
    setImmediate(() => void this.#flush());
  }

  /** Resolves when everything is settled, or given up. */
  async whenIdle(): Promise<void> {
    while (this.#unsettled > 0 && !this.#isClosed) {
      this.#company.ring();
      await new Promise<void>((resolve) => this.#onIdle.push(resolve));
    }
  }

  /** Whether outcomes under this lease are not settled yet. */
  has(leaseId: string): boolean {
    const isOf = (attempt: Attempt | undefined): boolean => attempt?.leaseId === leaseId;
    return (
      this.#completes.some(isOf) ||
      this.#others.some(isOf) ||
      [...this.#reporting].some(isOf) ||
      [...this.#sent].some(([first]) => isOf(first))
    );
  }

  /** Gives up: what is not settled yet is left to the reaper. */
  close(): void {
    this.#closing.abort();
    this.#resolveIdle();
  }

  async #flush(): Promise<void> {
    while (this.#waiting > 0 && !this.#isClosed) {
      await this.#gather();
      this.#isUrgent = false;
      this.#sentAt = this.#parts.clock.monotonic();
      if (this.#completes.length > 0) await this.#send(takeBatch(this.#completes));
      if (this.#others.length > 0) await this.#send(takeBatch(this.#others));
    }
    this.#isScheduled = false;
  }

  get #waiting(): number {
    return this.#completes.length + this.#others.length;
  }

  /** Whether to settle at once what waits. */
  get #isWorthIt(): boolean {
    return this.#isUrgent || this.#waiting >= PACED_MAX || this.#onIdle.length > 0;
  }

  /** Waits for company, until some time after the statement before. */
  async #gather(): Promise<void> {
    const { clock, isAwaited } = this.#parts;
    const waitMs = this.#sentAt + PACE_MS - clock.monotonic();
    if (waitMs <= 0 || this.#isWorthIt || isAwaited()) return;
    await this.#company.wait(waitMs);
  }

  /** Settles attempts of one lease, all complete or none. */
  async #send(batch: readonly Attempt[]): Promise<void> {
    const [first] = batch;
    if (!first) return;
    this.#sent.add(batch);
    const isComplete = first.settlement?.verb === 'complete';
    const isSettled = isComplete
      ? await this.#complete(batch, first.leaseId)
      : await this.#settle(batch, first.leaseId);
    if (!isSettled) await this.#isolate(batch);
    this.#sent.delete(batch);
    if (!isSettled) return;
    this.#confirm(batch.length);
    this.#parts.onSettled(batch);
  }

  async #complete(batch: readonly Attempt[], leaseId: string): Promise<boolean> {
    const { calls, line, codecs } = this.#parts;
    const [first] = batch;
    if (batch.length === 1 && first?.isLed) return this.#completeLed(first);
    const ids = batch.map(({ id }) => id);
    const claims = batch.map((attempt) => attempt.claims);
    const results = encodeResults(batch, codecs, this.#onReplaced);
    const stale = await this.#insist(batch, () =>
      calls.complete(line, leaseId, ids, claims, results),
    );
    if (!stale) return false;
    const staleIds = stale.length > 0 ? new Set(stale) : undefined;
    for (const attempt of batch) {
      this.#note(attempt, staleIds?.has(attempt.id) ? 'stale' : 'completed', null);
    }
    return true;
  }

  async #completeLed(attempt: Attempt): Promise<boolean> {
    const { calls, line, codecs } = this.#parts;
    const { leaseId, id, claims } = attempt;
    const result = encodeResult(attempt, codecs, this.#onReplaced);
    const isFound = await this.#insist([attempt], () =>
      calls.completeLed(line, leaseId, id, claims, result),
    );
    if (isFound === undefined) return false;
    this.#note(attempt, isFound ? 'completed' : 'stale', null);
    return true;
  }

  async #settle(batch: readonly Attempt[], leaseId: string): Promise<boolean> {
    const { calls, line, pool, codecs } = this.#parts;
    // may wait for the lock of a transaction that a handler has left open: not on the line then
    const executor = batch[0]?.isCompletedIn ? pool : line;
    const asks = encodeAsks(batch, codecs);
    const rows = await this.#insist(batch, () => calls.settle(executor, leaseId, asks));
    if (!rows) return false;
    const byId = new Map<string, SettledRow>(rows.map((row) => [row[0], row]));
    for (const attempt of batch) {
      const row = byId.get(attempt.id);
      this.#note(attempt, row?.[1] ?? 'stale', row?.[2] ?? null);
    }
    return true;
  }

  readonly #onReplaced = ({ ref }: Attempt, problem: string): void => {
    this.#parts.hub.emit('job.result-replaced', { job: ref, problem });
  };

  #note(attempt: Attempt, outcome: SettleOutcome, runAtMs: number | null): void {
    attempt.outcome = outcome;
    this.#parts.tally.settled(attempt, outcome, runAtMs);
  }

  /** Tries until it succeeds. Undefined: the database refused the data, or this is closed. */
  async #insist<T>(batch: readonly Attempt[], send: () => Promise<T>): Promise<T | undefined> {
    const { outage, hub } = this.#parts;
    for (let hasFailed = false; !this.#isClosed; hasFailed = true) {
      try {
        const answer = await send();
        if (hasFailed) outage.over();
        return answer;
      } catch (thrown) {
        const error = toHowdahError(thrown);
        if (this.#isClosed) return undefined;
        hub.emit('settle.failed', { jobs: batch.length, error });
        if (isRefusal(error)) return undefined;
        for (const attempt of batch) attempt.isUncertain = true;
      }
      await outage.turn(this.#closing.signal);
    }
    return undefined;
  }

  /** One of them carries what the database refuses: each is sent alone, that one with a substitute. */
  async #isolate(batch: readonly Attempt[]): Promise<void> {
    if (this.#isClosed) return;
    const [attempt] = batch;
    if (batch.length === 1 && attempt) {
      const substitute = substituteOf(attempt.settlement);
      if (!substitute) return this.#confirm(1); // reported as settle.failed; its lease will end
      attempt.settlement = substitute;
      return this.#send(batch);
    }
    const middle = batch.length >> 1;
    await this.#send(batch.slice(0, middle));
    await this.#send(batch.slice(middle));
  }

  #confirm(count: number): void {
    const wasFull = this.isFull;
    this.#unsettled -= count;
    if (wasFull && !this.isFull) this.#parts.onRoom();
    if (this.#unsettled === 0) this.#resolveIdle();
  }

  #resolveIdle(): void {
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }
}

/** Takes attempts of one lease from the front. */
function takeBatch(waiting: Attempt[]): readonly Attempt[] {
  const leaseId = waiting[0]?.leaseId;
  const other = waiting.findIndex((attempt) => attempt.leaseId !== leaseId);
  return waiting.splice(0, Math.min(BATCH_MAX, other < 0 ? waiting.length : other));
}

/** Errors of the data itself: the same statement would fail for ever. */
function isRefusal(error: HowdahError): boolean {
  if (error.code === 'HOWDAH_PAYLOAD_INVALID' || error.code === 'HOWDAH_SETTLE_INVALID')
    return true;
  const { sqlstate } = error.details;
  return typeof sqlstate === 'string' && /^(22|54)/.test(sqlstate);
}

/**
 * First without what the handler said, then given back: a job must not hang by its own output.
 * Undefined when even that was refused.
 */
function substituteOf(refused: Settlement | undefined): Settlement | undefined {
  if (refused?.verb === 'complete' && refused !== PLACEHOLDER) return PLACEHOLDER;
  if (refused?.verb === 'fail' && refused.error) return { verb: 'fail' };
  if (refused?.verb === 'dead_letter' && refused.error) return { verb: 'dead_letter' };
  return refused?.verb === 'release' ? undefined : { verb: 'release' };
}
