const NOTIFICATION_RESPONSE = 'A'.charCodeAt(0);
const ERROR_RESPONSE = 'E'.charCodeAt(0);
const READY_FOR_QUERY = 'Z'.charCodeAt(0);
/** The field of an error that is never translated. */
const SEVERITY_ERROR = 'VERROR\0';
const HEADER_BYTES = 5;

/** What a filter asks and tells. */
export interface ReplyFilterParts {
  /** Whether to take out a notification: asked for each. */
  readonly isDropping: () => boolean;
  /** A statement failed, and the connection stays. */
  readonly onError: () => void;
}

/** Reads what a PostgreSQL server sends, message by message, and takes NotificationResponse out while told to. */
export class ReplyFilter {
  readonly #parts: ReplyFilterParts;
  #rest: Buffer = Buffer.alloc(0);
  #isFirst = true;
  #isReady = false;

  constructor(parts: ReplyFilterParts) {
    this.#parts = parts;
  }

  /** Returns the whole messages received so far, less what is dropped. */
  pass(chunk: Buffer): Buffer {
    // the answer to a request for TLS is one byte
    if (this.#isFirst && chunk.length === 1) return chunk;
    this.#isFirst = false;
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const kept: Buffer[] = [];
    while (this.#rest.length >= HEADER_BYTES) {
      const length = 1 + this.#rest.readUInt32BE(1);
      if (this.#rest.length < length) break;
      const message = this.#rest.subarray(0, length);
      if (this.#keeps(message)) kept.push(message);
      this.#rest = this.#rest.subarray(length);
    }
    return Buffer.concat(kept);
  }

  #keeps(message: Buffer): boolean {
    const type = message[0];
    if (type === READY_FOR_QUERY) this.#isReady = true;
    // before that it was the connection that was refused
    else if (type === ERROR_RESPONSE && this.#isReady && message.includes(SEVERITY_ERROR)) {
      this.#parts.onError();
    }
    return type !== NOTIFICATION_RESPONSE || !this.#parts.isDropping();
  }
}
