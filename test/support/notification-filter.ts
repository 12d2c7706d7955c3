const NOTIFICATION_RESPONSE = 'A'.charCodeAt(0);
const HEADER_BYTES = 5;

/** Takes NotificationResponse messages out of what a PostgreSQL server sends, while told to. */
export class NotificationFilter {
  readonly #isDropping: () => boolean;
  #rest: Buffer = Buffer.alloc(0);
  #isFirst = true;

  /** @param isDropping asked for each notification */
  constructor(isDropping: () => boolean) {
    this.#isDropping = isDropping;
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
      if (message[0] !== NOTIFICATION_RESPONSE || !this.#isDropping()) kept.push(message);
      this.#rest = this.#rest.subarray(length);
    }
    return Buffer.concat(kept);
  }
}
