import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { waitFor } from './wait-for.js';

/** The repository. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface ProcessOptions {
  /** Added to the environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Written to standard input, which is closed then. */
  readonly input?: string;
  /** Account to run under; only root may choose. */
  readonly uid?: number;
  readonly gid?: number;
  /** Signals go to the process and all its children. Default false. */
  readonly isGroup?: boolean;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process of our own; killed at the end of the test if it still runs. */
export class WorkerProcess {
  /** Standard output so far. */
  stdout = '';
  /** Standard error so far. */
  stderr = '';
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  readonly #isGroup: boolean;

  /** @param args of node: a script and its arguments */
  constructor(args: readonly string[], options: ProcessOptions = {}) {
    const { env = {}, cwd = ROOT, input, isGroup = false, uid, gid } = options;
    this.#isGroup = isGroup;
    this.#child = spawn(process.execPath, args, {
      cwd,
      detached: isGroup,
      env: withoutVitest({ ...process.env, ...env }),
      stdio: 'pipe',
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
    this.#child.stdout?.on('data', (chunk) => {
      this.stdout += chunk;
    });
    this.#child.stderr?.on('data', (chunk) => {
      this.stderr += chunk;
    });
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stdin?.end(input);
    this.exited = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => resolve({ code, signal }));
    });
    onTestFinished(async () => {
      if (this.isRunning) this.kill('SIGKILL');
      await this.exited.catch(() => undefined);
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the process did not start');
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Standard output and error together. */
  get output(): string {
    return this.stdout + this.stderr;
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    process.kill(this.#isGroup ? -this.pid : this.pid, signal);
  }

  /** Waits until the output contains the text or matches; fails at once when the process ends. */
  async waitForOutput(pattern: string | RegExp, timeoutMs = 20_000): Promise<void> {
    const isThere = (): boolean =>
      typeof pattern === 'string' ? this.output.includes(pattern) : pattern.test(this.output);
    const isOver = await waitFor(() => isThere() || !this.isRunning, {
      timeoutMs,
      what: `${pattern} in the output:\n${this.output}`,
    });
    if (isOver && !isThere()) {
      await this.exited;
      if (!isThere()) throw new Error(`ended without ${pattern}:\n${this.output}`);
    }
  }
}

/** Starts `node <script> ...`. */
export function spawnScript(
  script: string,
  args: readonly string[] = [],
  options: ProcessOptions = {},
): WorkerProcess {
  return new WorkerProcess([script, ...args], options);
}

/** Starts the command line, `howdah ...`. */
export function spawnCli(args: readonly string[], options: ProcessOptions = {}): WorkerProcess {
  return new WorkerProcess([`${ROOT}bin/howdah.js`, ...args], options);
}

function withoutVitest(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, VITEST: __, NODE_ENV: ___, ...rest } = env;
  return rest;
}
