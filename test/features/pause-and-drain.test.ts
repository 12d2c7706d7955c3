import { work } from 'howdah';
import { describe, expect } from 'vitest';
import { codeOf, errorOf, test } from '../support/client.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, startWorker, waitForState } from '../support/workers.js';

describe('pause until', () => {
  test('the whole fleet obeys at once, and resumes by itself on time', async ({
    url,
    pool,
    client,
  }) => {
    const name = await createQueue(pool);
    const startedAt: number[] = [];
    // a long poll: nobody comes again by chance
    const options = { url, poll: '60s' } as const;
    const queues = [work(name, () => void startedAt.push(Date.now()))];
    await Promise.all([startWorker({ ...options, queues }), startWorker({ ...options, queues })]);
    const [before] = await enqueue(pool, name);
    await waitForState(pool, before, 'completed');

    const until = new Date(Date.now() + 1_500);
    await client.queues.pause(name, { until, reason: 'deploy' });
    const ids = await enqueue(pool, name, Array(10).fill({}));
    expect((await client.queues.stats(name))[0]).toMatchObject({
      paused: true,
      pausedReason: 'deploy',
      pausedUntil: until,
    });
    for (const id of ids) await waitForState(pool, id, 'completed');
    const first = Math.min(...startedAt.slice(1));
    expect(first).toBeGreaterThanOrEqual(until.getTime());
    expect(first).toBeLessThan(until.getTime() + 1_000);
    await waitFor(async () => (await client.queues.stats(name))[0]?.pausedReason === null, {
      what: 'the pause to be taken off',
    });
  });

  test('a length instead of a time; resume by hand ends it early', async ({
    url,
    pool,
    client,
  }) => {
    const name = await createQueue(pool);
    await startWorker({ url, queues: [work(name, () => undefined)] });
    await client.queues.pause(name, { for: '1h' });
    const [id] = await enqueue(pool, name);
    await waitFor(async () => (await client.queues.stats(name))[0]?.paused, { what: 'the pause' });
    await client.queues.resume(name);
    await waitForState(pool, id, 'completed', 1_500);
  });

  test('a kind of queues by the beginning of their names', async ({ url, pool, client }) => {
    const other = await createQueue(pool);
    const prefix = `kind-${other}`;
    const names = [`${prefix}.a`, `${prefix}.b`];
    for (const name of names) await client.queues.create(name);
    const queues = [...names, other].map((name) => work(name, () => undefined));
    await startWorker({ url, queues, poll: '60s' });
    expect(await client.queues.pause(`${prefix}.*`, 'storm')).toEqual(names);
    const [a] = await enqueue(pool, names[0] as string);
    const [b] = await enqueue(pool, names[1] as string);
    const [c] = await enqueue(pool, other);
    await waitForState(pool, c, 'completed');
    expect(await client.queues.resume(`${prefix}.*`)).toEqual(names);
    for (const id of [a, b]) await waitForState(pool, id, 'completed', 1_500);
    expect(await client.queues.close(other)).toEqual([other]);
    expect(await codeOf(client.queues.open(`${prefix}x*`))).toBe('HOWDAH_QUEUE_UNKNOWN');
    for (const name of ['.mail', '.*', 'a b*', 'mail%*', '*'.repeat(129), ''])
      expect(await codeOf(client.queues.open(name)), name).toBe('HOWDAH_QUEUE_NAME_INVALID');
  });

  test('bad input', async ({ pool, client }) => {
    const name = await createQueue(pool);
    const pause = (options: object) => codeOf(client.queues.pause(name, options));
    expect(await pause({ until: new Date(Date.now() - 1_000) })).toBe('HOWDAH_HOLD_INVALID');
    expect(await pause({ until: 'tomorrow' })).toBe('HOWDAH_HOLD_INVALID');
    expect(await pause({ until: '2027-01-01T00:00:00' })).toBe('HOWDAH_HOLD_INVALID');
    expect(await pause({ for: 0 })).toBe('HOWDAH_OPTION_INVALID');
    expect(await pause({ for: '1s', until: new Date() })).toBe('HOWDAH_OPTION_INVALID');
  });
});

describe('drain', () => {
  test('waits until nothing is ready or running, and says what is left', async ({
    url,
    pool,
    client,
  }) => {
    const name = await createQueue(pool);
    const ids = await enqueue(pool, name, Array(5).fill({}));
    await enqueue(pool, name, [{ delay_ms: 3_600_000 }]);
    const left: number[] = [];
    const drained = client.queues.drain(name, {
      timeout: '20s',
      onProgress: ({ ready, running }) => left.push(ready + running),
    });
    await waitFor(() => left.length > 0, { what: 'the first look' });
    await startWorker({ url, queues: [work(name, () => undefined)] });
    await drained;
    expect(left[0]).toBe(5);
    for (const id of ids) await waitForState(pool, id, 'completed', 100);
  });

  test('gives up at its deadline, or when its signal aborts', async ({ pool, client }) => {
    const name = await createQueue(pool);
    await enqueue(pool, name);
    const error = await errorOf(client.queues.drain(name, { timeout: 50 }));
    expect(error.code).toBe('HOWDAH_TIMEOUT');
    expect(error.details).toMatchObject({ queue: name, ready: 1, running: 0 });
    const reason = new Error('enough');
    await expect(client.queues.drain(name, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    expect(await codeOf(client.queues.drain('no-such-queue'))).toBe('HOWDAH_QUEUE_UNKNOWN');
  });
});
