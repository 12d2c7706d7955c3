import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../core/clock.js';
import type { KeeperOrders, KeeperReport, StopMode } from './keeper-protocol.js';

/** How often, and how long apart, a server without a keeper is told to end. */
const CLEAN_UP_TRIES = 50;
const CLEAN_UP_POLL_MS = 100;

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
    this.ended = new Promise<void>((resolve) => {
      this.#child.once('error', () => resolve());
      this.#child.once('close', () => resolve());
    }).then(async () => {
      // Only a killed keeper leaves a server behind.
      if (pid !== undefined) await cleanUpAfterKeeper(pid, orders.workspace);
      resolveReady(undefined);
      return log;
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

async function cleanUpAfterKeeper(pid: number, workspace: string): Promise<void> {
  for (let left = CLEAN_UP_TRIES; left > 0 && sendSignal(pid, 'SIGQUIT'); left -= 1) {
    await systemClock.sleep(CLEAN_UP_POLL_MS);
  }
  rmSync(workspace, { recursive: true, force: true, maxRetries: 5 });
}

/** False: the process is gone. */
function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
