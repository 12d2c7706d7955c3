import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { CONTENDERS, createContender } from '../contenders/registry.js';
import { WORKLOADS } from '../workloads/registry.js';
import { buildCommit } from './against.js';
import { readArguments, SUITES } from './arguments.js';
import { writeDocs } from './docs.js';
import { plotWorkload } from './plot.js';
import { PostgresServer } from './postgres.js';
import { runInQuiet } from './quiet.js';
import { isRedisInstalled, RedisServer } from './redis.js';
import { formatWorkload, ResultsFile } from './report.js';
import { runOnce } from './run-once.js';

const FULL = Object.keys(CONTENDERS).filter((name) => !CONTENDERS[name].extra);
const QUICK = ['howdah', 'graphile', 'pg-boss', 'bullmq-always', 'raw'];

const options = readArguments(process.argv.slice(2));
if (options['write-docs']) {
  for (const file of writeDocs(options.results)) console.log(`written: ${file}`);
  process.exit(0);
}
const workloads = WORKLOADS.filter(({ name, suite = SUITES[0], isLong }) => {
  if (options.only) return options.only.some((word) => word === name || isBeginning(word, name));
  return suite === options.suite && !(options.quick && isLong);
});
if (options.list || workloads.length === 0) {
  console.log('workloads:');
  for (const { name, title, suite = SUITES[0] } of WORKLOADS) {
    console.log(`  ${suite.padEnd(10)} ${name.padEnd(20)} ${title}`);
  }
  console.log(`contenders:\n  ${Object.keys(CONTENDERS).join(', ')}`);
  process.exit(options.list ? 0 : 2);
}

const removeBuild = options.against ? buildCommit(options.against) : () => {};
const servers = { postgres: null, redis: {} };
let isInterrupted = false;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    isInterrupted = true;
    await stopServers();
    removeBuild();
    process.exit(130);
  });
}
try {
  process.exitCode = (await main()) ? 0 : 1;
} finally {
  await stopServers();
  removeBuild();
}

/** A word that is a workload's whole name means that one only. */
function isBeginning(word, name) {
  return name.startsWith(word) && !WORKLOADS.some((workload) => workload.name === word);
}

/** Resolves to false where a run failed. */
async function main() {
  const plan = workloads.map((workload) => ({ workload, names: contendersOf(workload) }));
  await startServers(new Set(plan.flatMap(({ names }) => names.map((n) => CONTENDERS[n].store))));
  const results = new ResultsFile();
  await printEnvironment(results, new Set(plan.flatMap(({ names }) => names)));
  let failures = 0;
  for (const { workload, names } of plan) failures += await measure(workload, names, results);
  console.log(`\nJSON lines, with a plot of each workload beside: ${results.path}`);
  if (failures > 0) console.log(`${failures} runs failed`);
  return failures === 0;
}

function contendersOf(workload) {
  const names = options.peers ?? (options.quick ? QUICK : FULL);
  for (const name of names) {
    if (!CONTENDERS[name]) throw new Error(`unknown contender ${name}: --list shows them`);
  }
  return names.filter(
    (name) =>
      (workload.takes?.(name, CONTENDERS[name]) ?? true) &&
      (isRedisInstalled() || CONTENDERS[name].store === 'postgres'),
  );
}

/** Rounds are interleaved: A B C, A B C, so that a slow minute of the machine hits all alike. */
async function measure(workload, names, results) {
  const { rounds: own = options.against ? 5 : 3, settings } = workload;
  const rounds = options.rounds ?? (options.quick ? 1 : own);
  console.log(`\n${workload.name}: ${workload.title}`);
  if (settings) console.log(`settings: ${JSON.stringify(settings)}`);
  const runs = Object.fromEntries(names.map((name) => [name, []]));
  let failures = 0;
  for (let round = 1; round <= rounds; round++) {
    for (const name of names) {
      try {
        const run = () => runOnce(workload, name, servers, { ...options, round });
        const metrics = await (options.quiet ? runInQuiet(run) : run());
        runs[name].push(metrics);
        results.write('run', { workload: workload.name, contender: name, round, metrics });
      } catch (error) {
        if (isInterrupted) return failures;
        failures++;
        console.log(`  FAILED ${name}, round ${round}: ${error.stack}`);
        results.write('failure', {
          workload: workload.name,
          contender: name,
          round,
          error: error.message,
        });
      }
    }
  }
  const { summaries, text } = formatWorkload(workload, runs);
  results.write('summary', { workload: workload.name, rounds, summaries });
  const plot = plotWorkload(workload, runs);
  if (plot) writeFileSync(results.plotPath(workload.name), plot);
  console.log(`median (least-greatest) of ${rounds}\n${text}`);
  return failures;
}

async function startServers(stores) {
  if (stores.has('postgres')) {
    const profiling = { isProfiled: options.profile };
    servers.postgres = await PostgresServer.start(options.url, profiling);
    await servers.postgres.touchBuffers();
  }
  if (!isRedisInstalled()) console.log('no redis-server on this system: BullMQ is skipped');
  for (const policy of ['everysec', 'always']) {
    const store = `redis-${policy}`;
    if (stores.has(store)) servers.redis[store] = await RedisServer.start(policy);
  }
}

async function stopServers() {
  await Promise.allSettled(Object.values(servers.redis).map((redis) => redis.stop()));
  await servers.postgres?.stop();
}

async function printEnvironment(results, names) {
  const contenders = {};
  for (const name of names) contenders[name] = await (await createContender(name)).describe();
  const environment = {
    at: new Date().toISOString(),
    mode: options.quick ? 'quick' : options.full ? 'full' : 'normal',
    node: process.version,
    cpu: `${os.cpus().length} x ${os.cpus()[0]?.model.trim()}`,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    platform: `${os.platform()} ${os.release()}`,
    postgres: await servers.postgres?.describe(),
    redis: await Object.values(servers.redis)[0]?.describe(),
    contenders,
  };
  results.write('environment', environment);
  const { postgres } = environment;
  console.log(`${environment.cpu}, ${environment.memoryGiB} GiB, Node ${environment.node}`);
  if (postgres) console.log(`PostgreSQL ${postgres.version} ${JSON.stringify(postgres.settings)}`);
  if (environment.redis) console.log(`Redis ${environment.redis}, append-only file`);
  for (const [name, text] of Object.entries(contenders)) console.log(`  ${name}: ${text}`);
}
