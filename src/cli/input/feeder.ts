import type { Client } from '../../client/client.js';
import type { EnqueueManyResult } from '../../client/enqueue/enqueue-many.js';
import type { EnqueueOptions } from '../../client/enqueue/enqueue-options.js';
import { HowdahError } from '../../core/errors.js';
import { type BadRecord, type GoodRecord, isBad, type RecordSource } from './record.js';

/** Most records, and about most bytes, in one call. */
const CHUNK_RECORDS = 1_000;
const CHUNK_BYTES = 1_048_576;
/** A slow input is enqueued as it comes: a chunk waits no longer than this to fill. */
const LINGER_MS = 200;

/** What a {@link Feeder} works with. */
interface FeederContext {
  readonly client: Client;
  readonly queue: string;
  readonly options: EnqueueOptions;
  /** At the first record that is refused: stop there, or pass it over. */
  readonly onError: 'stop' | 'skip';
  /** Told of each record that is passed over, in their order. */
  readonly onRejected: (rejection: BadRecord) => void;
}

/** What became of the input. Whatever else was read was not tried, because an earlier one stopped it. */
export interface FeedAccount {
  /** Records read; blank lines do not count. */
  read: number;
  enqueued: number;
  rejected: number;
  /** Sent when the connection was lost before the answer: enqueued or not. */
  unknown: number;
}

/** The input was not enqueued to its end. */
export class FeedStopped extends Error {
  /** Everything before this line was dealt with. */
  readonly line: number;
  override readonly cause: HowdahError;

  constructor(line: number, cause: HowdahError) {
    super(cause.message);
    this.line = line;
    this.cause = cause;
  }
}

/** Enqueues records in their order, chunk by chunk, with two chunks in memory at most. */
export class Feeder {
  readonly account: FeedAccount = { read: 0, enqueued: 0, rejected: 0, unknown: 0 };
  readonly #context: FeederContext;
  #chunk: GoodRecord[] = [];
  #bytes = 0;
  #underWay: Promise<void> = Promise.resolve();

  constructor(context: FeederContext) {
    this.#context = context;
  }

  /** @throws FeedStopped; or whatever reading the input throws, after what came before is enqueued */
  async run(records: RecordSource): Promise<void> {
    const timer = setInterval(() => void this.#flush().catch(() => undefined), LINGER_MS);
    try {
      await this.#readAll(records);
    } catch (error) {
      if (!(error instanceof FeedStopped)) await this.#drain();
      throw error;
    } finally {
      clearInterval(timer);
    }
    await this.#drain();
  }

  async #readAll(records: RecordSource): Promise<void> {
    for await (const block of records) {
      for (const record of block) {
        this.account.read += 1;
        if (isBad(record)) await this.#refuse(record);
        else {
          this.#chunk.push(record);
          this.#bytes += record.bytes;
          if (this.#isFull) await this.#flush();
        }
      }
    }
  }

  get #isFull(): boolean {
    return this.#chunk.length >= CHUNK_RECORDS || this.#bytes >= CHUNK_BYTES;
  }

  async #refuse(record: BadRecord): Promise<void> {
    // What came before goes first: it may hold the first error, and reports keep their order.
    await this.#drain();
    this.account.rejected += 1;
    if (this.#context.onError === 'skip') {
      this.#context.onRejected(record);
      return;
    }
    const { line, problem } = record;
    throw new FeedStopped(
      line,
      new HowdahError('HOWDAH_PAYLOAD_INVALID', `Line ${line} ${problem}.`, { details: { line } }),
    );
  }

  async #drain(): Promise<void> {
    await this.#flush();
    await this.#underWay;
  }

  /** Hands the chunk over; resolves when the one before it is done. */
  #flush(): Promise<void> {
    const before = this.#underWay;
    if (this.#chunk.length === 0) return before;
    const chunk = this.#chunk;
    this.#chunk = [];
    this.#bytes = 0;
    this.#underWay = before.then(() => this.#send(chunk));
    this.#underWay.catch(() => undefined); // whoever flushes next, or drains, sees it
    return before;
  }

  async #send(chunk: readonly GoodRecord[]): Promise<void> {
    const { client, queue, options, onError } = this.#context;
    let result: EnqueueManyResult;
    try {
      result = await client.enqueueMany(
        queue,
        chunk.map(({ value }) => value),
        { ...options, onError: onError === 'stop' ? 'throw' : 'report' },
      );
    } catch (error) {
      throw this.#stopped(chunk, error);
    }
    this.account.enqueued += result.accepted;
    for (const { index, error } of result.rejections) {
      const { line, value } = chunk[index] as GoodRecord;
      // No record's fault: every other would be refused, too.
      if (error.code === 'HOWDAH_QUEUE_UNKNOWN') throw new FeedStopped(line, error);
      this.account.rejected += 1;
      this.#context.onRejected({ line, problem: error.message, text: JSON.stringify(value) });
    }
  }

  #stopped(chunk: readonly GoodRecord[], error: unknown): unknown {
    if (!(error instanceof HowdahError)) return error;
    const {
      index = 0,
      accepted = 0,
      rejected = 0,
      unknown = 0,
    } = error.details as Record<string, number | undefined>;
    this.account.enqueued += accepted;
    this.account.rejected += rejected;
    this.account.unknown += unknown;
    const { line } = chunk[index] ?? (chunk[0] as GoodRecord);
    const isItsFault = error.code.startsWith('HOWDAH_PAYLOAD');
    if (isItsFault) this.account.rejected += 1;
    return new FeedStopped(line, error);
  }
}
