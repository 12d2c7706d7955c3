import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { waitFor } from '../../test/support/wait-for.js';
import { PRELOADED } from '../child.js';
import { readLines } from './read-lines.js';

const SCRIPT = fileURLToPath(
  new URL('../../test/support/scripts/fault-worker.mjs', import.meta.url),
);

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
export class Hand {
  readonly #child: ChildProcess;
  readonly #file: string;
  readonly exited: Promise<void>;
  #hasStarted = false;
  /** What it wrote to its standard error. */
  errors = '';

  /** @param skewMs how wrong its clock is */
  constructor(options: HandOptions, file: string, skewMs = 0, nodeArgs: readonly string[] = []) {
    this.#file = file;
    const log = openSync(file, 'w');
    this.#child = spawn(
      process.execPath,
      [...nodeArgs, '--import', PRELOADED, SCRIPT, JSON.stringify(options)],
      {
        // its standard input ends with us, and it with that
        stdio: ['pipe', log, 'pipe'],
        env: { ...process.env, TORTURE_SKEW_MS: String(skewMs) },
      },
    );
    closeSync(log);
    this.#child.stderr?.on('data', (chunk) => {
      this.errors = (this.errors + chunk).slice(-4_000);
    });
    this.exited = new Promise((resolve) => {
      this.#child.once('error', () => resolve());
      this.#child.once('close', () => resolve());
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Whether it has begun to look for jobs. */
  get hasStarted(): boolean {
    this.#hasStarted ||= this.of('worker.started').length > 0;
    return this.#hasStarted;
  }

  get exitCode(): number | null {
    return this.#child.exitCode;
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

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.kill(signal);
    await this.exited;
  }
}
