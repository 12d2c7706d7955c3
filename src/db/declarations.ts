import { systemClock } from '../core/clock.js';
import { HowdahError } from '../core/errors.js';
import { type AnyQueue, nameOf, toPolicy } from '../core/queue/queue.js';
import type { SqlPolicy } from '../core/queue/queue-policy.js';
import { Turns } from '../core/time/turns.js';
import { type HeldQueue, type QueueAsk, queueCalls } from './calls/queues.js';
import type { Database } from './database.js';
import { retryBriefly } from './errors/retry.js';

/** Most declarations to remember by what they say; with more, those made anew are declared once more. */
const REMEMBERED_MAX = 10_000;
/** Most queues in a statement. */
const ASKS_MAX = 1_000;
/** Between two looks whether a queue was let go. */
const AGAIN_MS = { min: 500, max: 5_000 };
const PAUSE_MS = 50;
/** What does not pass: of the declaration, or of the rights of this role. */
const REFUSED: ReadonlySet<string> = new Set([
  'HOWDAH_POLICY_INVALID',
  'HOWDAH_QUEUE_NAME_INVALID',
  'HOWDAH_QUEUE_UNKNOWN',
  'HOWDAH_PERMISSION_DENIED',
]);

/**
 * Declares queues in the database, each once per process: creates them or applies the policy keys
 * that their declaration names. Before the first, the version of the schema is checked. A declaration
 * that is made anew at each call says the same each time, and is the same.
 *
 * A queue that an open transaction holds is used as it is, and declared when it is let go; one that is being
 * created there is waited for.
 */
export class Declarations {
  readonly #database: Database;
  readonly #calls;
  readonly #declared = new WeakSet<AnyQueue>();
  /** What was declared, for declarations that are made anew at each call. */
  readonly #said = new Set<string>();
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #first: readonly AnyQueue[];
  readonly #onHeld: (queue: string, error?: HowdahError) => void;
  /** Policies of queues that open transactions held, by queue. */
  readonly #left = new Map<string, SqlPolicy>();
  readonly #again = new Turns(1);
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #isOpened = false;
  #opening: Promise<void> | undefined;

  /**
   * @param first queues to declare before any other, at the first call of `ensure`
   * @param onHeld told of a queue whose policy stays as it is for now, or why for good
   */
  constructor(
    database: Database,
    first: readonly AnyQueue[] = [],
    onHeld: (queue: string, error?: HowdahError) => void = () => {},
  ) {
    this.#database = database;
    this.#first = first;
    this.#onHeld = onHeld;
    this.#calls = queueCalls(database);
  }

  /** Whether the queue needs nothing more; without one, whether the first call is over. */
  has(definition?: AnyQueue): boolean {
    return definition ? this.#isDeclared(definition) : this.#isOpened;
  }

  /**
   * Declares the queue and its dead-letter queue, unless that is done; callers of the same moment
   * share one round trip. A failure is not remembered.
   * @throws HowdahError HOWDAH_SCHEMA_MISSING, HOWDAH_SCHEMA_OLDER, HOWDAH_SCHEMA_NEWER, ...
   */
  async ensure(definition?: AnyQueue): Promise<void> {
    if (definition !== undefined) nameOf(definition);
    if (!this.#isOpened) await this.#open();
    if (definition) await this.#ensureOpened([definition]);
  }

  /** The same for many, in one round trip. */
  async ensureAll(definitions: readonly AnyQueue[]): Promise<void> {
    if (!this.#isOpened) await this.#open();
    await this.#ensureOpened(definitions);
  }

  /** What is held is not asked for any more. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  /**
   * Declares the queue by another way than the database's own connections, and does not remember it:
   * the caller's transaction may roll back.
   * @param run runs one statement with one text parameter
   */
  async declareBy(
    run: (sql: string, text: string) => Promise<unknown>,
    definition: AnyQueue,
  ): Promise<void> {
    if (definition.deadLetterQueue) await this.declareBy(run, definition.deadLetterQueue);
    const ask = { queue: definition.name, policy: toPolicy(definition) };
    await run(this.#calls.createText, JSON.stringify(ask));
  }

  #isDeclared(definition: AnyQueue): boolean {
    if (this.#declared.has(definition)) return true;
    if (!this.#said.has(textOf(definition))) return false;
    this.#declared.add(definition);
    return true;
  }

  async #ensureOpened(definitions: readonly AnyQueue[]): Promise<void> {
    const missing = new Map<string, AnyQueue>();
    const declaring = new Set<Promise<void>>();
    for (const definition of definitions) {
      if (this.#isDeclared(definition)) continue;
      const text = textOf(definition);
      const underWay = this.#underWay.get(text);
      if (underWay) declaring.add(underWay);
      else missing.set(text, definition);
    }
    if (missing.size > 0) {
      const mine = this.#declare([...missing.values()]).finally(() => {
        for (const text of missing.keys()) this.#underWay.delete(text);
      });
      for (const text of missing.keys()) this.#underWay.set(text, mine);
      declaring.add(mine);
    }
    await Promise.all(declaring);
  }

  /** One round trip for all of them. */
  async #declare(definitions: readonly AnyQueue[]): Promise<void> {
    const asks = definitions.flatMap((definition) => asksOf(definition));
    try {
      const held: HeldQueue[] = [];
      for (let from = 0; from < asks.length; from += ASKS_MAX) {
        const some = asks.slice(from, from + ASKS_MAX);
        held.push(...(await insist(() => this.#calls.createMany(this.#database, some))));
      }
      const missing = held.filter(({ is_there }) => !is_there).map(({ queue }) => queue);
      const left = new Set(held.filter(({ is_there }) => is_there).map(({ queue }) => queue));
      if (missing.length > 0) {
        for (const queue of await this.#awaitCreated(asks, missing)) left.add(queue);
      }
      this.#leave(asks, left);
    } catch (error) {
      // A role that may only enqueue: somebody with more rights has declared the queue, or the
      // enqueue itself will say that it does not exist.
      if (!(error instanceof HowdahError) || error.code !== 'HOWDAH_PERMISSION_DENIED') throw error;
    }
    for (const definition of definitions) this.#remember(definition);
  }

  #remember(definition: AnyQueue): void {
    if (definition.deadLetterQueue) this.#remember(definition.deadLetterQueue);
    if (this.#said.size >= REMEMBERED_MAX) this.#said.clear();
    this.#said.add(textOf(definition));
    this.#declared.add(definition);
  }

  /**
   * Queues that an open transaction creates: without its end they are not there.
   * @returns those that are there by then and held by another, so that their policy is not what was asked for
   */
  async #awaitCreated(asks: readonly QueueAsk[], names: readonly string[]): Promise<Set<string>> {
    const left = new Set<string>();
    const until = systemClock.monotonic() + this.#database.settings.statementTimeoutMs;
    for (let missing = names; missing.length > 0; ) {
      if (systemClock.monotonic() > until) throw heldTooLong(missing[0] as string);
      await systemClock.sleep(PAUSE_MS);
      const again = asks.filter(({ queue }) => missing.includes(queue));
      const held = await this.#again.run(() => this.#calls.createMany(this.#database, again));
      missing = held.filter(({ is_there }) => !is_there).map(({ queue }) => queue);
      for (const { queue, is_there } of held) if (is_there) left.add(queue);
    }
    return left;
  }

  /** What is held is asked for again later; what has been done need not be any more. */
  #leave(asks: readonly QueueAsk[], held: ReadonlySet<string>): void {
    for (const { queue } of asks) this.#left.delete(queue);
    for (const { queue, policy } of asks) {
      if (held.has(queue)) this.#left.set(queue, { ...this.#left.get(queue), ...policy });
    }
    for (const queue of held) this.#onHeld(queue);
    this.#askLater(AGAIN_MS.min);
  }

  #askLater(ms: number): void {
    if (this.#left.size === 0 || this.#timer || this.#isClosed) return;
    const ask = (): void => {
      void this.#askAgain().then((isClosed) => {
        this.#timer = undefined;
        if (!isClosed) this.#askLater(Math.min(2 * ms, AGAIN_MS.max));
      });
    };
    // a process that has nothing else to do may end
    this.#timer = setTimeout(ask, ms).unref();
  }

  /** One after another, so that none suffers from another. Never rejects. @returns whether it is over */
  async #askAgain(): Promise<boolean> {
    for (const [queue, policy] of [...this.#left]) {
      try {
        const held = await this.#calls.createMany(this.#database, [{ queue, policy }]);
        if (held.length === 0 && this.#left.get(queue) === policy) this.#left.delete(queue);
      } catch (error) {
        if (!(error instanceof HowdahError) || error.code === 'HOWDAH_CLIENT_CLOSED') return true;
        if (!REFUSED.has(error.code)) return false;
        // it was good when it was declared: somebody has changed what it goes with
        this.#left.delete(queue);
        this.#onHeld(queue, error);
      }
    }
    return false;
  }

  #open(): Promise<void> {
    this.#opening ??= this.#checkAndDeclareFirst().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #checkAndDeclareFirst(): Promise<void> {
    await insist(() => this.#database.assertVersion());
    await this.#ensureOpened(this.#first);
    this.#isOpened = true;
  }
}

/** Calls that wait for a declaration fail with it; to declare twice is to declare once. */
function insist<T>(run: () => Promise<T>): Promise<T> {
  return retryBriefly(run, systemClock, () => true);
}

/** The queue, behind its dead-letter queue. */
function asksOf(definition: AnyQueue): QueueAsk[] {
  const { deadLetterQueue } = definition;
  const own = { queue: definition.name, policy: toPolicy(definition) };
  return deadLetterQueue ? [...asksOf(deadLetterQueue), own] : [own];
}

function heldTooLong(queue: string): HowdahError {
  return new HowdahError(
    'HOWDAH_TIMEOUT',
    `Queue ${queue} is being created by a transaction that is still open.`,
    { details: { queue, sqlstate: '55P03' }, remedy: 'End that transaction.' },
  );
}

/** What a declaration says. */
function textOf(definition: AnyQueue): string {
  const { name, deadLetterQueue } = definition;
  return JSON.stringify([name, toPolicy(definition), deadLetterQueue && textOf(deadLetterQueue)]);
}
