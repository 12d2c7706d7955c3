import { expect } from 'vitest';
import { test } from '../support/database.js';
import {
  createCounts,
  makeGate,
  readRuns,
  startFaultWorker,
  waitForRuns,
} from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, waitForState } from '../support/workers.js';

const LEASE_MS = 2_000;

test('a handler that blocks the event loop for three leases, within its time-out, keeps its job', async ({
  url,
  pool,
}) => {
  await createCounts(pool);
  const name = await createQueue(pool, { timeout_ms: 20_000 });
  const gate = await makeGate();
  const options = { url, queue: name, lease: LEASE_MS, binding: { concurrency: 2 } };
  const blocked = await startFaultWorker({ ...options, maintain: false });
  const [neighbour] = await enqueue(pool, name, [{ payload: { do: 'hold', gate: gate.path } }]);
  await waitForRuns(pool, [neighbour]);
  const [id] = await enqueue(pool, name, [{ payload: { do: 'block', ms: LEASE_MS * 3 } }]);
  await blocked.process.waitForOutput('"blocking"');
  const other = await startFaultWorker(options);
  await other.heard('maintenance.leading');

  const { result, attempt, errors } = await waitForState(pool, id, 'completed', 20_000);
  expect(result).toMatchObject({ pid: blocked.pid, blockedMs: expect.any(Number) });
  expect((result as { blockedMs: number }).blockedMs).toBeGreaterThan(LEASE_MS * 2.9);
  expect({ attempt, errors }).toEqual({ attempt: 1, errors: null });
  gate.open();
  expect(await waitForState(pool, neighbour, 'completed')).toMatchObject({
    attempt: 1,
    result: { pid: blocked.pid },
  });
  expect(blocked.of('lease.lost')).toEqual([]);
  expect(await readRuns(pool, [id, neighbour])).toHaveLength(2);
  expect(other.of('maintenance.done').filter(({ duty }) => duty === 'reap')).toEqual([]);
});

test('beyond its time-out it loses all jobs of its worker, and the worker works on', async ({
  url,
  pool,
}) => {
  await createCounts(pool);
  const name = await createQueue(pool, { timeout_ms: 1_500 });
  const gate = await makeGate();
  const options = { url, queue: name, lease: LEASE_MS };
  const blocked = await startFaultWorker({ ...options, maintain: false });
  const [id] = await enqueue(pool, name, [{ payload: { do: 'block', gate: gate.path } }]);
  await blocked.process.waitForOutput('"blocking"');
  const other = await startFaultWorker(options);
  await other.heard('maintenance.leading');

  expect(await waitForState(pool, id, 'completed', 20_000)).toMatchObject({
    attempt: 2,
    result: { pid: other.pid },
    errors: [{ name: 'LeaseExpired', message: expect.stringContaining(String(blocked.pid)) }],
  });
  // It was still blocked when the other had finished.
  expect(blocked.of('lease.lost')).toEqual([]);
  gate.open();
  await blocked.heard('lease.lost');
  await blocked.heard('lease.opened', 2);
  await waitFor(() => blocked.of('job.stale').length + blocked.of('job.timed-out').length > 0, {
    what: 'the attempt to end as stale or timed out',
  });
  expect(blocked.of('job.completed')).toEqual([]);
  other.process.kill('SIGTERM');
  await other.process.exited;
  const [after] = await enqueue(pool, name, [{ payload: { do: 'done' } }]);
  expect(await waitForState(pool, after, 'completed')).toMatchObject({
    result: { pid: blocked.pid },
  });
  expect(await readRuns(pool, [id])).toHaveLength(2);
});

test.for([
  { verb: 'blockThenTurn', when: 'when its loop has turned' },
  { verb: 'block', when: 'before its loop turns' },
])(
  'a handler that answers after its time-out, $when, has failed',
  async ({ verb }, { url, pool }) => {
    await createCounts(pool);
    const name = await createQueue(pool, { timeout_ms: 1_000, backoff_ms: 1, backoff_jitter: 0 });
    const worker = await startFaultWorker({ url, queue: name });
    const [id] = await enqueue(pool, name, [{ payload: { do: verb, ms: 1_500, isQuiet: true } }]);
    const { attempt, errors, result } = await waitForState(pool, id, 'completed');
    expect({ attempt, result }).toMatchObject({ attempt: 2, result: { attempt: 2 } });
    expect(errors).toMatchObject([{ code: 'HOWDAH_JOB_TIMEOUT', attempt: 1 }]);
    expect(worker.of('job.timed-out')).toHaveLength(1);
    expect(worker.of('lease.lost')).toEqual([]);
  },
);
