// Runs one compiled block: node run-block.mjs <module> <'drain' where it starts a worker>
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { createClient } from 'howdah';
import pg from 'pg';

const [, , module, mode] = process.argv;
const url = process.env.DATABASE_URL;
const startedAt = new Date();
const pool = new pg.Pool({ connectionString: url });
Object.assign(globalThis, {
  url,
  pool,
  client: createClient({ url }),
  sendMail: async () => undefined,
});

await import(pathToFileURL(path.resolve(module)).href);
if (mode === 'drain') await drained();
process.exit(0);

async function drained() {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const { rows } = await pool.query(
      "select queue, state, last_error from howdah.job_states where state in ('ready', 'running') and dead_at is null",
    );
    if (rows.length === 0) return noneFailed();
    if (performance.now() > deadline) throw new Error(`not drained: ${JSON.stringify(rows)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function noneFailed() {
  const { rows } = await pool.query(
    "select queue, last_error from howdah.jobs where last_error <> '' and enqueued_at > $1",
    [startedAt],
  );
  if (rows.length > 0) throw new Error(`failed: ${JSON.stringify(rows)}`);
}
