import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ACTORS = new URL('./actors/', import.meta.url);
export const PRELOADED = new URL('preloaded.mjs', ACTORS).href;
const ERRORS_MAX = 4_000;

/** A process of the torture: a producer or a worker. */
export class Child {
  /** The end of what it wrote to its standard error. */
  errors = '';
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;

  /** @param skewMs how wrong its clock is */
  constructor(actor: string, settings: object, skewMs = 0) {
    const script = fileURLToPath(new URL(actor, ACTORS));
    this.#child = spawn(
      process.execPath,
      ['--import', PRELOADED, script, JSON.stringify(settings)],
      {
        // its standard input ends with us, and it with that
        stdio: ['pipe', 'ignore', 'pipe'],
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
