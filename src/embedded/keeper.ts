// Runs as a process of its own, between the application and PostgreSQL, and outlives both: when the
// application is gone, even by kill -9, its end of the pipe closes, and the server and its files go.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { KeeperCommand, KeeperOrders, KeeperReport, StopMode } from './keeper-protocol.js';

const SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;
const LOG_BYTES_MAX = 16_384;
const READY_POLL_MS = 10;
const KILL_AFTER_MS = 10_000;

let child: ChildProcess | undefined;
let isStopping = false;
let log = '';

function report(message: KeeperReport): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function run(orders: KeeperOrders, command: readonly string[]): Promise<boolean> {
  const [file = '', ...args] = command;
  const { uid, gid, workspace } = orders;
  const account = uid === undefined || gid === undefined ? {} : { uid, gid };
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^PG/.test(key)));
  child = spawn(file, args, { ...account, env, cwd: workspace, stdio: ['ignore', 'pipe', 'pipe'] });
  const keep = (chunk: Buffer): void => {
    log = (log + chunk.toString()).slice(-LOG_BYTES_MAX);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  return new Promise((resolve) => {
    child?.once('error', (error) => {
      keep(Buffer.from(error.message));
      resolve(false);
    });
    child?.once('close', (code) => resolve(code === 0));
  });
}

function stop(mode: StopMode): void {
  isStopping = true;
  const stopped = child;
  if (!stopped) return;
  stopped.kill(SIGNALS[mode]);
  if (mode === 'smart') return;
  setTimeout(() => stopped.kill('SIGKILL'), KILL_AFTER_MS).unref();
}

/** The server writes its state into the eighth line of this file. */
function isReady(orders: KeeperOrders, pid: number): boolean {
  try {
    const lines = readFileSync(path.join(orders.dataDir, 'postmaster.pid'), 'utf8').split('\n');
    return Number(lines[0]) === pid && ['ready', 'standby'].includes(lines[7]?.trim() ?? '');
  } catch {
    return false;
  }
}

async function keep(orders: KeeperOrders): Promise<void> {
  const isInitialised = orders.initdb === null || (await run(orders, orders.initdb));
  if (isInitialised && !isStopping) {
    const ended = run(orders, orders.server);
    const pid = child?.pid;
    if (pid !== undefined) report({ event: 'started', pid });
    const timer = setInterval(() => {
      if (pid === undefined || !isReady(orders, pid)) return;
      clearInterval(timer);
      report({ event: 'ready' });
    }, READY_POLL_MS);
    await ended;
    clearInterval(timer);
  }
  rmSync(orders.workspace, { recursive: true, force: true, maxRetries: 5 });
  report({ event: 'ended', log });
  process.exit(0);
}

const input = createInterface({ input: process.stdin });
let isOrdered = false;
input.on('line', (line) => {
  if (isOrdered) {
    stop((JSON.parse(line) as KeeperCommand).stop);
    return;
  }
  isOrdered = true;
  keep(JSON.parse(line) as KeeperOrders).catch((error: unknown) => {
    report({ event: 'ended', log: `${log}\n${String(error)}` });
    process.exit(1);
  });
});
input.on('close', () => {
  if (!isOrdered) process.exit(0);
  stop('immediate');
});
process.on('SIGTERM', () => stop('fast'));
process.on('SIGINT', () => stop('fast'));
process.on('SIGHUP', () => stop('fast'));
// The parent may be gone when we report.
process.stdout.on('error', () => undefined);
