import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { KeeperOrders, KeeperReport, StopMode } from './keeper-protocol.js';

/** The application's end of the pipe to the keeper of one server. */
export class KeeperClient {
  readonly #child: ChildProcess;
  /** Resolves with the pid once the server takes connections; undefined: it ended before. */
  readonly ready: Promise<number | undefined>;
  /** Resolves with the end of the server's log once the server is gone. */
  readonly ended: Promise<string>;

  constructor(orders: KeeperOrders) {
    // A session of its own: Ctrl-C in the terminal reaches the application, not the server.
    this.#child = spawn(process.execPath, ['--max-old-space-size=32', keeperFile()], {
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore'],
      windowsHide: true,
      env: withoutNodeOptions(),
    });
    let pid: number | undefined;
    let log = '';
    let resolveReady: (pid: number | undefined) => void;
    this.ready = new Promise((resolve) => {
      resolveReady = resolve;
    });
    const lines = createInterface({ input: this.#child.stdout as Socket });
    lines.on('line', (line) => {
      const report = JSON.parse(line) as KeeperReport;
      if (report.event === 'started') pid = report.pid;
      else if (report.event === 'ready') resolveReady(pid);
      else {
        log = report.log;
        pid = undefined;
      }
    });
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        // Only a killed keeper leaves a server behind.
        if (pid !== undefined) killQuietly(pid);
        resolveReady(undefined);
        resolve(log);
      };
      this.#child.once('error', end);
      this.#child.once('close', end);
    });
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stdin?.write(`${JSON.stringify(orders)}\n`);
  }

  /** A server that nobody stops must not keep its application alive: it ends with it. */
  unref(): void {
    this.#eachHandle((handle) => handle.unref());
  }

  async stop(mode: StopMode): Promise<void> {
    this.#eachHandle((handle) => handle.ref());
    this.#child.stdin?.write(`${JSON.stringify({ stop: mode })}\n`);
    await this.ended;
  }

  #eachHandle(change: (handle: { ref(): unknown; unref(): unknown }) => void): void {
    change(this.#child);
    change(this.#child.stdin as Socket);
    change(this.#child.stdout as Socket);
  }
}

/** Compiled beside this file; where TypeScript runs unbuilt, the built one. */
function keeperFile(): string {
  const beside = fileURLToPath(new URL('./keeper.js', import.meta.url));
  return existsSync(beside)
    ? beside
    : fileURLToPath(new URL('../../dist/embedded/keeper.js', import.meta.url));
}

/** A debugger or a loader of the application has no business in the keeper. */
function withoutNodeOptions(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...env } = process.env;
  return env;
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGQUIT');
  } catch {
    // It is gone already.
  }
}
