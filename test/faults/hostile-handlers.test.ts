import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { createCounts, readRuns, startFaultWorker, waitForRuns } from '../support/fault-worker.js';
import { createQueue, enqueue, waitForState } from '../support/workers.js';

const REPLACED = 'result not stored';

/** What each handler leaves behind: docs/worker.md, "What a handler can do wrong". */
const FAILURES: Record<string, { message: string | RegExp; name?: string }> = {
  throwsUndefined: { name: 'NonError', message: 'undefined was thrown' },
  throwsNull: { name: 'NonError', message: 'null was thrown' },
  throwsText: { name: 'NonError', message: 'just text' },
  throwsCycle: { name: 'Object', message: 'an object without a message was thrown' },
  throwsHuge: { name: 'Error', message: /^x{2999}…$/ },
  throwsGetter: { message: 'an object without a message was thrown' },
  throwsProxy: { message: 'an object without a message was thrown' },
  throwsUnstorable: { name: 'Error', message: 'nul \uFFFD and lone \uFFFD here' },
  returnsThrowingThenable: { name: 'Error', message: 'from then' },
  returnsRejectingThenable: { name: 'Error', message: 'first' },
  rejectsLate: { name: 'Error', message: 'late' },
};

const REPLACEMENTS: Record<string, RegExp> = {
  returnsNul: /u0000/,
  returnsLoneSurrogate: /surrogate/,
  returnsHuge: /5242882 bytes, 1048576 are allowed/,
  returnsBigInt: /BigInt/i,
  returnsCycle: /cycl|itself/i,
  returnsFunction: /function/,
};

describe('one worker process, one handler after another that does what it should not', () => {
  test('what is thrown is described, and the next attempt succeeds', async ({ url, pool }) => {
    await createCounts(pool);
    const name = await createQueue(pool, { backoff_ms: 1 });
    const worker = await startFaultWorker({ url, queue: name });
    const kinds = Object.keys(FAILURES);
    const ids = await enqueue(
      pool,
      name,
      kinds.map((kind) => ({ payload: { do: kind } })),
    );
    for (const [index, kind] of kinds.entries()) {
      const { attempt, errors } = await waitForState(pool, ids[index], 'completed');
      const { message, name: errorName } = FAILURES[kind] ?? { message: '' };
      expect(attempt, kind).toBe(2);
      expect(errors, kind).toHaveLength(1);
      if (message instanceof RegExp) expect(errors?.[0]?.message, kind).toMatch(message);
      else expect(errors?.[0]?.message, kind).toBe(message);
      if (errorName) expect(errors?.[0]?.name, kind).toBe(errorName);
      expect(JSON.stringify(errors).length, kind).toBeLessThan(10_000);
    }
    expect(worker.of('settle.failed')).toEqual([]);
    expect(worker.of('job.failed')).toHaveLength(kinds.length);
  });

  test('a result that cannot be stored is replaced, for the work is done', async ({
    url,
    pool,
  }) => {
    await createCounts(pool);
    const name = await createQueue(pool);
    const worker = await startFaultWorker({ url, queue: name });
    const kinds = Object.keys(REPLACEMENTS);
    const ids = await enqueue(
      pool,
      name,
      kinds.map((kind) => ({ payload: { do: kind } })),
    );
    for (const [index, kind] of kinds.entries()) {
      const { attempt, result } = await waitForState(pool, ids[index], 'completed');
      expect(attempt, kind).toBe(1);
      expect(result, kind).toEqual({
        howdah: REPLACED,
        problem: expect.stringMatching(REPLACEMENTS[kind] as RegExp),
      });
    }
    expect(worker.of('job.result-replaced')).toHaveLength(kinds.length);
    expect(worker.of('settle.failed')).toEqual([]);
  });

  test('one that never settles times out, and its slot is free again', async ({ url, pool }) => {
    await createCounts(pool);
    const name = await createQueue(pool, { timeout_ms: 300, backoff_ms: 1 });
    const worker = await startFaultWorker({ url, queue: name, binding: { concurrency: 1 } });
    const [never, late] = await enqueue(pool, name, [
      { payload: { do: 'neverSettles' } },
      { payload: { do: 'answersTooLate' } },
    ]);
    for (const id of [never, late]) {
      const { attempt, errors, result } = await waitForState(pool, id, 'completed');
      expect(errors).toMatchObject([{ code: 'HOWDAH_JOB_TIMEOUT' }]);
      expect({ attempt, result }).toMatchObject({ attempt: 2, result: { attempt: 2 } });
    }
    await worker.heard('handler.leaked', 2);
    expect(worker.of('job.timed-out')).toHaveLength(2);
    expect(worker.of('job.stale')).toEqual([]);
  });
});

describe('a handler that takes its process down', () => {
  test.for([
    { kind: 'exits', code: 0, says: '' },
    { kind: 'throwsInTimer', code: 1, says: 'in a timer' },
    { kind: 'forgetsRejection', code: 1, says: 'forgotten' },
  ])(
    '$kind: its job and its neighbour run elsewhere, one attempt later',
    async ({ kind, code, says }, { url, pool }) => {
      await createCounts(pool);
      const name = await createQueue(pool);
      const options = { url, queue: name, lease: 1_000 };
      const first = await startFaultWorker(options);
      const [neighbour] = await enqueue(pool, name, [{ payload: { do: 'neverSettles' } }]);
      await waitForRuns(pool, [neighbour]);
      const [id] = await enqueue(pool, name, [{ payload: { do: kind } }]);
      expect(await first.process.exited).toEqual({ code, signal: null });
      expect(first.process.stderr).toContain(says);
      const second = await startFaultWorker(options);
      for (const each of [id, neighbour]) {
        expect(await waitForState(pool, each, 'completed')).toMatchObject({
          attempt: 2,
          result: { pid: second.pid },
          errors: [{ name: 'LeaseExpired' }],
        });
      }
      expect(await readRuns(pool, [id, neighbour])).toHaveLength(4);
    },
  );
});
