import { type Client, queue, work } from 'howdah';
import { describe, expect } from 'vitest';
import { codeOf, test } from '../support/client.js';
import { createQueue, startWorker, waitForState } from '../support/workers.js';

// What a user would expect where two capabilities meet.

describe('dedupe and groups', () => {
  test('a duplicate of a blocked member gets its id and takes no second place in the line', async ({
    client,
    pool,
  }) => {
    const name = await createQueue(pool);
    const head = await client.enqueue(name, 1, { group: 'g' });
    const first = await client.enqueue(name, 2, { group: 'g', dedupe: { key: 'k' } });
    const again = await client.enqueue(name, 2, { group: 'g', dedupe: { key: 'k' } });
    expect(again).toMatchObject({ id: first.id, created: false });
    expect(await client.groups.blocked(name)).toMatchObject([{ waiting: 1, admitted: 1 }]);
    const order: string[] = [];
    await startWorker({
      pool,
      queues: [work(name, ({ id, group }) => void order.push(`${group} ${id}`))],
    });
    await waitForState(pool, first.id, 'completed');
    expect(order).toEqual([`g ${head.id}`, `g ${first.id}`]);
  });

  test('the same key in another group is still a duplicate: keys belong to the queue', async ({
    client,
    pool,
  }) => {
    const name = await createQueue(pool);
    const a = await client.enqueue(name, 1, { group: 'a', dedupe: { key: 'k' } });
    const b = await client.enqueue(name, 1, { group: 'b', dedupe: { key: 'k' } });
    expect(b).toMatchObject({ id: a.id, created: false });
    expect((await client.jobs.get(a.id))?.group).toBe('a');
  });

  test('replace changes a blocked member where it stands', async ({ client, pool }) => {
    const name = await createQueue(pool);
    await client.enqueue(name, 'head', { group: 'g' });
    const old = await client.enqueue(name, 'old', {
      group: 'g',
      dedupe: { key: 'k', mode: 'replace' },
    });
    const last = await client.enqueue(name, 'last', { group: 'g' });
    const fresh = await client.enqueue(name, 'new', {
      group: 'g',
      dedupe: { key: 'k', mode: 'replace' },
    });
    const ran: unknown[] = [];
    await startWorker({ pool, queues: [work(name, ({ payload }) => void ran.push(payload))] });
    await waitForState(pool, last.id, 'completed');
    await waitForState(pool, fresh.id, 'completed');
    expect(ran).toHaveLength(3);
    expect(ran[0]).toBe('head');
    expect(ran).toContain('new');
    expect(ran).not.toContain('old');
    expect(old.created).toBe(true);
    expect(await client.groups.blocked(name)).toEqual([]);
  });
});

describe('limits and pull', () => {
  test('receive() takes no more than may run; a settled job makes room for a waiter', async ({
    client,
    pool,
  }) => {
    const name = await createQueue(pool, { concurrency_max: 2 });
    await client.enqueueMany(name, [1, 2, 3]);
    const held = await client.receive(name, { max: 10 });
    expect(held).toHaveLength(2);
    expect(await client.receive(name, { max: 10 })).toEqual([]);
    const waiting = client.receive(name, { max: 10, wait: '10s' });
    await held[0]?.complete();
    expect(await waiting).toHaveLength(1);
  });

  test('a rate holds for pull as well', async ({ client, pool }) => {
    const name = await createQueue(pool, { rate_max: 2, rate_ms: 60_000, rate_burst: 2 });
    await client.enqueueMany(name, [1, 2, 3, 4]);
    expect(await client.receive(name, { max: 10 })).toHaveLength(2);
    expect(await client.receive(name, { max: 10 })).toEqual([]);
  });

  test('visibility that ends gives the permit back', async ({ client, pool }) => {
    const name = await createQueue(pool, { concurrency_max: 1 });
    await client.enqueue(name, 1);
    const [first] = await client.receive(name, { visibility: 100 });
    await expect
      .poll(async () => (await pool.query('select requeued from howdah.reap()')).rows[0].requeued)
      .toBe(1);
    const [second] = await client.receive(name);
    expect(second?.id).toBe(first?.id);
    await second?.complete();
  });

  test('an open circuit and a wait for a service stop receive()', async ({ client, pool }) => {
    const name = await createQueue(pool, { breaker_failures: 1, breaker_cooldown_ms: 60_000 });
    await client.enqueueMany(name, [1, 2, 3]);
    const [job] = await client.receive(name);
    await job?.fail(new Error('down'), { delay: 0 });
    expect(await client.receive(name, { max: 10 })).toEqual([]);
  });
});

describe('bounds, closed queues and redrive', () => {
  async function deadJob(client: Client, name: string): Promise<string> {
    const { id } = await client.enqueue(name, 'dead');
    const [job] = await client.receive(name);
    await job?.deadLetter('on purpose');
    return id;
  }

  test('a redrive is not refused by a full queue: what was accepted once is not lost', async ({
    client,
    pool,
  }) => {
    const name = await createQueue(pool, { max_depth: 1 });
    const id = await deadJob(client, name);
    await client.enqueue(name, 'waits');
    expect(await codeOf(client.enqueue(name, 'more'))).toBe('HOWDAH_QUEUE_FULL');
    expect(await client.deadLetters.redrive({ ids: [id] })).toMatchObject([{ id }]);
    expect((await client.jobs.get(id))?.state).toBe('ready');
    expect(await client.queues.stats(name)).toMatchObject([{ ready: 2 }]);
    // it counts against the bound
    await (await client.receive(name))[0]?.complete();
    expect(await codeOf(client.enqueue(name, 'more'))).toBe('HOWDAH_QUEUE_FULL');
    await (await client.receive(name))[0]?.complete();
    await client.enqueue(name, 'more');
  });

  test('a queue that is closed to new jobs takes its dead ones back', async ({ client, pool }) => {
    const name = await createQueue(pool);
    const id = await deadJob(client, name);
    await client.queues.close(name, 'over');
    expect(await codeOf(client.enqueue(name, 'new'))).toBe('HOWDAH_QUEUE_CLOSED');
    expect(await client.deadLetters.redrive({ ids: [id] })).toMatchObject([{ id }]);
    const [job] = await client.receive(name);
    expect(job).toMatchObject({ id, attempt: 1 });
    await job?.complete();
    expect((await client.jobs.get(id))?.state).toBe('completed');
  });

  test('a redriven member of a group stands behind those that came meanwhile', async ({
    client,
    pool,
  }) => {
    const name = await createQueue(pool);
    const { id } = await client.enqueue(name, 'dead', { group: 'g' });
    const [head] = await client.receive(name);
    expect(head?.group).toBe('g');
    await head?.deadLetter('on purpose');
    const next = await client.enqueue(name, 'next', { group: 'g' });
    await client.deadLetters.redrive({ ids: [id] });
    expect((await client.jobs.get(id))?.state).toBe('blocked');
    const [second] = await client.receive(name);
    expect(second?.id).toBe(next.id);
    await second?.complete();
    expect((await client.receive(name))[0]?.id).toBe(id);
  });

  test('a dead job keeps its dedupe key: a redrive makes no second one', async ({
    client,
    pool,
  }) => {
    const name = await createQueue(pool);
    const { id } = await client.enqueue(name, 1, { dedupe: { key: 'k' } });
    await (await client.receive(name))[0]?.deadLetter('on purpose');
    expect(await client.enqueue(name, 1, { dedupe: { key: 'k' } })).toMatchObject({
      id,
      created: false,
    });
    await client.deadLetters.redrive({ ids: [id] });
    expect(await client.enqueue(name, 1, { dedupe: { key: 'k' } })).toMatchObject({
      id,
      created: false,
    });
    expect(await client.queues.stats(name)).toMatchObject([{ ready: 1, dead: 0 }]);
  });
});

test('visibility is a policy of the queue; a call may say otherwise', async ({ client }) => {
  const target = queue<number>('seam-visibility', { visibility: '5m' });
  await client.enqueueMany(target, [1, 2]);
  const [long] = await client.receive(target);
  const [short] = await client.receive(target, { visibility: '1s' });
  const ms = Number(long?.visibleAt) - Number(short?.visibleAt);
  expect(ms).toBeGreaterThan(290_000);
  expect(ms).toBeLessThan(310_000);
  expect(await codeOf(client.queues.create('bad', { visibility: '13h' }))).toBe(
    'HOWDAH_OPTION_INVALID',
  );
  expect(await codeOf(client.queues.create('bad', { visibility: -1 }))).toBe(
    'HOWDAH_OPTION_INVALID',
  );
});
