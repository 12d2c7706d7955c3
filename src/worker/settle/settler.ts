import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import { HowdahError } from '../../core/errors.js';
import type { EventHub } from '../../core/events.js';
import type { Fence } from '../../core/fence.js';
import { Alarm } from '../../core/time/alarm.js';
import { type BackoffBounds, backoffMs } from '../../core/time/backoff.js';
import type { Outage } from '../../core/time/outage.js';
import type { SettleCalls, SettleOutcome } from '../../db/calls/settle.js';
import { toHowdahError } from '../../db/errors/pg-error.js';
import { type SettleFault, settleFaultOf } from '../../db/errors/retry.js';
import type { Executor } from '../../db/executor.js';
import type { Attempt } from './attempt.js';
import { encodeAll, encodeAsks, encodeResults, encodeStoredResult } from './settle-encoding.js';
import { substituteOf } from './settle-substitutes.js';
import type { Tally } from './tally.js';

/** Most attempts in one statement. */
const BATCH_MAX = 1_000;
/** Most characters of results in one statement, but for a result alone: the others wait for it. */
const RESULT_CHARS_MAX = 1_048_576;
/**
 * A statement costs the server about a quarter of a millisecond before its first job, and its commit an
 * fsync that others wait for: at 3,000 jobs a second each brought 8.
 */
const PACE_MS = 5;
/** So many are worth a statement at once. */
const PACED_MAX = 100;
/** With this many unsettled attempts no more jobs are claimed. */
const UNSETTLED_MAX = 5_000;

/** Between two tries of what fails for a reason of its own. */
const STUCK_PACE: BackoffBounds = { min: 50, max: 3_000 };
/** What is held is looked at once a second at least. */
const HELD_TRIES_MAX = 5;
/** What an open transaction has had for so long keeps a worker that stops no longer. */
const HELD_MS = 1_000;
/** With this many of them the reason is not theirs: whole statements are tried again. */
const STUCK_MAX = 100;

/** What a settler is made of. */
interface SettlerParts {
  readonly calls: SettleCalls;
  readonly codecs?: Codecs | undefined;
  /** The connection for outcomes; its commits are durable. */
  readonly line: Executor;
  /** Asks whether a handler's own transaction is over: each such outcome by itself, beside the line. */
  readonly pool: Executor;
  readonly tally: Tally;
  readonly hub: EventHub;
  readonly fence: Fence;
  /** Outcomes that fail for so long for a reason of their own are given up. */
  readonly leaseMs: number;
  /** Each transaction of a handler settles by itself: what fails takes turns. */
  readonly outage: Outage;
  readonly clock: Clock;
  /** Whether what is settled makes room for jobs that could run now. */
  readonly isAwaited: () => boolean;
  /** Resolves when what the attempt has said is written, or given up. */
  readonly flush: (attempt: Attempt) => Promise<void>;
  /** Called when unsettled attempts fall below the bound again. */
  readonly onRoom: () => void;
  /** An attempt was given up under a lease that lives on: what that holds beyond what is known goes back. */
  readonly onAbandoned: (leaseId: string) => void;
  /** Called with what has been settled. */
  readonly onSettled: (attempts: readonly Attempt[]) => void;
}

/**
 * Gathers outcomes and settles them, many in one statement: what comes while a statement is under
 * way goes with the next, and where few come that is sent a few milliseconds after the one before. Each
 * outcome is fenced and so may be sent twice. After an error (see `settleFaultOf`):
 *
 *   held     what an open transaction has is tried again when that lets it go, the others at once
 *   passing  the statement is tried again for ever
 *   refused  it is halved until the culprit stands alone, for which less and less is settled
 *   unknown  it is tried again, then halved; the culprit is stuck: tried now and then while the others go on. What
 *            is stuck for a lease is settled with less, and if that is no use either given up, which ends
 *            its hold: the job runs elsewhere
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
  /** Those that fail for a reason of their own, the one that was tried last at the end. */
  readonly #stuck = new Set<Attempt>();
  readonly #troubles = new WeakMap<Attempt, Trouble>();
  #isRetrying = false;
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
    const apart = [...this.#reporting, ...this.#stuck];
    const batches = [this.#completes, this.#others, apart, ...this.#sent];
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
    await this.#parts.fence.follow('report', () => this.#parts.flush(attempt));
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

  /** Resolves when everything is settled, or given up, or has been held by open transactions for a second. */
  async whenIdle(): Promise<void> {
    while (this.#unsettled > this.#heldLong.length && !this.#isClosed) {
      this.#company.ring();
      await new Promise<void>((resolve) => this.#onIdle.push(resolve));
    }
  }

  get #heldLong(): readonly Attempt[] {
    const { clock } = this.#parts;
    return [...this.#stuck].filter((attempt) => {
      const { since = clock.monotonic() } = this.#troubles.get(attempt) ?? {};
      return this.#isHeld(attempt) && clock.monotonic() - since >= HELD_MS;
    });
  }

  /**
   * Leaves to whoever gives the lease back what open transactions have: it ends as it was to end, later.
   * @returns how many attempts
   */
  async leave(): Promise<number> {
    const { calls, line, codecs } = this.#parts;
    const held = [...this.#stuck].filter((attempt) => this.#isHeld(attempt));
    let left = 0;
    while (held.length > 0) {
      const batch = takeBatch(held);
      const { leaseId = '' } = batch[0] ?? {};
      left += await calls.leave(line, leaseId, encodeAll(batch, codecs, this.#onReplaced));
      for (const attempt of batch) this.#stuck.delete(attempt);
      this.#confirm(batch.length);
    }
    return left;
  }

  /** Whether outcomes under this lease are not settled yet. */
  has(leaseId: string): boolean {
    const isOf = (attempt: Attempt | undefined): boolean => attempt?.leaseId === leaseId;
    return (
      this.#completes.some(isOf) ||
      this.#others.some(isOf) ||
      [...this.#reporting].some(isOf) ||
      [...this.#stuck].some(isOf) ||
      [...this.#sent].some(([first]) => isOf(first))
    );
  }

  /** Gives up: what is not settled yet is left to the reaper. */
  close(): void {
    this.#closing.abort();
    this.#resolveIdle();
  }

  async #flush(): Promise<void> {
    const { fence } = this.#parts;
    await fence.loop('settle', () => this.#turn(), this.#closing.signal);
    this.#isScheduled = false;
  }

  /** @returns whether anything waited */
  async #turn(): Promise<boolean> {
    if (this.#waiting === 0) return false;
    await this.#gather();
    this.#isUrgent = false;
    this.#sentAt = this.#parts.clock.monotonic();
    if (this.#completes.length > 0) await this.#send(takeBatch(this.#completes));
    if (this.#others.length > 0) await this.#send(takeBatch(this.#others));
    return true;
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

  /**
   * Settles attempts of one lease, all complete or none. Never rejects: should it throw although it must not,
   * those that are nowhere then are stuck.
   * @param isDoubted one of them may be the culprit of a failure before
   */
  async #send(batch: readonly Attempt[], isDoubted = false): Promise<void> {
    const [first] = batch;
    if (!first) return;
    this.#sent.add(batch);
    try {
      const isComplete = first.settlement?.verb === 'complete';
      const failure = isComplete
        ? await this.#complete(batch, first.leaseId, isDoubted)
        : await this.#settle(batch, first.leaseId, isDoubted);
      if (failure) return await this.#isolate(batch, failure);
    } catch (thrown) {
      this.#parts.fence.report('settle', thrown);
      const open = batch.filter(({ outcome }) => outcome === undefined);
      for (const attempt of open) this.#setBack(attempt, thrown);
      return this.#confirm(batch.length - open.length);
    } finally {
      this.#sent.delete(batch);
    }
    if (this.#stuck.size > 0) for (const attempt of batch) this.#stuck.delete(attempt);
    this.#confirm(batch.length);
    this.#parts.fence.call('settled', () => this.#parts.onSettled(batch));
  }

  async #complete(
    batch: readonly Attempt[],
    leaseId: string,
    isDoubted: boolean,
  ): Promise<Failure | undefined> {
    const { calls, line, codecs } = this.#parts;
    const [first] = batch;
    if (batch.length === 1 && first?.isLed) return this.#completeLed(first, isDoubted);
    const ids = batch.map(({ id }) => id);
    const claims = batch.map((attempt) => attempt.claims);
    return this.#insist(batch, isDoubted, async () => {
      const results = encodeResults(batch, codecs, this.#onReplaced);
      const stale = new Set(await calls.complete(line, leaseId, ids, claims, results));
      return ({ id }) => [stale.has(id) ? 'stale' : 'completed', null];
    });
  }

  #completeLed(attempt: Attempt, isDoubted: boolean): Promise<Failure | undefined> {
    const { calls, line, codecs } = this.#parts;
    const { leaseId, id, claims } = attempt;
    return this.#insist([attempt], isDoubted, async () => {
      const result = encodeStoredResult(attempt, codecs, this.#onReplaced);
      const isFound = await calls.completeLed(line, leaseId, id, claims, result);
      return () => [isFound ? 'completed' : 'stale', null];
    });
  }

  #settle(
    batch: readonly Attempt[],
    leaseId: string,
    isDoubted: boolean,
  ): Promise<Failure | undefined> {
    const { calls, line, pool, codecs } = this.#parts;
    return this.#insist(batch, isDoubted, async () => {
      for (const { id, isCompletedIn } of batch) {
        // a handler may have left its transaction open: the line waits for none of those
        if (isCompletedIn && (await calls.held(pool, [id])).length > 0) throw OPEN;
      }
      const rows = await calls.settle(line, leaseId, encodeAsks(batch, codecs));
      const byId = new Map(rows.map(([id, ...rest]) => [id, rest] as const));
      return ({ id }) => byId.get(id) ?? ['stale', null];
    });
  }

  readonly #onReplaced = ({ ref }: Attempt, problem: string): void => {
    this.#parts.hub.emit('job.result-replaced', { job: ref, problem });
  };

  #note(attempt: Attempt, outcome: SettleOutcome, runAtMs: number | null): void {
    attempt.outcome = outcome;
    this.#parts.tally.settled(attempt, outcome, runAtMs);
  }

  /**
   * Tries until it succeeds, and notes what became of each attempt.
   * @returns why not: it was refused, fails for a reason that is not known, or this is closed
   */
  async #insist(
    batch: readonly Attempt[],
    isDoubted: boolean,
    send: () => Promise<OutcomeOf>,
  ): Promise<Failure | undefined> {
    const { outage, hub } = this.#parts;
    for (let failures = 0; ; ) {
      try {
        const outcomeOf = await send();
        if (failures > 0) outage.over();
        for (const attempt of batch) this.#note(attempt, ...outcomeOf(attempt));
        return undefined;
      } catch (thrown) {
        failures += 1;
        const error = toHowdahError(thrown);
        const fault = settleFaultOf(error);
        if (this.#isClosed) return { fault, error };
        if (fault === 'held' && batch.every((attempt) => this.#isHeld(attempt)))
          return { fault, error };
        hub.emit('settle.failed', { jobs: batch.length, error });
        if (fault === 'held') return { fault, error };
        if (fault === 'refused') return { fault, error };
        for (const attempt of batch) attempt.isUncertain = true;
        const stuck = [...this.#stuck].filter((each) => !this.#isHeld(each));
        const isTheirs = (isDoubted || failures > 1) && stuck.length < STUCK_MAX;
        if (fault === 'unknown' && isTheirs) return { fault, error };
      }
      await outage.turn(this.#closing.signal);
      if (this.#isClosed) return { fault: 'passing', error: CLOSED };
    }
  }

  /** One of them is the culprit: each goes alone, and that one with a substitute, or later. */
  async #isolate(batch: readonly Attempt[], failure: Failure): Promise<void> {
    if (this.#isClosed) return;
    const [attempt] = batch;
    const { fault, error } = failure;
    if (fault === 'held' && batch.length > 1) {
      const held = await this.#heldOf(batch);
      if (held.size > 0) {
        for (const each of batch) if (held.has(each.id)) this.#setBack(each, error);
        return this.#send(
          batch.filter(({ id }) => !held.has(id)),
          true,
        );
      }
    }
    if (batch.length === 1 && attempt) {
      const substitute = fault === 'refused' ? substituteOf(attempt.settlement) : undefined;
      if (!substitute) return this.#setBack(attempt, error);
      attempt.settlement = substitute;
      return this.#send(batch, true);
    }
    const middle = batch.length >> 1;
    await this.#send(batch.slice(0, middle), true);
    await this.#send(batch.slice(middle), true);
  }

  /** The attempt is stuck: tried later, by itself. */
  #setBack(attempt: Attempt, thrown: unknown): void {
    const { clock, fence } = this.#parts;
    const { tries = 0, since = clock.monotonic() } = this.#troubles.get(attempt) ?? {};
    this.#troubles.set(attempt, { tries: tries + 1, since, error: toHowdahError(thrown) });
    this.#stuck.delete(attempt); // to the end
    this.#stuck.add(attempt);
    if (this.#isRetrying) return;
    this.#isRetrying = true;
    void fence.loop('settle-stuck', () => this.#retry(), this.#closing.signal);
  }

  /** Ids of jobs that somebody's transaction has; none where that cannot be told. */
  async #heldOf(batch: readonly Attempt[]): Promise<ReadonlySet<string>> {
    const { calls, line } = this.#parts;
    const ids = batch.map(({ id }) => id);
    return new Set(await calls.held(line, ids).catch(() => []));
  }

  /** What was held and is not any more is settled with all others. */
  async #release(): Promise<void> {
    const stuck = [...this.#stuck].filter((attempt) => this.#isHeld(attempt));
    if (stuck.length === 0) return;
    const held = await this.#heldOf(stuck);
    for (const attempt of stuck) {
      if (held.has(attempt.id)) this.#wait(attempt);
      else if (this.#stuck.delete(attempt)) this.#take(attempt);
    }
  }

  /** Looked at less and less often. */
  #wait(attempt: Attempt): void {
    const trouble = this.#troubles.get(attempt);
    if (!trouble) return;
    const tries = Math.min(trouble.tries + 1, HELD_TRIES_MAX);
    this.#troubles.set(attempt, { ...trouble, tries });
  }

  #isHeld(attempt: Attempt): boolean {
    const error = this.#troubles.get(attempt)?.error;
    return error !== undefined && settleFaultOf(error) === 'held';
  }

  /** Tries the one that has waited longest. @returns whether any is left */
  async #retry(): Promise<boolean> {
    const { clock } = this.#parts;
    const tries = [...this.#stuck].map((each) => this.#troubles.get(each)?.tries ?? 1);
    await clock.sleep(
      backoffMs(Math.min(...tries), STUCK_PACE, clock.random()),
      this.#closing.signal,
    );
    await this.#release();
    if (this.#heldLong.length > 0) this.#resolveIdle();
    if (this.#stuck.size === 0 || this.#isClosed) {
      this.#isRetrying = false;
      return false;
    }
    const attempt = [...this.#stuck].find((each) => !this.#isHeld(each));
    if (!attempt) return true;
    if (this.#isHopeless(attempt)) {
      const substitute = substituteOf(attempt.settlement);
      if (!substitute) {
        this.#abandon(attempt);
        return true;
      }
      attempt.settlement = substitute;
    }
    await this.#send([attempt], true);
    if (!this.#stuck.has(attempt)) this.#rejoin();
    return true;
  }

  /** One got through: so may the others, together. */
  #rejoin(): void {
    for (const attempt of this.#stuck) {
      if (this.#isHopeless(attempt) || this.#isHeld(attempt)) continue;
      this.#stuck.delete(attempt);
      this.#take(attempt);
    }
  }

  /** It has failed for as long as a lease. */
  #isHopeless(attempt: Attempt): boolean {
    const { clock, leaseMs } = this.#parts;
    if (this.#isHeld(attempt)) return false;
    const { since } = this.#troubles.get(attempt) ?? {};
    return since !== undefined && clock.monotonic() - since > leaseMs;
  }

  /** Ends the hold of an attempt that cannot be settled. */
  #abandon(attempt: Attempt): void {
    const { hub, fence, onAbandoned } = this.#parts;
    const { error = CLOSED } = this.#troubles.get(attempt) ?? {};
    this.#stuck.delete(attempt);
    hub.emit('job.abandoned', { job: attempt.ref, error });
    this.#confirm(1);
    fence.call('abandon', () => onAbandoned(attempt.leaseId));
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

/** An attempt that fails for a reason of its own. */
interface Trouble {
  readonly tries: number;
  readonly since: number;
  readonly error: HowdahError;
}

interface Failure {
  readonly fault: SettleFault;
  readonly error: HowdahError;
}

type OutcomeOf = (attempt: Attempt) => readonly [outcome: SettleOutcome, runAtMs: number | null];

const OPEN = new HowdahError('HOWDAH_TIMEOUT', 'A transaction that is still open has the job.', {
  details: { sqlstate: '55P03', isUndone: true },
});
const CLOSED = new HowdahError('HOWDAH_CLIENT_CLOSED', 'The worker has stopped.');

/** Takes attempts of one lease from the front. */
function takeBatch(waiting: Attempt[]): readonly Attempt[] {
  const leaseId = waiting[0]?.leaseId;
  let chars = 0;
  const end = waiting.findIndex((attempt) => {
    const isFirst = chars === 0;
    chars += (attempt.settlement?.result?.length ?? 0) + 1;
    return attempt.leaseId !== leaseId || (chars > RESULT_CHARS_MAX && !isFirst);
  });
  return waiting.splice(0, Math.min(BATCH_MAX, end < 0 ? waiting.length : end));
}
