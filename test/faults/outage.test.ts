import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import {
  createCounts,
  makeGate,
  readRuns,
  startFaultWorker,
  waitForRuns,
} from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, waitForState } from '../support/workers.js';

const OUTAGE_MS = 4_000;

async function proxyTo(url: string): Promise<FaultProxy> {
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  return proxy;
}

/** The database is out of reach, as seen from behind the proxy, for some seconds at least. */
async function outage(proxy: FaultProxy, during: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  proxy.refuse();
  proxy.cut();
  await during();
  await waitFor(() => performance.now() - begun > OUTAGE_MS);
  expect(proxy.connections).toBe(0);
  proxy.refuse(false);
  return performance.now();
}

describe('an outage of some seconds', () => {
  test('shorter than the lease: what finished meanwhile is settled, nothing runs twice', async ({
    url,
    pool,
  }) => {
    await createCounts(pool);
    const name = await createQueue(pool, { backoff_ms: 1 });
    const gate = await makeGate();
    const proxy = await proxyTo(url);
    const worker = await startFaultWorker({ url: proxy.url, effectsUrl: url, queue: name });
    const payloads = [
      { do: 'hold', gate: gate.path },
      { do: 'holdThenThrow', gate: gate.path },
    ];
    const ids = await enqueue(
      pool,
      name,
      payloads.map((payload) => ({ payload })),
    );
    await waitForRuns(pool, ids);
    let later: string[] = [];
    const returnedAt = await outage(proxy, async () => {
      await worker.heard('connection.lost', 3); // claim, settle, listen
      gate.open();
      later = await enqueue(pool, name, [{ payload: { do: 'done' } }]);
      await worker.process.waitForOutput(/"opened".*"opened"/s); // both handlers end meanwhile
    });
    expect(worker.process.isRunning).toBe(true);
    await waitForRuns(pool, later);
    // the longest pause between two tries, and the look after it
    expect(performance.now() - returnedAt).toBeLessThan(6_000);
    const [held, failed] = ids;
    expect(await waitForState(pool, held, 'completed')).toMatchObject({
      attempt: 1,
      errors: null,
      result: { pid: worker.pid },
    });
    expect(await waitForState(pool, failed, 'completed')).toMatchObject({
      attempt: 2,
      errors: [{ message: 'after the gate', attempt: 1 }],
    });
    await waitForState(pool, later[0], 'completed');
    expect(await readRuns(pool, ids)).toHaveLength(3);
    expect(worker.of('lease.lost')).toEqual([]);
    expect(worker.of('job.stale').filter(({ isUncertain }) => !isUncertain)).toEqual([]);
  });

  test('longer than the lease: handlers are told, the jobs run elsewhere, late outcomes are fenced', async ({
    url,
    pool,
  }) => {
    await createCounts(pool);
    const name = await createQueue(pool);
    const gate = await makeGate();
    const proxy = await proxyTo(url);
    const options = { queue: name, lease: 1_000, effectsUrl: url };
    const cutOff = await startFaultWorker({ ...options, url: proxy.url, maintain: false });
    const [waiting] = await enqueue(pool, name, [
      { payload: { do: 'holdUntilAborted', gate: '/nowhere' } },
    ]);
    await waitForRuns(pool, [waiting]); // before the other blocks the loop that would note it
    const [finishing] = await enqueue(pool, name, [{ payload: { do: 'block', gate: gate.path } }]);
    await waitForRuns(pool, [finishing]);
    await cutOff.process.waitForOutput('"blocking"');
    const other = await startFaultWorker({ ...options, url });
    const returnedAt = await outage(proxy, async () => {
      for (const id of [waiting, finishing]) {
        expect(await waitForState(pool, id, 'completed', 15_000)).toMatchObject({
          attempt: 2,
          result: { pid: other.pid },
        });
      }
      gate.open(); // its outcome is on its way before the loss of the lease is noticed
      await cutOff.heard('lease.lost');
    });
    const stale = await cutOff.heard('job.stale');
    expect(stale).toMatchObject({ job: { id: finishing, attempt: 1 }, outcome: 'complete' });
    await cutOff.heard('lease.opened', 2);
    expect(performance.now() - returnedAt).toBeLessThan(15_000);
    expect(cutOff.of('job.completed')).toEqual([]);
    other.process.kill('SIGTERM');
    await other.process.exited;
    const [after] = await enqueue(pool, name, [{ payload: { do: 'done' } }]);
    expect(await waitForState(pool, after, 'completed')).toMatchObject({
      attempt: 1,
      result: { pid: cutOff.pid },
    });
    expect(await readRuns(pool, [waiting, finishing])).toHaveLength(4);
  });
});
