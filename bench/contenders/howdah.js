import pg from 'pg';
import { createClient, createWorker, migrate, queue, work } from '../../dist/index.js';
import { versionOf } from './registry.js';

// `howdah` is what one gets without setting anything; `howdah-nohistory` deletes finished jobs, as
// graphile-worker and BullMQ do here.
const QUEUES = {
  howdah: queue('bench'),
  'howdah-nohistory': queue('bench', { retention: 0 }),
};

export function create(name) {
  const jobs = QUEUES[name];
  let url;
  let client;
  let reader;
  let worker;
  return {
    async describe() {
      return `howdah ${await versionOf('../..')} ${name === 'howdah' ? '(defaults)' : '{"retention":0}'}`;
    },
    async setup(connectionString) {
      url = connectionString;
      await migrate({ url });
      client = createClient({ url });
      reader = new pg.Pool({ connectionString, max: 1 });
    },
    enqueueOne: (payload, { runAt } = {}) => client.enqueue(jobs, payload, runAt && { runAt }),
    enqueueMany: (payloads, group) => client.enqueueMany(jobs, payloads, group && { group }),
    enqueueInTransaction: (tx, payload) => client.enqueue(jobs, payload, { tx }),
    async startWorker(handler, concurrency) {
      const options = concurrency ? { concurrency } : {};
      const binding = work(jobs, (job) => handler(job.payload), options);
      worker = createWorker({ url, queues: [binding] });
      await worker.start();
    },
    async unfinished() {
      const { rows } = await reader.query('select count(*)::int as n from howdah.job_states');
      return rows[0].n;
    },
    async stop() {
      await worker?.stop();
      await Promise.all([client.close(), reader.end()]);
    },
  };
}
