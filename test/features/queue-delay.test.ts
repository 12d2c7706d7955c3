import { work } from 'howdah';
import { describe, expect } from 'vitest';
import { test } from '../support/client.js';
import { waitFor } from '../support/wait-for.js';
import { startWorker } from '../support/workers.js';

describe('a queue has a default delay and a waiting TTL', () => {
  test('jobs that name no delay get that of the queue', async ({ client }) => {
    await client.queues.create('slow', { delay: '1h' });
    const delayed = await client.enqueue('slow', 1);
    const own = await client.enqueue('slow', 2, { delay: 0 });
    const details = await client.jobs.get(delayed.id);
    expect(details).toMatchObject({ state: 'scheduled' });
    const dueInMs = Number(details?.runAt) - Number(details?.enqueuedAt);
    expect(Math.abs(dueInMs - 3_600_000)).toBeLessThan(1000);
    expect(await client.jobs.get(own.id)).toMatchObject({ state: 'ready' });
  });

  test('a job that nobody began in time is recorded as expired, never dropped', async ({
    client,
    url,
  }) => {
    await client.queues.create('brief', { ttl: '50ms', delay: '20ms' });
    await client.queues.create('other');
    const { id } = await client.enqueue('brief', { kept: true });
    await startWorker({ url, queues: [work('other', () => undefined)] });
    await waitFor(async () => (await client.jobs.get(id))?.state === 'expired', {
      what: 'the job to expire',
    });
    expect(await client.jobs.get(id)).toMatchObject({
      payload: { kept: true },
      reason: 'waiting TTL',
    });
    expect(await client.queues.stats('brief')).toMatchObject([
      { ready: 0, scheduled: 0, expired: 1 },
    ]);
  });
});
