import { closeSync, openSync } from 'node:fs';
import { waitFor } from '../../test/support/wait-for.js';
import { Child, type ChildOptions } from '../child.js';
import { readLines } from './read-lines.js';

const SCRIPT = new URL('../../test/support/scripts/fault-worker.mjs', import.meta.url).href;

/** Options of `test/support/scripts/fault-worker.mjs`. */
export interface HandOptions {
  readonly url: string;
  readonly queue: string;
  readonly effectsUrl?: string;
  readonly binding?: object;
  readonly extraQueues?: readonly string[];
  readonly name?: string;
  readonly lease?: number;
  readonly heartbeat?: number;
  readonly poll?: number;
  readonly grace?: number;
  readonly maintain?: boolean;
  readonly connectionsMax?: number;
}

/** An event of the worker, as it has printed it. */
export interface HandEvent {
  readonly type: string;
  /** Unix time in milliseconds. */
  readonly at: number;
  readonly job?: { readonly id: string; readonly attempt: number };
  readonly outcome?: string;
  readonly isUncertain?: boolean;
  readonly error?: { readonly code: string; readonly message: string };
}

/** A worker in a process of its own, whose events go to a file: kill -9 loses none. */
export class Hand extends Child {
  readonly #file: string;
  #hasStarted = false;

  /** @param file where its events go */
  constructor(settings: HandOptions, file: string, options: ChildOptions = {}) {
    const output = openSync(file, 'w');
    super(SCRIPT, settings, { ...options, output });
    closeSync(output);
    this.#file = file;
  }

  /** Whether it has begun to look for jobs. */
  get hasStarted(): boolean {
    this.#hasStarted ||= this.of('worker.started').length > 0;
    return this.#hasStarted;
  }

  get events(): HandEvent[] {
    return [...this.eachEvent()];
  }

  /** One after another: hours of work do not fit into one text. */
  *eachEvent(): Generator<HandEvent> {
    for (const line of readLines(this.#file)) yield JSON.parse(line) as HandEvent;
  }

  of(type: string): HandEvent[] {
    return this.events.filter((event) => event.type === type);
  }

  /** Waits for its n-th event of a type. */
  async heard(type: string, count = 1, timeoutMs = 90_000): Promise<HandEvent> {
    await waitFor(() => !this.isRunning || this.of(type).length >= count, {
      timeoutMs,
      intervalMs: 50,
      what: `event ${type} number ${count} of worker ${this.pid} ${this.errors}`,
    });
    const found = this.of(type)[count - 1];
    if (!found) throw new Error(`Worker ${this.pid} ended before event ${type}: ${this.errors}`);
    return found;
  }
}
