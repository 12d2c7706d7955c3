import { createClient, migrate } from 'howdah';
import type { EmbeddedPostgres } from 'howdah/embedded';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import {
  createCounts,
  startFaultWorker,
  waitForAllCompleted,
  wrongEffects,
} from '../support/fault-worker.js';
import { makeDataDir, restartServer, startOwnServer } from '../support/own-server.js';
import { Producer } from '../support/producer.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue } from '../support/workers.js';

type Crash = (server: EmbeddedPostgres, pool: pg.Pool) => Promise<EmbeddedPostgres>;

/** Each ends the server so that it recovers from its log. */
const CRASHES: Record<string, Crash> = {
  async 'kill -9 of the postmaster'(server) {
    process.kill(server.pid, 'SIGKILL');
    await server.stopped;
    return restartServer(server, { durable: true });
  },
  async 'an immediate stop'(server) {
    await server.stop('immediate');
    return restartServer(server, { durable: true });
  },
  async 'kill -9 of a backend, which takes the others along'(server, pool) {
    const { rows } = await pool.query(
      "select pid from pg_stat_activity where application_name = 'howdah claim'",
    );
    process.kill(rows[0].pid, 'SIGKILL');
    return server;
  },
};

/** Waits until nothing is left in a queue, then looks for jobs that ran into their end twice. */
async function twiceDone(pool: pg.Pool, queue: string): Promise<unknown[]> {
  await waitFor(
    async () => {
      const { rows } = await pool.query(
        'select 1 from howdah.job_states where queue = $1 limit 1',
        [queue],
      );
      return rows.length === 0;
    },
    { timeoutMs: 30_000, what: 'the queue to be empty' },
  );
  const { rows } = await pool.query(
    'select job_id, count(*) from effects group by 1 having count(*) > 1',
  );
  return rows;
}

test('a server that crashes under load loses nothing that was acknowledged, and nothing is done twice', {
  timeout: 90_000,
}, async () => {
  let server = await startOwnServer({ dataDir: await makeDataDir(), durable: true });
  const { url } = server;
  await migrate({ url });
  const pool = new pg.Pool({ connectionString: url });
  pool.on('error', () => undefined);
  onTestFinished(() => pool.end());
  await createCounts(pool);
  const queue = await createQueue(pool, {
    backoff: 'fixed',
    backoff_ms: 50,
    max_attempts: 1_000,
    max_crashes: 1_000,
  });
  const client = createClient({ url });
  onTestFinished(() => client.close());
  const worker = await startFaultWorker({ url, queue, lease: 3_000 });
  const payload = { do: 'effect', again: 'effect', ms: 20, isQuiet: true };
  const running = "select id from howdah.job_states where state = 'running'";

  for (const [crash, make] of Object.entries(CRASHES)) {
    const producer = new Producer(client, queue, payload);
    await waitFor(() => producer.acknowledged.length > 50);
    const lost = worker.of('connection.lost').length;
    await waitFor(async () => (await pool.query(running)).rows.length > 0, {
      what: 'a job to run when the server crashes',
    });
    server = await make(server, pool);
    // a producer may be between two calls at that moment; what it asks meanwhile waits for the server
    await worker.heard('connection.lost', lost + 1);
    const atReturn = producer.acknowledged.length;
    await waitFor(() => producer.acknowledged.length > atReturn + 20, {
      what: 'producers to be served again',
    });
    const acknowledged = await producer.stop();
    await waitForAllCompleted(pool, acknowledged);
    expect(await wrongEffects(pool, acknowledged), crash).toEqual([]);
    expect(await twiceDone(pool, queue), crash).toEqual([]);
    expect(worker.process.isRunning, crash).toBe(true);
  }
  expect(worker.of('connection.restored').length).toBeGreaterThan(0);
  expect(worker.process.stderr).toBe('');
});
