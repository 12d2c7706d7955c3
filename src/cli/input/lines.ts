import { isUtf8 } from 'node:buffer';

/** A line without its ending. */
export interface Line {
  /** From 1. */
  readonly number: number;
  readonly bytes: Buffer;
  /** Set where the line cannot be read. */
  readonly problem?: string;
}

/** Longest line: the largest payload that a queue may allow, and a little. */
export const LINE_BYTES_MAX = 68 * 1024 * 1024;
const KEPT_OF_LONG_LINE = 1_000;

const LF = 0x0a;
const CR = 0x0d;
const BOM = Buffer.from('\ufeff');

/** Splits chunks of bytes into lines; keeps no more than the line it is in. */
export class LineSplitter {
  readonly #bytesMax: number;
  #parts: Buffer[] = [];
  #length = 0;
  #number = 0;

  constructor(bytesMax = LINE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /** The lines that this chunk ends. */
  push(chunk: Buffer): Line[] {
    const lines: Line[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, start)) {
      this.#keep(chunk.subarray(start, end));
      lines.push(this.#take());
      start = end + 1;
    }
    // A copy: the stream uses the memory of its chunk again.
    if (start < chunk.length) this.#keep(Buffer.from(chunk.subarray(start)));
    return lines;
  }

  /** The last line, where no line end follows it. */
  end(): Line[] {
    return this.#length > 0 ? [this.#take()] : [];
  }

  #keep(part: Buffer): void {
    const isTooLong = this.#length + part.length > this.#bytesMax;
    this.#length += part.length;
    if (!isTooLong) this.#parts.push(part);
    else if (this.#parts.length > 0) {
      // Only its beginning is still of use: for the report.
      this.#parts = [Buffer.concat(this.#parts).subarray(0, KEPT_OF_LONG_LINE)];
    }
  }

  #take(): Line {
    this.#number += 1;
    const isTooLong = this.#length > this.#bytesMax;
    let bytes = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    if (this.#number === 1 && bytes.subarray(0, 3).equals(BOM)) bytes = bytes.subarray(3);
    if (bytes.at(-1) === CR) bytes = bytes.subarray(0, -1);
    const number = this.#number;
    if (isTooLong) return { number, bytes, problem: `is longer than ${this.#bytesMax} bytes` };
    return isUtf8(bytes) ? { number, bytes } : { number, bytes, problem: 'is not UTF-8' };
  }
}

/** Whether nothing but white space is on the line. */
export function isBlank({ bytes }: Line): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09);
}
