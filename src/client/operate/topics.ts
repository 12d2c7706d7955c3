import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import { encodeJobOptions, type JobOptions } from '../../core/job/enqueue-options.js';
import { codecOf } from '../../core/job/job-text.js';
import { encodePayload } from '../../core/job/payload.js';
import { encodeJson } from '../../core/json.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import { type Published, topicCalls } from '../../db/calls/topics.js';
import type { Database } from '../../db/database.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';
import { CallerTransaction, type CallerTransactionContext } from '../enqueue/caller-transaction.js';
import { integer } from '../enqueue/enqueue-options.js';
import { mayBeHeld } from '../enqueue/enqueuer.js';
import type { Producer } from '../enqueue/producer.js';
import { send, sendPatiently } from '../enqueue/send.js';
import type { HeldCalls } from '../held-calls.js';

/** What can be said of the jobs that a publication becomes, the same of each. */
export interface PublishOptions extends JobOptions {
  /** An open transaction of the caller: the jobs exist if and only if it commits. */
  readonly tx?: TxHandle | undefined;
}

/** A queue that gets what is published to a topic. */
export interface Subscription {
  readonly topic: string;
  readonly queue: string;
  readonly subscribedAt: Date;
}

/** Which subscriptions to list, by topic and queue. */
export interface SubscriptionFilter {
  readonly topic?: string | undefined;
  /** How many, 1 to 10,000. Default 1000. */
  readonly limit?: number | undefined;
}

/** Publishes, subscribes queues, and looks at subscriptions. */
export class Topics {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #context: CallerTransactionContext;
  readonly #codecs: Codecs | undefined;
  readonly #producer: Producer;
  readonly #held: HeldCalls;
  readonly #calls;

  constructor(
    database: Database,
    clock: Clock,
    context: CallerTransactionContext,
    codecs: Codecs | undefined,
    producer: Producer,
    held: HeldCalls,
  ) {
    this.#held = held;
    this.#producer = producer;
    this.#database = database;
    this.#clock = clock;
    this.#context = context;
    this.#codecs = codecs;
    this.#calls = topicCalls(database);
  }

  async subscribe(topic: string, target: AnyQueue | string): Promise<boolean> {
    if (typeof target !== 'string') await this.#context.declarations.ensure(target);
    return this.#calls.subscribe(topic, nameOf(target));
  }

  unsubscribe(topic: string, target: AnyQueue | string): Promise<boolean> {
    return this.#calls.unsubscribe(topic, nameOf(target));
  }

  async publish(
    topic: string,
    payload: unknown,
    options: PublishOptions,
  ): Promise<readonly Published[]> {
    const call = { via: 'publish', queue: topic, payload, options } as const;
    return this.#producer.surround(call, async (changed) => {
      const published = await this.#publish(
        topic,
        changed.payload,
        changed.options as PublishOptions,
      );
      this.#producer.report(published, changed.options.tx === undefined);
      return published;
    });
  }

  async #publish(
    topic: string,
    payload: unknown,
    options: PublishOptions,
  ): Promise<readonly Published[]> {
    const { tx } = options;
    const name = encodeJson(topic, 'topic', 'HOWDAH_TOPIC_INVALID');
    // what a codec is told of a publication is its topic: it has no queue of its own
    const codecs = this.#codecs;
    const codec = codecs && codecOf(codecs, topic, options);
    const members = encodeJobOptions(options, 0, this.#clock.now(), codec);
    const encoded = await encodePayload('', payload, codec?.payload);
    const text = `{"topic":${name},"payload":${encoded}${members}}`;
    if (tx === undefined) {
      if (!mayBeHeld(options)) {
        return send(() => this.#calls.publish(this.#database, text), this.#clock);
      }
      return this.#held.run((ms) =>
        sendPatiently(() => this.#calls.publishPatiently(this.#database, text, ms), this.#clock),
      );
    }
    const rows = await new CallerTransaction(tx, this.#context).run(this.#calls.publishText, text);
    return rows as readonly object[] as readonly Published[];
  }

  async list({ topic, limit }: SubscriptionFilter): Promise<Subscription[]> {
    const rows = await this.#calls.list(topic, integer('limit', limit, 1000, 10_000));
    return rows.map((row) => ({
      topic: row.topic,
      queue: row.queue,
      subscribedAt: row.subscribed_at,
    }));
  }
}
