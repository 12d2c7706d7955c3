import { cancelJob, createClient, migrate, rateLimited, work } from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import {
  createQueue,
  enqueue,
  heard,
  readJob,
  startWorker,
  waitForState,
} from '../support/workers.js';

/** Whatever ends this job fails, as by a trigger of somebody's. @returns a function that takes it away */
async function forbid(pool: pg.Pool, id: string | undefined): Promise<() => Promise<void>> {
  const name = `forbid_${id}`;
  await pool.query(`
    create function ${name}() returns trigger language plpgsql as
      $$ begin raise exception 'not this one' using errcode = 'P0001'; end $$;
    create trigger ${name} before delete or update of lease_id on howdah._jobs for each row
      when (old.id = ${id} and old.lease_id is not null) execute function ${name}()`);
  return async () => {
    await pool.query(`drop function if exists ${name} cascade`);
  };
}

describe('an end that fails for a reason nobody knows', () => {
  test('is tried apart while others go on, and stored whole when the reason has passed', async ({
    url,
    pool,
  }) => {
    const queue = await createQueue(pool);
    let mayEnd = false;
    const { events } = await startWorker({
      url,
      lease: '20s',
      queues: [
        work(queue, async ({ payload }) => {
          if (payload === 'culprit') await waitFor(() => mayEnd, { timeoutMs: 20_000 });
          return 'kept';
        }),
      ],
    });
    const [culprit] = await enqueue(pool, queue, [{ payload: 'culprit' }]);
    await waitForState(pool, culprit, 'running');
    const allow = await forbid(pool, culprit);
    mayEnd = true;
    const ids = await enqueue(
      pool,
      queue,
      Array.from({ length: 50 }, () => ({})),
    );
    for (const id of ids) await waitForState(pool, id, 'completed');
    await waitFor(() => events.some(({ type }) => type === 'settle.failed'));
    expect(await readJob(pool, culprit)).toMatchObject({ state: 'running' });
    await allow();
    expect(await waitForState(pool, culprit, 'completed')).toMatchObject({
      result: 'kept',
      attempt: 1,
    });
    expect(events.filter(({ type }) => type === 'job.abandoned')).toEqual([]);
  });

  test('for as long as a lease ends the hold: the job is given back, and runs again', async ({
    url,
    pool,
  }) => {
    const queue = await createQueue(pool);
    let runs = 0;
    let allow = async (): Promise<void> => {};
    const made = await startWorker({
      url,
      lease: '1s',
      queues: [
        work(queue, async ({ id }) => {
          runs += 1;
          if (runs === 1) allow = await forbid(pool, id);
          return runs;
        }),
      ],
    });
    const [id] = await enqueue(pool, queue);
    await heard(made, 'job.abandoned', 25_000);
    await allow();
    expect(await waitForState(pool, id, 'completed')).toMatchObject({ result: 2 });
    expect(made.events.filter(({ type }) => type === 'lease.lost')).toEqual([]);
  });
});

test('a database without the characters gets others in their place, and no handler runs again for it', {
  timeout: 60_000,
}, async ({ url }) => {
  const name = `latin_${process.pid}`;
  const admin = new pg.Client(url.replace(/\/[^/]*$/, '/postgres'));
  await admin.connect();
  await admin.query(
    `create database ${name} encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'`,
  );
  onTestFinished(async () => {
    await admin.query(`drop database ${name} with (force)`);
    await admin.end();
  });
  const latin = url.replace(/\/[^/]*$/, `/${name}`);
  await migrate({ url: latin });
  const pool = new pg.Pool({ connectionString: latin });
  pool.on('error', () => undefined);
  const client = createClient({ url: latin });
  const runs: string[] = [];
  const does: Record<string, () => unknown> = {
    cancels: () => cancelJob('Kunde möchte nicht mehr 😀'),
    waits: () => rateLimited({ retryAfter: '1h', reason: 'zu viele – später' }),
    throws: () => {
      throw new Error('Заказ 17');
    },
    returns: () => '😀',
  };
  const queues = Object.keys(does);
  for (const queue of queues) await client.queues.create(queue, { backoff: { delay: '1h' } });
  const { worker } = await startWorker({
    url: latin,
    queues: queues.map((queue) =>
      work(queue, () => {
        runs.push(queue);
        return does[queue]?.() as never;
      }),
    ),
  });
  const ids = Object.fromEntries(
    await Promise.all(queues.map(async (each) => [each, (await client.enqueue(each, 1)).id])),
  );
  expect(await waitForState(pool, ids.cancels, 'cancelled')).toMatchObject({
    reason: 'Kunde m\\u{F6}chte nicht mehr \\u{1F600}',
  });
  expect((await waitForState(pool, ids.throws, 'scheduled')).errors?.at(-1)).toMatchObject({
    message: '\\u{417}\\u{430}\\u{43A}\\u{430}\\u{437} 17',
  });
  expect(await waitForState(pool, ids.returns, 'completed')).toMatchObject({
    result: { howdah: 'result not stored' },
  });
  await waitForState(pool, ids.waits, 'ready');
  expect(runs.toSorted()).toEqual(queues.toSorted());
  await worker.stop({ grace: 0 });
  await client.close();
  await pool.end();
});
