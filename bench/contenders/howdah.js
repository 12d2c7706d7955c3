import { pathToFileURL } from 'node:url';
import pg from 'pg';
import { chunks, versionOf } from './registry.js';

const QUEUE = 'bench';

// `howdah` is what one gets without setting anything; `howdah-nohistory` deletes finished jobs, as
// graphile-worker and BullMQ do here. `against` is the build of another commit: see harness/against.js.
const POLICIES = { howdah: {}, 'howdah-nohistory': { retention: 0 }, against: {} };

const WAITING = 'sum(ready + scheduled + blocked + running)::int';

/** `ring` is for those who must be told that somebody sleeps. */
const optionsOf = ({ ring, ...options } = {}) => options;

export async function create(name) {
  const root =
    name === 'against' ? `${process.env.BENCH_AGAINST}/` : `${import.meta.dirname}/../../`;
  const howdah = await import(new URL('dist/index.js', pathToFileURL(root)));
  let jobs = [howdah.queue(QUEUE, POLICIES[name])];
  let url;
  let client;
  let reader;
  let worker;
  return {
    async describe() {
      const which =
        name === 'against' ? `commit ${process.env.BENCH_AGAINST_COMMIT}` : '(defaults)';
      const policy =
        Object.keys(POLICIES[name]).length > 0 ? JSON.stringify(POLICIES[name]) : which;
      return `howdah ${await versionOf('../..')} ${policy}`;
    },
    async setup(connectionString) {
      url = connectionString;
      await howdah.migrate({ url });
      client = howdah.createClient({ url });
      reader = new pg.Pool({ connectionString, max: 1 });
    },
    async spread(queues) {
      jobs = Array.from({ length: queues }, (_, i) =>
        howdah.queue(`${QUEUE}-${i}`, POLICIES[name]),
      );
    },
    enqueueOne: (payload, options) => client.enqueue(jobs[0], payload, optionsOf(options)),
    async enqueueMany(payloads, group) {
      if (jobs.length === 1) {
        return client.enqueueMany(jobs[0], payloads, group && { group });
      }
      for (const chunk of chunks(payloads, 1000 * jobs.length)) {
        const parts = Map.groupBy(chunk, ({ n }) => n % jobs.length);
        for (const [i, part] of parts) await client.enqueueMany(jobs[i], part);
      }
    },
    enqueueInTransaction: (tx, payload) => client.enqueue(jobs[0], payload, { tx }),
    receive: (options) => client.receive(QUEUE, options),
    async startWorker(handler, concurrency, { logLevel, isStrict: _, binding, ...options } = {}) {
      binding = { ...binding, ...(concurrency && { concurrency }) };
      const queues = jobs.map((each) => howdah.work(each, (job) => handler(job.payload), binding));
      const logger = logLevel && howdah.jsonLogger({ level: logLevel });
      worker = howdah.createWorker({ url, queues, ...options, ...(logger && { logger }) });
      await worker.start();
    },
    // the counters, as an operator would: the table is sparse by design, and full of what vacuum has not taken
    async unfinished() {
      const { rows } = await reader.query(`select ${WAITING} as n from howdah.queue_stats`);
      return rows[0].n;
    },
    async stop() {
      await worker?.stop();
      const { rows } = await reader.query(`select ${WAITING} as counted,
        (select count(*)::int from howdah.job_states) as there from howdah.queue_stats`);
      const [{ counted, there }] = rows;
      if (counted !== there)
        throw new Error(`${there} jobs are there, the counters say ${counted}`);
      await Promise.all([client.close(), reader.end()]);
    },
  };
}
