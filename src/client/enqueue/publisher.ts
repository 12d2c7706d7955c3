import type { Clock } from '../../core/clock.js';
import type { Codecs } from '../../core/codec/codec.js';
import { encodeJobOptions, type JobOptions } from '../../core/job/enqueue-options.js';
import { codecOf } from '../../core/job/job-text.js';
import { encodePayload } from '../../core/job/payload.js';
import { encodeJson } from '../../core/json.js';
import { type Published, type TopicCalls, topicCalls } from '../../db/calls/topics.js';
import type { Database } from '../../db/database.js';
import type { TxHandle } from '../../db/handles/tx-handle.js';
import type { HeldCalls } from '../held-calls.js';
import { CallerTransaction, type CallerTransactionContext } from './caller-transaction.js';
import { mayBeHeld } from './enqueuer.js';
import type { Producer } from './producer.js';
import { send, sendPatiently } from './send.js';

/** What can be said of the jobs that a publication becomes, the same of each. */
export interface PublishOptions extends JobOptions {
  /** An open transaction of the caller: the jobs exist if and only if it commits. */
  readonly tx?: TxHandle | undefined;
}

/** What a {@link Publisher} is made with. */
interface PublisherParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly context: CallerTransactionContext;
  readonly codecs: Codecs | undefined;
  readonly producer: Producer;
  readonly held: HeldCalls;
}

/** Enqueues a job in each queue that is subscribed to a topic. */
export class Publisher {
  readonly #parts: PublisherParts;
  readonly #calls: TopicCalls;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
    this.#calls = topicCalls(parts.database);
  }

  async publish(
    topic: string,
    payload: unknown,
    options: PublishOptions,
  ): Promise<readonly Published[]> {
    const call = { via: 'publish', queue: topic, payload, options } as const;
    return this.#parts.producer.surround(call, async (changed) => {
      const published = await this.#publish(
        topic,
        changed.payload,
        changed.options as PublishOptions,
      );
      this.#parts.producer.report(published, changed.options.tx === undefined);
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
    const { database, clock, codecs, context, held } = this.#parts;
    const codec = codecs && codecOf(codecs, topic, options);
    const members = encodeJobOptions(options, 0, clock.now(), codec);
    const encoded = await encodePayload('', payload, codec?.payload);
    const text = `{"topic":${name},"payload":${encoded}${members}}`;
    if (tx === undefined) {
      if (!mayBeHeld(options)) {
        return send(() => this.#calls.publish(database, text), clock);
      }
      return held.run((ms) =>
        sendPatiently(() => this.#calls.publishPatiently(database, text, ms), clock),
      );
    }
    const rows = await new CallerTransaction(tx, context).run(this.#calls.publishText, text);
    return rows as readonly object[] as readonly Published[];
  }
}
