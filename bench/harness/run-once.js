import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CONTENDERS } from '../contenders/registry.js';
import { Agent } from './agent.js';
import { machineSeconds, treeSeconds } from './cpu.js';

let databases = 0;

/**
 * One run of one workload by one contender: a fresh database (or an emptied Redis), processes of its
 * own, and nothing left afterwards. Resolves to the workload's metrics.
 */
export async function runOnce(workload, name, servers, { quick, full, profile, round }) {
  const place = await preparePlace(CONTENDERS[name].store, servers);
  const agents = [];
  const fresh = [];
  const folders = [];
  const context = {
    name,
    quick,
    full,
    round,
    url: place.url,
    postgres: place.postgres,
    async agent(url = place.url) {
      const agent = await Agent.start(name, url);
      agents.push(agent);
      return agent;
    },
    /** What the server has done for this run so far; of a Redis only its CPU time. */
    meter: (url = place.url) =>
      place.postgres?.meter(url) ?? { cpuSeconds: treeSeconds(place.pid) },
    /** Another database, for courses beside each other. Resolves to its URL. */
    async freshDatabase() {
      const database = await servers.postgres.createDatabase(`bench_${++databases}`);
      fresh.push(database);
      return database.url;
    },
    /** A folder that is removed after the run. */
    async folder() {
      folders.push(await mkdtemp(path.join(tmpdir(), 'bench-run-')));
      return folders.at(-1);
    },
  };
  if (workload.tracksStatements) await servers.postgres.trackStatements(place.url);
  const foreign = watchForeignLoad(place.pid);
  try {
    const metrics = await workload.run(context);
    if (profile && place.postgres) {
      const lines = await place.postgres.profile(place.url);
      console.log([name, ...lines].join('\n  '));
    }
    return { ...metrics, foreignLoad: foreign() };
  } finally {
    await Promise.allSettled(agents.map((agent) => agent.kill()));
    for (const database of fresh) await database.drop();
    for (const made of folders) await rm(made, { recursive: true, force: true });
    await place.clear();
  }
}

async function preparePlace(store, servers) {
  if (store === 'postgres') {
    await servers.postgres.reuseWal();
    const { url, drop } = await servers.postgres.createDatabase(`bench_${++databases}`);
    return { url, postgres: servers.postgres, pid: servers.postgres.pid, clear: drop };
  }
  const redis = servers.redis[store];
  await redis.empty();
  return { url: redis.url, postgres: null, pid: redis.pid, clear: () => redis.empty() };
}

/** How many cores somebody else kept busy meanwhile: a run beside a compiler is no measurement. */
function watchForeignLoad(serverPid) {
  // The harness's own tree holds the ended agents too; the server may be anybody's child.
  const own = () => treeSeconds(process.pid) + (serverPid ? treeSeconds(serverPid) : 0);
  const before = { machine: machineSeconds().busy, own: own(), at: performance.now() };
  return () => {
    const seconds = (performance.now() - before.at) / 1000;
    return Math.max(0, machineSeconds().busy - before.machine - (own() - before.own)) / seconds;
  };
}
