import { Queue, Worker } from 'bullmq';
import { chunks, versionOf } from './registry.js';

const QUEUE = 'bench';
const CONCURRENCY = 100;

/** The Redis server's fsync policy is the store's business: see harness/servers.js. */
export function create() {
  let connection;
  let queue;
  let worker;
  return {
    async describe() {
      return `bullmq ${await versionOf('bullmq')} {"concurrency":${CONCURRENCY},"removeOnComplete":true}`;
    },
    async setup(url) {
      const { hostname, port, pathname } = new URL(url);
      connection = { host: hostname, port: Number(port), db: Number(pathname.slice(1)) };
      queue = new Queue(QUEUE, { connection, defaultJobOptions: { removeOnComplete: true } });
      await queue.waitUntilReady();
    },
    enqueueOne(payload, { runAt } = {}) {
      return queue.add('job', payload, runAt ? { delay: runAt.getTime() - Date.now() } : {});
    },
    async enqueueMany(payloads) {
      for (const chunk of chunks(payloads, 1000)) {
        await queue.addBulk(chunk.map((data) => ({ name: 'job', data })));
      }
    },
    async startWorker(handler, concurrency = CONCURRENCY) {
      worker = new Worker(QUEUE, async (job) => handler(job.data), { connection, concurrency });
      worker.on('error', (error) => console.error('bullmq:', error.message));
      await worker.waitUntilReady();
    },
    unfinished() {
      return queue.getJobCountByTypes('waiting', 'active', 'delayed', 'prioritized', 'failed');
    },
    async stop() {
      await worker?.close();
      await queue.close();
    },
  };
}
