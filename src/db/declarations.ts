import { systemClock } from '../core/clock.js';
import { HowdahError } from '../core/errors.js';
import { type AnyQueue, toPolicy } from '../core/queue.js';
import { queueCalls } from './calls/queues.js';
import type { Database } from './database.js';
import { retryBriefly } from './retry.js';

/** Most declarations to remember by what they say; with more, those made anew are declared once more. */
const REMEMBERED_MAX = 10_000;

/**
 * Declares queues in the database, each once per process: creates them or applies the policy keys
 * that their declaration names. Before the first, the version of the schema is checked. A declaration
 * that is made anew at each call says the same each time, and is the same.
 */
export class Declarations {
  readonly #database: Database;
  readonly #calls;
  readonly #declared = new WeakSet<AnyQueue>();
  /** What was declared, for declarations that are made anew at each call. */
  readonly #said = new Set<string>();
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #first: readonly AnyQueue[];
  #isOpened = false;
  #opening: Promise<void> | undefined;

  /** @param first queues to declare before any other, at the first call of `ensure` */
  constructor(database: Database, first: readonly AnyQueue[] = []) {
    this.#database = database;
    this.#first = first;
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
    if (!this.#isOpened) await this.#open();
    if (definition) await this.#ensureOpened(definition);
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

  #ensureOpened(definition: AnyQueue): Promise<void> {
    if (this.#isDeclared(definition)) return Promise.resolve();
    const text = textOf(definition);
    const underWay = this.#underWay.get(text);
    if (underWay) return underWay;
    const declaring = this.#declare(definition, text).finally(() => this.#underWay.delete(text));
    this.#underWay.set(text, declaring);
    return declaring;
  }

  async #declare(definition: AnyQueue, text: string): Promise<void> {
    if (definition.deadLetterQueue) await this.#ensureOpened(definition.deadLetterQueue);
    try {
      await insist(() => this.#calls.create(this.#database, definition.name, toPolicy(definition)));
    } catch (error) {
      // A role that may only enqueue: somebody with more rights has declared the queue, or the
      // enqueue itself will say that it does not exist.
      if (!(error instanceof HowdahError) || error.code !== 'HOWDAH_PERMISSION_DENIED') throw error;
    }
    if (this.#said.size >= REMEMBERED_MAX) this.#said.clear();
    this.#said.add(text);
    this.#declared.add(definition);
  }

  #open(): Promise<void> {
    this.#opening ??= this.#checkAndDeclareFirst().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #checkAndDeclareFirst(): Promise<void> {
    await insist(() => this.#database.assertVersion());
    for (const definition of this.#first) await this.#ensureOpened(definition);
    this.#isOpened = true;
  }
}

/** Calls that wait for a declaration fail with it; to declare twice is to declare once. */
function insist(run: () => Promise<unknown>): Promise<unknown> {
  return retryBriefly(run, systemClock, () => true);
}

/** What a declaration says. */
function textOf(definition: AnyQueue): string {
  const { name, deadLetterQueue } = definition;
  return JSON.stringify([name, toPolicy(definition), deadLetterQueue && textOf(deadLetterQueue)]);
}
