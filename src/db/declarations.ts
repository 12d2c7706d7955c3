import { HowdahError } from '../core/errors.js';
import { type AnyQueue, toPolicy } from '../core/queue.js';
import { queueCalls } from './calls/queues.js';
import type { Database } from './database.js';

/**
 * Declares queues in the database, each once per process: creates them or applies the policy keys
 * that their declaration names. The first declaration also checks the version of the schema.
 */
export class Declarations {
  readonly #database: Database;
  readonly #calls;
  readonly #declared = new WeakSet<AnyQueue>();
  readonly #underWay = new Map<AnyQueue, Promise<void>>();
  #isVersionChecked = false;
  #versionCheck: Promise<void> | undefined;

  constructor(database: Database) {
    this.#database = database;
    this.#calls = queueCalls(database);
  }

  /** Whether the queue needs nothing more; without one, whether the schema has been checked. */
  has(definition?: AnyQueue): boolean {
    return definition ? this.#declared.has(definition) : this.#isVersionChecked;
  }

  /**
   * Declares the queue and its dead-letter queue, unless that is done; callers of the same moment
   * share one round trip. A failure is not remembered.
   * @throws HowdahError HOWDAH_SCHEMA_MISSING, HOWDAH_SCHEMA_OLDER, HOWDAH_SCHEMA_NEWER, ...
   */
  async ensure(definition?: AnyQueue): Promise<void> {
    await this.#checkVersion();
    if (!definition || this.#declared.has(definition)) return;
    const underWay = this.#underWay.get(definition);
    if (underWay) return underWay;
    const declaring = this.#declare(definition).finally(() => this.#underWay.delete(definition));
    this.#underWay.set(definition, declaring);
    return declaring;
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

  async #declare(definition: AnyQueue): Promise<void> {
    if (definition.deadLetterQueue) await this.ensure(definition.deadLetterQueue);
    try {
      await this.#calls.create(this.#database, definition.name, toPolicy(definition));
    } catch (error) {
      // A role that may only enqueue: somebody with more rights has declared the queue, or the
      // enqueue itself will say that it does not exist.
      if (!(error instanceof HowdahError) || error.code !== 'HOWDAH_PERMISSION_DENIED') throw error;
    }
    this.#declared.add(definition);
  }

  async #checkVersion(): Promise<void> {
    if (this.#isVersionChecked) return;
    this.#versionCheck ??= this.#database.assertVersion().finally(() => {
      this.#versionCheck = undefined;
    });
    await this.#versionCheck;
    this.#isVersionChecked = true;
  }
}
