import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { monotonicMs } from './clock.js';

const BYTES = 12;

/** Each start of a job in a file: a write that the system has taken outlives the process that is killed. */
export class StartLog {
  #file;
  #record = new DataView(new ArrayBuffer(BYTES));

  constructor(path) {
    this.#file = openSync(path, 'a');
  }

  add(n) {
    this.#record.setFloat64(0, monotonicMs());
    this.#record.setUint32(8, n);
    writeSync(this.#file, this.#record);
  }

  close() {
    closeSync(this.#file);
  }
}

/** Every start in these files, `{at, n}`, the first first. */
export function readStarts(paths) {
  const starts = [];
  for (const path of paths) {
    const bytes = readFileSync(path);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i + BYTES <= bytes.byteLength; i += BYTES) {
      starts.push({ at: view.getFloat64(i), n: view.getUint32(i + 8) });
    }
  }
  return starts.sort((a, b) => a.at - b.at);
}
