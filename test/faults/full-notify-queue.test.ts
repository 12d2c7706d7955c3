import { createClient, migrate, work } from 'howdah';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { startOwnServer } from '../support/own-server.js';
import { waitFor } from '../support/wait-for.js';
import { startWorker, waitForState } from '../support/workers.js';

/** Somebody listens, and stays in a transaction: what is notified from now on is kept, until there is no room. */
async function fillQueue(url: string): Promise<pg.Client> {
  const deaf = new pg.Client(url);
  await deaf.connect();
  await deaf.query('listen other');
  await deaf.query('begin');
  await deaf.query('select 1');
  const noisy = new pg.Client(url);
  await noisy.connect();
  const shout = `select pg_notify('other', repeat('x', 7000) || g) from generate_series(1, 20) g`;
  await expect(
    (async () => {
      for (let n = 0; n < 1_000; n += 1) await noisy.query(shout);
    })(),
  ).rejects.toMatchObject({ code: '54000' });
  await noisy.end();
  return deaf;
}

test('a full queue of notifications holds up no enqueue, no commit of an application and no settle', {
  timeout: 90_000,
}, async () => {
  const { url } = await startOwnServer({ settings: { max_notify_queue_pages: 64 } });
  await migrate({ url });
  const pool = new pg.Pool({ connectionString: url });
  pool.on('error', () => undefined);
  const client = createClient({ url });
  onTestFinished(async () => {
    await client.close();
    await pool.end();
  });
  await client.queues.create('mail', { backoff: { delay: '100ms' } });
  let mayEnd = false;
  const { events } = await startWorker({
    url,
    lease: '2s',
    poll: '500ms',
    queues: [
      work('mail', async ({ payload, attempt }) => {
        if (payload === 'held') await waitFor(() => mayEnd, { timeoutMs: 30_000 });
        if (payload === 'held' && attempt === 1) throw new Error('once more');
        return 'done';
      }),
    ],
  });
  const held = await client.enqueue('mail', 'held');
  await waitForState(pool, held.id, 'running');
  const awaited = held.result({ timeout: '40s' });
  await waitFor(async () => (await pool.query('select from howdah._sleepers')).rows.length > 0, {
    what: 'the worker to sleep',
  });

  const deaf = await fillQueue(url);
  const later = await client.enqueue('mail', 'later');
  const tx = await pool.connect();
  await tx.query('begin');
  const own = await client.enqueue('mail', 'own', { tx });
  await tx.query('commit');
  tx.release();
  await client.jobs.cancel((await client.enqueue('mail', 'delayed', { delay: '1h' })).id);
  mayEnd = true;
  for (const { id } of [later, own, held]) await waitForState(pool, id, 'completed', 30_000);
  expect(await awaited).toBe('done');
  expect(events.filter(({ type }) => /settle.failed|claim.failed|lost/.test(type))).toEqual([]);
  await deaf.query('commit');
  await deaf.end();
  await waitFor(
    () => events.findLast(({ type }) => /^listener/.test(type))?.type === 'listener.hearing',
    {
      timeoutMs: 30_000,
      what: 'notifications to be heard again',
    },
  );
});
