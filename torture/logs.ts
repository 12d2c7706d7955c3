import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';

/** One operation of a producer, and what it was told. */
export interface Operation {
  readonly op: string;
  readonly queue: string;
  readonly ns: readonly number[];
  readonly group?: string;
  readonly key?: string;
  readonly delayMs?: number;
  /** Its place among all lines of its producer. */
  readonly sentAt: number;
  /** Undefined: it never came back. */
  endedAt?: number;
  end: 'ok' | 'failed' | 'open';
  id?: string;
  created?: boolean;
  code?: string;
}

/** What a worker said of a job. */
export interface WorkerLine {
  readonly worker: string;
  readonly type: string;
  readonly id?: string;
  readonly attempt?: number;
  readonly outcome?: string;
  readonly isUncertain?: boolean;
  readonly code?: string;
  readonly reason?: unknown;
  /** Of maintenance. */
  readonly duty?: string;
  /** Unix time in milliseconds, by the clock of the worker. */
  readonly at?: number;
}

type Line = Record<string, unknown>;

/** A log that grows, read as far as it is written; the last line may have been cut off by the end of its process. */
class Tail {
  readonly #file: string;
  #offset = 0;
  #rest = Buffer.alloc(0);

  constructor(file: string) {
    this.#file = file;
  }

  /** The lines that have come since it was asked last. */
  read(): Line[] {
    if (!existsSync(this.#file)) return [];
    const chunk = readFrom(this.#file, this.#offset);
    this.#offset += chunk.length;
    const text = Buffer.concat([this.#rest, chunk]);
    const end = text.lastIndexOf('\n') + 1;
    this.#rest = text.subarray(end);
    return text
      .subarray(0, end)
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  }
}

function readFrom(file: string, offset: number): Buffer {
  const handle = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(Math.max(0, fstatSync(handle).size - offset));
    return buffer.subarray(0, readSync(handle, buffer, 0, buffer.length, offset));
  } finally {
    closeSync(handle);
  }
}

/** What a producer has done so far. */
export class OperationLog {
  readonly #tail: Tail;
  readonly #open = new Map<number, Operation>();
  readonly #all: Operation[] = [];
  #place = 0;

  constructor(file: string) {
    this.#tail = new Tail(file);
  }

  get operations(): Operation[] {
    for (const line of this.#tail.read()) this.#add(line);
    return this.#all;
  }

  #add(line: Line): void {
    const place = this.#place++;
    const { phase, ...facts } = line as { phase: string; ns: number[] } & Line;
    const [first = -1] = facts.ns;
    if (phase === 'sent') {
      const operation = { ...facts, sentAt: place, end: 'open' } as unknown as Operation;
      this.#open.set(first, operation);
      this.#all.push(operation);
      return;
    }
    const operation = this.#open.get(first);
    if (!operation) return;
    this.#open.delete(first);
    operation.end = phase === 'ok' ? 'ok' : 'failed';
    operation.endedAt = place;
    const { id, created, code } = facts as Partial<Operation>;
    Object.assign(operation, { id, created, code });
  }
}

/** What a worker has said so far. */
export class WorkerLog {
  readonly #tail: Tail;
  readonly #worker: string;
  readonly #all: WorkerLine[] = [];

  constructor(file: string, worker: string) {
    this.#tail = new Tail(file);
    this.#worker = worker;
  }

  get lines(): WorkerLine[] {
    for (const line of this.#tail.read()) {
      this.#all.push({ ...line, worker: this.#worker } as unknown as WorkerLine);
    }
    return this.#all;
  }
}
