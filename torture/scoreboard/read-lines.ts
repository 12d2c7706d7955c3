import { closeSync, openSync, readSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';

const CHUNK_BYTES = 1024 * 1024;

/** The finished lines of a file that may be longer than a string can be. */
export function* readLines(file: string, chunkBytes = CHUNK_BYTES): Generator<string> {
  const chunk = Buffer.allocUnsafe(chunkBytes);
  const decoder = new StringDecoder('utf8');
  const from = openSync(file, 'r');
  try {
    let begun = '';
    for (let read = readSync(from, chunk); read > 0; read = readSync(from, chunk)) {
      const lines = (begun + decoder.write(chunk.subarray(0, read))).split('\n');
      begun = lines.pop() ?? '';
      yield* lines;
    }
  } finally {
    closeSync(from);
  }
}
