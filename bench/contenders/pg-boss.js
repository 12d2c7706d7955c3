import { PgBoss } from 'pg-boss';
import { chunks, versionOf } from './registry.js';

const QUEUE = 'bench';

// Batches fetched without a pause while they come back full, LISTEN/NOTIFY between them, a partition
// of its own. `pg-boss-poll` does without NOTIFY, which costs its producers a lock at commit.
const WORK = {
  batchSize: 2000,
  burstWhenBatchFull: true,
  pollingIntervalSeconds: 0.5,
  notifyPollingIntervalSeconds: 0.5,
  localConcurrency: 2,
};

export function create(name) {
  const notify = name !== 'pg-boss-poll';
  let boss;
  let queues = [QUEUE];
  return {
    async describe() {
      return `pg-boss ${await versionOf('pg-boss')} ${JSON.stringify({ notify, partition: true, ...WORK })}`;
    },
    async setup(connectionString) {
      boss = new PgBoss({
        connectionString,
        max: 16,
        connectionTimeoutMillis: 60_000, // an open loop may queue for a connection
        useListenNotify: notify,
        schedule: false,
      });
      boss.on('error', (error) => console.error('pg-boss:', error.message));
      await boss.start();
      await boss.createQueue(QUEUE, { partition: true, notify });
    },
    async spread(count) {
      queues = Array.from({ length: count }, (_, i) => `${QUEUE}-${i}`);
      // not partitioned: a partition each would be 200 tables
      for (const queue of queues) await boss.createQueue(queue, { notify });
    },
    enqueueOne(payload, { runAt } = {}) {
      return boss.send(QUEUE, payload, runAt ? { startAfter: runAt } : {});
    },
    async enqueueMany(payloads) {
      for (const chunk of chunks(payloads, 5000)) {
        for (const [i, part] of Map.groupBy(chunk, ({ n }) => n % queues.length)) {
          await boss.insert(
            queues[i],
            part.map((data) => ({ data })),
          );
        }
      }
    },
    enqueueInTransaction(client, payload) {
      const db = { executeSql: (text, values) => client.query(text, values) };
      return boss.send(QUEUE, payload, { db });
    },
    async startWorker(handler, concurrency) {
      const work = concurrency ? { ...WORK, batchSize: concurrency, localConcurrency: 1 } : WORK;
      for (const queue of queues) {
        await boss.work(queue, work, async (jobs) => {
          await Promise.all(jobs.map((job) => handler(job.data)));
        });
      }
    },
    async unfinished() {
      const { rows } = await boss
        .getDb()
        .executeSql("select count(*)::int as n from pgboss.job where state < 'completed'");
      return rows[0].n;
    },
    stop: () => boss.stop({ graceful: true, timeout: 30_000, close: true }),
  };
}
