import { CONTENDERS } from '../contenders/registry.js';
import { Agent } from './agent.js';
import { machineSeconds, treeSeconds } from './cpu.js';

let databases = 0;

/**
 * One run of one workload by one contender: a fresh database (or an emptied Redis), processes of its
 * own, and nothing left afterwards. Resolves to the workload's metrics.
 */
export async function runOnce(workload, name, servers, { quick, profile }) {
  const place = await preparePlace(CONTENDERS[name].store, servers);
  const agents = [];
  let second;
  const context = {
    name,
    quick,
    url: place.url,
    postgres: place.postgres,
    async agent(url = place.url) {
      const agent = await Agent.start(name, url);
      agents.push(agent);
      return agent;
    },
    /** A second database, for two courses beside each other. Resolves to its URL. */
    async secondDatabase() {
      second = await servers.postgres.createDatabase(`bench_${++databases}`);
      return second.url;
    },
  };
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
    await second?.drop();
    await place.clear();
  }
}

async function preparePlace(store, servers) {
  if (store === 'postgres') {
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
