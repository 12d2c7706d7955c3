// Strict order under fire: groups of jobs, worker processes of which one is killed each second. Counts
// jobs that were lost and runs that came after one of a later job of their group.
//   node bench/group-order.js [--groups 10000] [--jobs 20] [--workers 4] [--url URL]
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createClient, createWorker, migrate, queue, silentLogger, work } from '../dist/index.js';
import { monotonicMs, sleep } from './harness/clock.js';
import { PostgresServer } from './harness/postgres.js';

const KILL_EVERY_MS = 1_000;
const LEASE_MS = 2_000;
const STALL_MS = 120_000;
// nobody dies of being killed: here the workers are guilty
const JOBS = queue('order', { maxCrashes: 1_000, attempts: 1_000 });

const { values: options } = parseArgs({
  options: {
    groups: { type: 'string', default: '10000' },
    jobs: { type: 'string', default: '20' },
    workers: { type: 'string', default: '4' },
    url: { type: 'string' },
    log: { type: 'string' },
    as: { type: 'string', default: 'harness' },
  },
});
await (options.as === 'worker' ? runWorker(options.url, options.log) : runHarness());

/** Each run is a line; lines of all workers lie in the log in the order they were written. */
async function runWorker(url, log) {
  const file = openSync(log, 'a');
  process.once('exit', () => closeSync(file));
  const handler = ({ payload: [group, n], attempt }) => {
    writeSync(file, `${group} ${n} ${attempt}\n`);
  };
  process.once('disconnect', () => process.exit()); // the harness is gone
  const settings = { url, logger: silentLogger, lease: LEASE_MS };
  await createWorker({ ...settings, queues: [work(JOBS, handler)] }).start();
  process.send('started');
}

async function runHarness() {
  const groups = Number(options.groups);
  const perGroup = Number(options.jobs);
  const folder = mkdtempSync(path.join(tmpdir(), 'howdah-order-'));
  const log = path.join(folder, 'runs');
  const server = await PostgresServer.start(options.url);
  const { url, drop } = await server.createDatabase(`order_${process.pid}`);
  await migrate({ url });
  const client = createClient({ url });
  const fleet = [];
  const start = () => {
    const args = [fileURLToPath(import.meta.url), '--as', 'worker', '--url', url, '--log', log];
    const worker = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    worker.once('message', () => {
      worker.isStarted = true;
    });
    fleet.push(worker);
  };
  try {
    await client.queues.create(JOBS);
    await fill(server, url, groups, perGroup);
    for (let n = 0; n < Number(options.workers); n++) start();
    const begun = monotonicMs();
    const kills = await killUntilDone(client, groups * perGroup, fleet, start);
    const seconds = (monotonicMs() - begun) / 1000;
    const off = await server.query(url, 'select * from howdah.check_groups()');
    const ran = judge(readFileSync(log, 'utf8'), groups, perGroup);
    report({ ...ran, kills, seconds, off: off.length });
  } finally {
    for (const worker of fleet) worker.kill('SIGKILL');
    await client.close();
    await drop();
    await server.stop();
    rmSync(folder, { recursive: true });
  }
}

/** Round by round, so that each statement has a thousand groups. */
async function fill(server, url, groups, perGroup) {
  for (let n = 0; n < perGroup; n++) {
    for (let from = 0; from < groups; from += 1_000) {
      await server.query(
        url,
        `select count(*) from howdah.enqueue((select jsonb_agg(jsonb_build_object('queue', 'order',
          'payload', jsonb_build_array(g, $1::int), 'group', 'g' || g))
          from generate_series($2::int, $3::int) g))`,
        [n, from, Math.min(from + 1_000, groups) - 1],
      );
    }
  }
}

/** @returns how many workers were killed */
async function killUntilDone(client, count, fleet, start) {
  let kills = 0;
  let best = -1;
  let movedAt = monotonicMs();
  for (;;) {
    await sleep(KILL_EVERY_MS);
    const [stats] = await client.queues.stats(JOBS);
    if (stats.completed >= count) return kills;
    if (stats.completed > best) {
      best = stats.completed;
      movedAt = monotonicMs();
    } else if (monotonicMs() - movedAt > STALL_MS) {
      throw new Error(`stuck: ${stats.completed} of ${count} completed, ${JSON.stringify(stats)}`);
    }
    const started = fleet.filter(({ isStarted }) => isStarted);
    if (started.length < 2) continue; // a machine so busy that starting takes longer than a second each
    const [victim] = started;
    fleet.splice(fleet.indexOf(victim), 1);
    victim.kill('SIGKILL');
    kills++;
    start();
  }
}

/** What the workers wrote themselves. */
function judge(text, groups, perGroup) {
  const latest = new Int32Array(groups).fill(-1);
  const seen = new Uint8Array(groups * perGroup);
  let violations = 0;
  let repeated = 0;
  for (const line of text.trimEnd().split('\n')) {
    const [group, n] = line.split(' ').map(Number);
    if (n < latest[group]) violations++;
    latest[group] = Math.max(latest[group], n);
    if (seen[group * perGroup + n]++ > 0) repeated++;
  }
  return { violations, repeated, lost: seen.filter((times) => times === 0).length };
}

function report({ violations, lost, repeated, kills, seconds, off }) {
  console.log(
    `${kills} workers killed in ${seconds.toFixed(0)} s: ${violations} order violations, ${lost} lost, ` +
      `${repeated} run again, ${off} groups whose books are off`,
  );
  if (violations + lost + off > 0) process.exitCode = 1;
}
