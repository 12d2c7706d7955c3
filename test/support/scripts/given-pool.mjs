// A program with a pool of its own that listens to no 'error', as many are. Settings come as JSON in the variable
// PROGRAM: { url, queue, max }. It prints "ready", "done <payload>" and, after SIGTERM, "listeners <count>".
import { createClient, createWorker, silentLogger, work } from 'howdah';
import pg from 'pg';

const { url, queue, max = 10 } = JSON.parse(process.env.PROGRAM);
const say = (line) => process.stdout.write(`${line}\n`);

const pool = new pg.Pool({ connectionString: url, max, application_name: 'given' });
const client = createClient({ pool });
const worker = createWorker({
  pool,
  logger: silentLogger,
  queues: [
    work(
      queue,
      async (job, { tx }) => {
        await tx.query('select 1');
        say(`done ${JSON.stringify(job.payload)}`);
      },
      { transactional: true, concurrency: 2 },
    ),
  ],
});
await worker.start();
// connections of every kind of use, so that some of them idle in the pool
await Promise.all([client.queues.stats(), client.queues.stats(), client.enqueue(queue, 'first')]);
const looking = setInterval(() => void client.queues.stats().catch(() => undefined), 20);
process.once('SIGTERM', async () => {
  clearInterval(looking);
  await worker.stop({ grace: 0 });
  await client.close();
  say(`listeners ${pool.listenerCount('error')}`);
  pool.on('error', () => undefined);
  await pool.end();
});
say('ready');
