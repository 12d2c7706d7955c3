import type { Clock } from '../../core/clock.js';
import { HowdahError } from '../../core/errors.js';
import { Batcher, type Settled } from '../../core/time/batcher.js';
import type { PullCalls } from '../../db/calls/pull.js';
import { isHeld } from '../../db/patience.js';
import { isFaultOfData } from '../enqueue/send.js';
import { BRIEF_LOCK_MS, type HeldCalls, LOCK_MS } from '../held-calls.js';
import type { Hold } from './receipt.js';

const ITEMS_MAX = 500;
const CHARS_MAX = 1_048_576;
const WAITING_MAX = 100_000;
const WAITING_CHARS_MAX = 67_108_864;
/** A statement that a deadlock or a failed connect undid is sent again so often. */
const TRIES = 4;

interface Ask {
  readonly hold: Hold;
  readonly text: string;
}

/** Settles received jobs: calls of the same moment share a statement, each gets its own answer. */
export class PullSettler {
  readonly #calls: PullCalls;
  readonly #held: HeldCalls;
  readonly #clock: Clock;
  /** Those that are held, and hence not with the batcher. */
  readonly #waiting = new Set<Promise<unknown>>();
  readonly #batcher: Batcher<Ask, string>;

  constructor(calls: PullCalls, held: HeldCalls, clock: Clock) {
    this.#calls = calls;
    this.#held = held;
    this.#clock = clock;
    this.#batcher = new Batcher({
      itemsMax: ITEMS_MAX,
      sizeMax: CHARS_MAX,
      flushesMax: 1,
      waitingMax: WAITING_MAX,
      waitingSizeMax: WAITING_CHARS_MAX,
      refuse: (waiting) =>
        new HowdahError('HOWDAH_BUFFER_FULL', `${waiting} outcomes wait to be settled.`, {
          details: { waiting },
          remedy: 'Await the calls.',
        }),
      defer: setImmediate,
      flush: (asks) => this.#flush(asks),
    });
  }

  /**
   * @param more the rest of the ask as members of a JSON object, encoded: `"outcome":"complete"`
   * @returns what became of the job
   * @throws HowdahError HOWDAH_SETTLE_STALE
   */
  settle(hold: Hold, more: string): Promise<string> {
    const text = `{"lease":"${hold.leaseId}","id":"${hold.id}","attempt":${hold.claims},${more}}`;
    return this.#batcher.add({ hold, text }, text.length);
  }

  /** Resolves when every outcome handed over has its answer. */
  async idle(): Promise<void> {
    await this.#batcher.idle();
    while (this.#waiting.size > 0) await Promise.allSettled(this.#waiting);
  }

  async #flush(
    asks: readonly Ask[],
    lockMs = LOCK_MS,
  ): Promise<Settled<string | Promise<string>>[]> {
    try {
      return await this.#send(asks, lockMs);
    } catch (error) {
      if (isHeld(error)) return this.#part(asks);
      if (!isFaultOfData(error)) throw error;
      if (asks.length === 1) return [{ error }];
      // one of them is refused, the statement had no effect: each goes by itself
      const settled: Settled<string | Promise<string>>[] = [];
      for (const ask of asks) settled.push(...(await this.#flush([ask])));
      return settled;
    }
  }

  /** Somebody's transaction has one of the jobs: it waits by itself, the others go on. */
  async #part(asks: readonly Ask[]): Promise<Settled<string | Promise<string>>[]> {
    if (asks.length === 1) return [{ value: this.#wait(asks) }];
    const middle = asks.length >> 1;
    const settled: Settled<string | Promise<string>>[] = [];
    for (const half of [asks.slice(0, middle), asks.slice(middle)]) {
      const some = this.#flush(half, BRIEF_LOCK_MS);
      // the one before may have been settled: its callers must not hear of this one's failure
      settled.push(...(await some.catch((error) => half.map(() => ({ error })))));
    }
    return settled;
  }

  #wait(asks: readonly Ask[]): Promise<string> {
    const since = this.#clock.monotonic();
    const answer = this.#held
      .again((ms) => this.#send(asks, ms), since)
      .then(([settled]) => {
        if (settled && 'value' in settled) return settled.value;
        throw settled?.error;
      });
    this.#waiting.add(answer);
    const forget = () => this.#waiting.delete(answer);
    answer.then(forget, forget);
    return answer;
  }

  async #send(asks: readonly Ask[], lockMs: number): Promise<Settled<string>[]> {
    const text = `[${asks.map((ask) => ask.text).join()}]`;
    for (let tried = 1; ; tried++) {
      try {
        const rows = await this.#calls.settle(text, lockMs);
        const outcomes = new Map(rows.map(({ ordinal, outcome }) => [ordinal, outcome]));
        return asks.map(({ hold }, i) => {
          const outcome = outcomes.get(i + 1) ?? 'stale';
          return outcome === 'stale' ? { error: stale(hold) } : { value: outcome };
        });
      } catch (error) {
        if (tried >= TRIES || !mayResend(error)) throw error;
      }
    }
  }
}

function mayResend(error: unknown): boolean {
  if (!(error instanceof HowdahError)) return false;
  if (error.code === 'HOWDAH_TRANSACTION_CONFLICT') return true;
  return error.code === 'HOWDAH_DATABASE_UNAVAILABLE' && error.details.isSent !== true;
}

function stale({ id }: Hold): HowdahError {
  return new HowdahError('HOWDAH_SETTLE_STALE', `Job ${id} is no longer held by this receipt.`, {
    details: { id },
    remedy: 'Its visibility ended and it runs elsewhere, or it is settled; drop the work.',
  });
}
