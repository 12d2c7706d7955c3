const NOTIFICATION_RESPONSE = 'A'.charCodeAt(0);
const HEADER_BYTES = 5;

/** Takes NotificationResponse messages out of what a PostgreSQL server sends. */
export class NotificationFilter {
  #rest: Buffer = Buffer.alloc(0);

  /** Returns the whole messages received so far, less the notifications. */
  pass(chunk: Buffer): Buffer {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const kept: Buffer[] = [];
    while (this.#rest.length >= HEADER_BYTES) {
      const length = 1 + this.#rest.readUInt32BE(1);
      if (this.#rest.length < length) break;
      const message = this.#rest.subarray(0, length);
      if (message[0] !== NOTIFICATION_RESPONSE) kept.push(message);
      this.#rest = this.#rest.subarray(length);
    }
    return Buffer.concat(kept);
  }
}
