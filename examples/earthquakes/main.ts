// `npm start`: a week of earthquakes goes through the queue of a real PostgreSQL.
import {
  createClient,
  createWorker,
  HowdahError,
  jsonLogger,
  migrate,
  type Worker,
  work,
} from 'howdah';
import { startEmbeddedPostgres } from 'howdah/embedded';
import pg from 'pg';
import { printAccount } from './account.js';
import { assess, assessQueue, deadQueue } from './assess.js';
import { type Quake, readAirports, readQuakes } from './data-set.js';
import { importQuakes } from './import-quakes.js';
import { createTables } from './tables.js';
import { printViews, VIEWS } from './views.js';

const ATTEMPTS_MAX = 4;
/** An advisory lock, so that two runs on one database do not get in each other's way. */
const LOCK = 'select pg_try_advisory_lock(hashtext($1)) as taken';
const USAGE = `npm start             run the example; it ends by itself
npm start -- --keep   keep the database and the worker running afterwards

DATABASE_URL or HOWDAH_DATABASE_URL: use this PostgreSQL. Without: one of its own, thrown away.`;

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => interrupted.abort());
}

const options = process.argv.slice(2);
if (options.some((option) => option !== '--keep')) {
  console.log(USAGE);
  process.exitCode = options.includes('--help') ? 0 : 2;
} else {
  try {
    const isGood = await withDatabase(runOnce);
    if (!isGood) process.exitCode = interrupted.signal.aborted ? 130 : 1;
  } catch (error) {
    console.error(error instanceof HowdahError ? `${error.code}: ${error.message}` : error);
    process.exitCode = 1;
  }
}

async function withDatabase(run: (url: string) => Promise<boolean>): Promise<boolean> {
  const given = process.env.HOWDAH_DATABASE_URL || process.env.DATABASE_URL;
  if (given) return run(given);
  console.log('No DATABASE_URL is set: starting a PostgreSQL of its own ...');
  const postgres = await startEmbeddedPostgres();
  try {
    return await run(postgres.url);
  } finally {
    await postgres.stop();
  }
}

async function runOnce(url: string): Promise<boolean> {
  const { version, applied } = await migrate({ url });
  console.log(`Schema "howdah" is at version ${version} (${applied.length} migrations applied).`);
  const pool = new pg.Pool({ connectionString: url, max: 16 });
  pool.on('error', () => undefined);
  const lock = await pool.connect();
  try {
    const { rows } = await lock.query(LOCK, ['howdah example earthquakes']);
    if (!rows[0].taken) throw new Error('This example runs already on this database.');
    return await importAndAssess(url, pool);
  } finally {
    lock.release(true); // the lock goes with the connection
    await pool.end();
  }
}

async function importAndAssess(url: string, pool: pg.Pool): Promise<boolean> {
  const client = createClient({ url });
  const { rows } = await pool.query('select clock_timestamp() as now');
  await createTables(pool);
  await client.queues.delete(assessQueue, { force: true }).catch(unlessUnknown);
  await client.queues.delete(deadQueue, { force: true }).catch(unlessUnknown);

  const { quakes, poisonId } = readDataSet();
  const airports = readAirports();
  const worker = createWorker({
    url,
    queues: [work(assessQueue, assess(pool, airports), { concurrency: 8 })],
    logger: jsonLogger({ level: 'error' }), // the views will tell of the dead job
  });
  const isDone = countFinished(worker);
  try {
    console.log(`Importing ${quakes.length} records while a worker assesses them ...`);
    const begun = performance.now();
    await worker.start();
    const { signal } = interrupted;
    const report = await importQuakes(pool, client, quakes, signal);
    console.log(
      `  ${report.committed.length} transactions committed, ${report.rolledBack.length} rolled back ` +
        '(explosions and quarry blasts, which the table refuses).',
    );
    if (!(await isDone(report.committed.length, signal))) return false;
    const seconds = (performance.now() - begun) / 1000;
    console.log(`  Every job has come to its end, ${seconds.toFixed(1)} s after the first record.`);
    await printViews(pool);
    const isRight = await printAccount(pool, {
      ...report,
      records: quakes.length,
      poisonId,
      attemptsMax: ATTEMPTS_MAX,
      startedAt: rows[0].now,
    });
    if (options.includes('--keep')) await keepRunning(url);
    return isRight;
  } finally {
    await worker.stop({ grace: '2s' });
    await client.close();
  }
}

/** The strongest earthquake gets its latitude and longitude swapped: no attempt can succeed. */
function readDataSet(): { quakes: Quake[]; poisonId: string } {
  const quakes = readQuakes();
  const strongest = quakes.reduce((a, b) => (b.magnitude > a.magnitude ? b : a));
  const { id, place, latitude, longitude } = strongest;
  console.log(`One record is damaged on purpose: ${id}, ${place}, has its coordinates swapped.`);
  const damaged = { ...strongest, latitude: longitude, longitude: latitude };
  return { quakes: quakes.map((quake) => (quake === strongest ? damaged : quake)), poisonId: id };
}

/** Counts jobs that are completed or dead. The function it returns waits until they are so many. */
function countFinished(worker: Worker): (count: number, signal: AbortSignal) => Promise<boolean> {
  let finished = 0;
  let notice = (): void => {};
  const finish = (): void => {
    finished += 1;
    notice();
  };
  worker.on('job.completed', finish);
  worker.on('job.dead', finish);
  return (count, signal) =>
    new Promise((resolve) => {
      notice = () => {
        if (finished >= count || signal.aborted) resolve(finished >= count);
      };
      signal.addEventListener('abort', notice);
      notice();
    });
}

async function keepRunning(url: string): Promise<void> {
  const { signal } = interrupted;
  console.log(`\nThe worker goes on until Ctrl-C. Look around:\n\n  psql '${url}'\n`);
  console.log(VIEWS.map(({ sql }) => `${sql};`).join('\n\n'));
  console.log('\nselect * from howdah.redrive(\'{"queue": "earthquakes/assess"}\');');
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

function unlessUnknown(error: unknown): void {
  if (!(error instanceof HowdahError) || error.code !== 'HOWDAH_QUEUE_UNKNOWN') throw error;
}
