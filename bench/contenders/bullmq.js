import { Queue, Worker } from 'bullmq';
import { chunks, versionOf } from './registry.js';

const QUEUE = 'bench';
const CONCURRENCY = 100;
const STATES = ['waiting', 'active', 'delayed', 'prioritized', 'failed'];
const REMOVED = { removeOnComplete: true };

/** The Redis server's fsync policy is the store's business: see harness/servers.js. */
export function create() {
  let connection;
  let queues = [];
  let workers = [];
  const open = (names) =>
    names.map((name) => new Queue(name, { connection, defaultJobOptions: REMOVED }));
  return {
    async describe() {
      return `bullmq ${await versionOf('bullmq')} {"concurrency":${CONCURRENCY},"removeOnComplete":true}`;
    },
    async setup(url) {
      const { hostname, port, pathname } = new URL(url);
      connection = { host: hostname, port: Number(port), db: Number(pathname.slice(1)) };
      queues = open([QUEUE]);
      await queues[0].waitUntilReady();
    },
    async spread(count) {
      const [first] = queues;
      queues = open(Array.from({ length: count }, (_, i) => `${QUEUE}-${i}`));
      await first.close();
      await Promise.all(queues.map((queue) => queue.waitUntilReady()));
    },
    enqueueOne(payload, { runAt } = {}) {
      return queues[0].add('job', payload, runAt ? { delay: runAt.getTime() - Date.now() } : {});
    },
    async enqueueMany(payloads) {
      for (const chunk of chunks(payloads, 1000)) {
        for (const [i, part] of Map.groupBy(chunk, ({ n }) => n % queues.length)) {
          await queues[i].addBulk(part.map((data) => ({ name: 'job', data })));
        }
      }
    },
    async startWorker(handler, concurrency = CONCURRENCY) {
      workers = queues.map(
        ({ name }) =>
          new Worker(name, async (job) => handler(job.data), { connection, concurrency }),
      );
      for (const worker of workers) {
        worker.on('error', (error) => console.error('bullmq:', error.message));
      }
      await Promise.all(workers.map((worker) => worker.waitUntilReady()));
    },
    async unfinished() {
      const counts = await Promise.all(queues.map((queue) => queue.getJobCountByTypes(...STATES)));
      return counts.reduce((sum, count) => sum + count, 0);
    },
    async stop() {
      await Promise.all(workers.map((worker) => worker.close()));
      await Promise.all(queues.map((queue) => queue.close()));
    },
  };
}
