import { countOption, givenOptions, type KnownKeys } from '../../core/option.js';
import { type AnyQueue, nameOf } from '../../core/queue/queue.js';
import { topicCalls } from '../../db/calls/topics.js';
import type { Database } from '../../db/database.js';
import type { Declarations } from '../../db/declarations.js';

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

const FILTER: KnownKeys<SubscriptionFilter> = { topic: true, limit: true };

/** `client.topics`: which queues get what is published to which topic. `client.publish` publishes. */
export class Topics {
  readonly #declarations: Declarations;
  readonly #calls;

  /** Made by the client. */
  constructor(database: Database, declarations: Declarations) {
    this.#declarations = declarations;
    this.#calls = topicCalls(database);
  }

  /**
   * From now on the queue gets what is published to the topic. @returns false: it did already
   * @throws HowdahError HOWDAH_TOPIC_INVALID, HOWDAH_QUEUE_UNKNOWN
   */
  async subscribe(topic: string, queue: AnyQueue | string): Promise<boolean> {
    if (typeof queue !== 'string') await this.#declarations.ensure(queue);
    return this.#calls.subscribe(topic, nameOf(queue));
  }

  /** @returns false: it was not subscribed @throws HowdahError as `subscribe` */
  async unsubscribe(topic: string, queue: AnyQueue | string): Promise<boolean> {
    return this.#calls.unsubscribe(topic, nameOf(queue));
  }

  /** Which queue gets what, by topic and queue. @throws HowdahError HOWDAH_OPTION_INVALID */
  async subscriptions(filter: SubscriptionFilter = {}): Promise<readonly Subscription[]> {
    const { topic, limit } = givenOptions('filter', filter, FILTER);
    const rows = await this.#calls.list(topic, countOption('limit', limit, 1000, 10_000));
    return rows.map((row) => ({
      topic: row.topic,
      queue: row.queue,
      subscribedAt: row.subscribed_at,
    }));
  }
}
