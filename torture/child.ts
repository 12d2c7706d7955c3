import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ACTORS = new URL('./actors/', import.meta.url);
const PRELOADED = new URL('preloaded.mjs', ACTORS).href;
const ERRORS_MAX = 4_000;

/** How a {@link Child} is run. */
export interface ChildOptions {
  /** How wrong its clock is. */
  readonly skewMs?: number;
  readonly nodeArgs?: readonly string[];
  /** Where its standard output goes: the number of an open file. Default: nowhere. */
  readonly output?: number;
}

/** A process of the torture, such as a producer or a worker. */
export class Child {
  /** The end of what it wrote to its standard error. */
  errors = '';
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;

  /** @param script its URL, or the name of a file in `actors/` */
  constructor(
    script: string,
    settings: object,
    { skewMs = 0, nodeArgs = [], output }: ChildOptions = {},
  ) {
    const path = fileURLToPath(new URL(script, ACTORS));
    this.#child = spawn(
      process.execPath,
      [...nodeArgs, '--import', PRELOADED, path, JSON.stringify(settings)],
      {
        // its standard input ends with us, and it with that
        stdio: ['pipe', output ?? 'ignore', 'pipe'],
        env: { ...process.env, TORTURE_SKEW_MS: String(skewMs) },
      },
    );
    this.#child.stderr?.on('data', (chunk) => {
      this.errors = (this.errors + chunk).slice(-ERRORS_MAX);
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

  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.kill(signal);
    await this.exited;
  }
}

/** For a dynamic import of the package under test. */
export function entryOf(packageDir: string): string {
  return new URL('dist/index.js', pathToFileURL(`${packageDir}/`)).href;
}
