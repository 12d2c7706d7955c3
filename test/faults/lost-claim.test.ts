import { work } from 'howdah';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { createCounts, startFaultWorker } from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, readJob, startWorker, waitForState } from '../support/workers.js';

test('jobs whose claim was answered to nobody are given back, and run', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  await createCounts(pool);
  const name = await createQueue(pool);
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const payload = { do: 'done', isQuiet: true };
  const ids = await enqueue(pool, name, [{ payload }, { payload }, { payload }]);
  proxy.loseReplyTo('claim_many');
  const worker = await startFaultWorker({ url: proxy.url, effectsUrl: url, queue: name });
  await waitFor(() => proxy.repliesLost === 1, { what: 'the reply to a claim to be lost' });
  await worker.heard('claim.failed');
  for (const id of ids) {
    await waitForState(pool, id, 'completed');
    // it never began the first time: that attempt does not count
    expect(await readJob(pool, id)).toMatchObject({ attempt: 1, errors: null });
  }
  expect(worker.of('lease.lost')).toEqual([]);
});

test('a claim that a lock keeps from its end comes again and again, as no failure', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  const name = await createQueue(pool);
  const other = await pool.connect();
  await other.query('begin');
  await other.query('lock table howdah._lease_marks in share mode');
  const [id] = await enqueue(pool, name);
  const worker = await startWorker({
    url,
    queues: [work(name, () => undefined)],
    poll: '1h',
    maintain: false,
  });
  // each claim that waits for it, by the time at which it began to; backed off, the tenth would be half a minute later
  const tries = new Set<number>();
  await waitFor(
    async () => {
      const { rows } =
        await pool.query(`select extract(epoch from waitstart)::float8 as at from pg_locks
        where not granted and waitstart is not null and relation = 'howdah._lease_marks'::regclass`);
      for (const { at } of rows) tries.add(at);
      return tries.size >= 12;
    },
    { timeoutMs: 20_000, intervalMs: 5, what: 'twelve claims' },
  );
  await other.query('rollback');
  other.release();
  await waitForState(pool, id, 'completed');
  expect(await readJob(pool, id)).toMatchObject({ attempt: 1, errors: null });
  expect(worker.events.filter(({ type }) => type === 'claim.failed')).toEqual([]);
});
