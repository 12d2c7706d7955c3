import { work } from 'howdah';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, heard, startWorker, waitForState } from '../support/workers.js';

describe('maintenance', () => {
  test('is done by one worker; when that stops, another takes over', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const queues = [work(name, () => undefined)];
    const first = await startWorker({ url, lease: '2s', queues });
    const { term } = await heard(first, 'maintenance.leading');
    const second = await startWorker({ url, lease: '2s', queues });
    const [id] = await enqueue(pool, name, [{ delay_ms: 1_500 }]);
    await waitForState(pool, id, 'completed');
    expect(second.events.map(({ type }) => type)).not.toContain('maintenance.leading');
    await first.worker.stop();
    expect(first.events.map(({ type }) => type)).toContain('maintenance.resigned');
    expect(Number((await heard(second, 'maintenance.leading')).term)).toBeGreaterThan(Number(term));
    const [after] = await enqueue(pool, name, [{ delay_ms: 100 }]);
    await waitForState(pool, after, 'completed');
  });

  test('finds a running job whose lease was lost, and runs it again', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const [id] = await enqueue(pool, name);
    const { rows } = await pool.query("select howdah.open_lease('lost', 60000) as lease");
    await pool.query('select howdah.claim($1, $2)', [name, rows[0].lease]);
    await pool.query('delete from howdah._leases where id = $1', [rows[0].lease]);
    await startWorker({ url, queues: [work(name, () => undefined)] });
    await waitForState(pool, id, 'completed');
  });

  test('is not done by a worker that shall not', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const queues = [work(name, () => undefined)];
    const idle = await startWorker({ url, lease: '2s', maintain: false, queues });
    const leader = await startWorker({ url, lease: '2s', queues });
    await heard(leader, 'maintenance.leading');
    expect(idle.events.map(({ type }) => type)).not.toContain('maintenance.leading');
  });

  test('finds a job that was committed long after every cursor had passed it', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const made = await startWorker({ url, poll: '1h', queues: [work(name, () => undefined)] });
    await heard(made, 'maintenance.leading');
    const client = await pool.connect();
    await client.query('begin');
    const [late] = await enqueue(client, name);
    // for longer than a claim looks back, other jobs pass it
    const until = performance.now() + 3_500;
    await waitFor(
      async () => {
        const [id] = await enqueue(pool, name);
        await waitForState(pool, id, 'completed');
        return performance.now() > until;
      },
      { intervalMs: 50 },
    );
    await client.query('commit');
    client.release();
    await waitForState(pool, late, 'completed', 5_000);
  });

  test('ends jobs that wait longer than their TTL although nobody claims them', async ({
    url,
    pool,
  }) => {
    const [worked, other] = [await createQueue(pool), await createQueue(pool, { ttl_ms: 100 })];
    const made = await startWorker({ url, queues: [work(worked, () => undefined)] });
    const [id] = await enqueue(pool, other);
    await waitForState(pool, id, 'expired');
    expect(made.events).toContainEqual(
      expect.objectContaining({ type: 'maintenance.done', duty: 'expire' }),
    );
  });

  test('folds the counters', async ({ url, pool }) => {
    const name = await createQueue(pool);
    await startWorker({ url, queues: [work(name, () => undefined)] });
    const ids = await enqueue(
      pool,
      name,
      Array.from({ length: 10 }, () => ({})),
    );
    for (const id of ids) await waitForState(pool, id, 'completed');
    await waitFor(async () => {
      const { rows } = await pool.query(
        `select c.completed from howdah._counters c join howdah._queues q on q.id = c.queue_id
        where q.name = $1`,
        [name],
      );
      return rows[0]?.completed === '10';
    });
  });
});
