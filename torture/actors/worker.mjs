// Runs the jobs and writes down what it was told of them: node worker.mjs '<settings>'. Its log has a
// line an event; each is in the file before the next is made, so that kill -9 loses none.
import { openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTransaction, openPool } from './database.mjs';
import { randomOf } from './random.mjs';

const { url, dist, name, seed, logFile } = JSON.parse(process.argv[2]);
const { createWorker, silentLogger, work } = await import(dist);

const CONCURRENCY = 8;

const log = openSync(logFile, 'a');
const say = (line) => writeSync(log, `${JSON.stringify(line)}\n`);
const random = randomOf(seed);
const pool = openPool(url, 'torture handlers', CONCURRENCY * 2);

async function behave({ do: verb }, { signal }) {
  if (verb === 'flaky' && random() < 0.5) throw new Error('flaky');
  if (verb === 'slow') await sleep(100 + random() * 400, undefined, { signal });
  // does not look at its signal: what it says comes when its lease may have ended
  if (verb === 'long') await sleep(1_500 + random() * 2_000);
  if (verb === 'exit') process.exit(1);
  if (verb === 'poison') throw new Error('poison');
}

/** The effect and the completion in one transaction. */
function withEffect({ payload, id, attempt }, context) {
  return inTransaction(pool, async (tx) => {
    await tx.query(
      'insert into public.effects (n, job_id, attempt, worker) values ($1, $2, $3, $4)',
      [payload.n, id, attempt, name],
    );
    await behave(payload, context);
    await context.completeIn(tx, { n: payload.n });
    if (random() < 0.15) await sleep(random() * 300);
    await tx.query('commit');
  });
}

async function plainly(job, context) {
  if (job.queue === 'poison') say({ type: 'run', id: job.id, attempt: job.attempt });
  await behave(job.payload, context);
  return { n: job.payload.n };
}

const concurrency = CONCURRENCY;
const worker = createWorker({
  url,
  name,
  lease: '2s',
  poll: '1s',
  grace: '2s',
  logger: silentLogger,
  queues: [
    work('effects', withEffect, { concurrency }),
    work('groups', withEffect, { concurrency }),
    work('notes', plainly, { concurrency }),
    work('poison', plainly, { concurrency: 2 }),
  ],
});
worker.onEvent((event) => {
  const { type, job, error, outcome, isUncertain, duty, reason } = event;
  const line = { type, id: job?.id, attempt: job?.attempt, outcome, isUncertain, duty, reason };
  say({ ...line, code: error?.code, at: Date.now() });
});
process.once('SIGTERM', () => void worker.stop().then(() => process.exit(0)));
await worker.start().catch(({ code }) => {
  say({ type: 'not-started', code });
  process.exit(1);
});
