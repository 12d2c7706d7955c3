import { writeFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { work } from 'howdah';
import type pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { makeGate } from '../support/fault-worker.js';
import { createQueue, enqueue, heard, startWorker, waitForState } from '../support/workers.js';

/** A job of which the worker died when it held it. @returns its id */
async function makeSuspect(pool: pg.Pool, queue: string): Promise<string> {
  const client = await pool.connect();
  // in one transaction, so that no other worker sees it before
  await client.query('begin');
  const [id] = await enqueue(client, queue);
  const { rows } = await client.query(`select howdah.open_lease('dead', 1000) as lease`);
  await client.query('select howdah.claim($1, $2, 1)', [queue, rows[0].lease]);
  await client.query(
    `update howdah._leases set expires_at = howdah.clock() - interval '1 minute' where id = $1`,
    [rows[0].lease],
  );
  await client.query('commit');
  client.release();
  await pool.query('select howdah.reap()');
  return id as string;
}

function makeLatch(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  onTestFinished(open);
  return { opened, open };
}

test('a job that runs on and on keeps no other queue waiting for a suspect', async ({
  url,
  pool,
}) => {
  const policy = { timeout_ms: null };
  const [long, crashy, ping] = [
    await createQueue(pool, policy),
    await createQueue(pool, policy),
    await createQueue(pool),
  ];
  const latch = makeLatch();
  const made = await startWorker({
    url,
    suspectWait: '300ms',
    queues: [work(long, () => latch.opened), work(crashy, () => 'well'), work(ping, () => 'pong')],
  });
  const [busy] = await enqueue(pool, long);
  await waitForState(pool, busy, 'running');
  const suspects = [await makeSuspect(pool, crashy), await makeSuspect(pool, crashy)];
  for (let n = 0; n < 5; n += 1) {
    const [id] = await enqueue(pool, ping);
    await waitForState(pool, id, 'completed');
  }
  for (const id of suspects) await waitForState(pool, id, 'completed');
  expect(await heard(made, 'job.suspected')).toMatchObject({ isAlone: false });
  latch.open();
  await waitForState(pool, busy, 'completed');
});

test('a suspect that runs on and on is alone for a while; the database hears before others begin', async ({
  url,
  pool,
}) => {
  const crashy = await createQueue(pool, { timeout_ms: null });
  const ping = await createQueue(pool);
  const latch = makeLatch();
  const suspect = await makeSuspect(pool, crashy);
  let company: unknown;
  const made = await startWorker({
    url,
    suspectWait: '500ms',
    queues: [
      work(crashy, () => latch.opened),
      work(ping, async () => {
        const { rows } = await pool.query(
          'select company from howdah._leases where company is not null',
        );
        company = rows[0]?.company;
      }),
    ],
  });
  expect(await heard(made, 'job.suspected')).toMatchObject({ ids: [suspect], isAlone: true });
  const [id] = await enqueue(pool, ping);
  await waitForState(pool, id, 'completed');
  expect(company).toEqual([suspect]);
  latch.open();
  await waitForState(pool, suspect, 'completed');
});

test('a suspect of a handler file runs in a process of its own, and nobody waits', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  const [crashy, ping] = [await createQueue(pool), await createQueue(pool)];
  const gate = await makeGate();
  const file = `${gate.path}-handler.mjs`;
  await writeFile(
    file,
    `import { existsSync } from 'node:fs';
    export default async () => {
      while (!existsSync(${JSON.stringify(gate.path)})) await new Promise((ok) => setTimeout(ok, 20));
      return process.pid;
    };`,
  );
  const suspect = await makeSuspect(pool, crashy);
  const made = await startWorker({
    url,
    suspectWait: '1h',
    queues: [work(crashy, { file: pathToFileURL(file), threads: 1 }), work(ping, () => 'pong')],
  });
  expect(await heard(made, 'job.suspected', 30_000)).toMatchObject({ isAlone: false });
  const [id] = await enqueue(pool, ping);
  await waitForState(pool, id, 'completed');
  await waitForState(pool, suspect, 'running');
  gate.open();
  const { result } = await waitForState(pool, suspect, 'completed');
  expect(result).not.toBe(process.pid);
  const [plain] = await enqueue(pool, crashy);
  expect((await waitForState(pool, plain, 'completed')).result).toBe(process.pid);
});
