#!/usr/bin/env node
// Entry point. Needs nothing but Node 20.19: installs what the peers need, builds Howdah where it is
// not built, and runs the harness under one Node for everybody.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const here = import.meta.dirname;
const root = path.dirname(here);

if (!existsSync(path.join(here, 'node_modules/.package-lock.json'))) {
  npm(['ci', '--no-progress'], here);
}
if (!existsSync(path.join(root, 'dist/index.js'))) {
  if (!existsSync(path.join(root, 'node_modules'))) npm(['ci', '--no-progress'], root);
  npm(['run', 'build'], root);
}

const main = path.join(here, 'harness/main.js');
const run = spawn(nodeForPeers(), [main, ...process.argv.slice(2)], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => run.kill(signal));
run.once('exit', (code) => {
  process.exitCode = code ?? 1;
});

/** graphile-worker and pg-boss want Node 22.18: this Node where it is new enough, else npm's. */
function nodeForPeers() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (process.env.BENCH_NODE) return process.env.BENCH_NODE;
  if (major > 22 || (major === 22 && minor >= 18)) return process.execPath;
  const binary = path.join(here, `node_modules/node-${process.platform}-${process.arch}/bin/node`);
  if (existsSync(binary)) return binary;
  console.error('The peers need Node 22.18 or later: run this with one, or name it in BENCH_NODE.');
  process.exit(2);
}

function npm(words, cwd) {
  const { status } = spawnSync('npm', words, {
    cwd,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  });
  if (status !== 0) process.exit(status ?? 1);
}
