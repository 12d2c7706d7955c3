import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';
import { chunks, versionOf } from './registry.js';

const TASK = 'bench';
const quiet = new Logger(() => () => {});

// `graphile`: the configuration of its documentation's "quick stats"
// (worker.graphile.org/docs/performance). `graphile-plain`: the same without batching.
const PRESETS = {
  graphile: {
    concurrentJobs: 24,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
  'graphile-plain': { concurrentJobs: 24 },
};

export function create(name) {
  const preset = PRESETS[name];
  let url;
  let pool;
  let utils;
  let runner;
  let tasks = [TASK];
  const taskOf = ({ n }) => tasks[n % tasks.length];
  return {
    async describe() {
      return `graphile-worker ${await versionOf('graphile-worker')} ${JSON.stringify(preset)}`;
    },
    async setup(connectionString) {
      url = connectionString;
      pool = new pg.Pool({ connectionString, max: 16 });
      // graphile-worker asks for handlers of its pool's and its connections' errors.
      pool.on('error', () => {});
      pool.on('connect', (client) => client.on('error', () => {}));
      utils = await makeWorkerUtils({ pgPool: pool, preset: { worker: { logger: quiet } } });
      await utils.migrate();
    },
    async spread(queues) {
      tasks = Array.from({ length: queues }, (_, i) => `${TASK}-${i}`);
    },
    enqueueOne(payload, { runAt } = {}) {
      return utils.addJob(TASK, payload, { runAt });
    },
    async enqueueMany(payloads) {
      for (const chunk of chunks(payloads, 5000)) {
        await utils.addJobs(chunk.map((payload) => ({ identifier: taskOf(payload), payload })));
      }
    },
    enqueueInTransaction(client, payload) {
      return client.query({
        name: 'add_job',
        text: 'select graphile_worker.add_job($1, payload => $2::json)',
        values: [TASK, JSON.stringify(payload)],
      });
    },
    async startWorker(handler, concurrency = preset.concurrentJobs) {
      const worker = { ...preset, concurrentJobs: concurrency, logger: quiet };
      worker.connectionString = url;
      worker.maxPoolSize = Math.min(concurrency, 24) + 1;
      if (worker.localQueue) worker.localQueue = { size: Math.max(500, concurrency) };
      runner = await run({
        preset: { worker },
        noHandleSignals: true,
        taskList: Object.fromEntries(tasks.map((task) => [task, async (job) => handler(job)])),
      });
    },
    async unfinished() {
      const { rows } = await pool.query(
        'select count(*)::int as n from graphile_worker._private_jobs',
      );
      return rows[0].n;
    },
    async stop() {
      await runner?.stop();
      await utils.release();
      await pool.end();
    },
  };
}
