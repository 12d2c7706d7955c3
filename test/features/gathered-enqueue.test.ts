import { createClient, type HowdahError, queue } from 'howdah';
import { describe, expect, onTestFinished } from 'vitest';
import { codeOf, errorOf, test } from '../support/client.js';
import { waitFor } from '../support/wait-for.js';
import { WorkerProcess } from '../support/worker-process.js';

/** A statement counts its jobs in one row a queue, so the rows tell how many statements there were. */
const STATEMENTS = `select count(*)::int as n from howdah._counter_deltas d
  join howdah._queues q on q.id = d.queue_id where q.name = $1`;

describe('sharing', () => {
  test('concurrent calls share few statements, and each gets its own id', async ({
    client,
    pool,
    storedJobs,
  }) => {
    const shared = queue<number>('shared');
    await client.enqueue(shared, -1);
    const calls = Array.from({ length: 1500 }, (_, i) => client.enqueue(shared, i));
    const ids = (await Promise.all(calls)).map(({ id }) => id);
    const payloads = new Map((await storedJobs('shared')).map((job) => [job.id, job.payload]));
    expect(ids.map((id) => payloads.get(id))).toEqual(Array.from({ length: 1500 }, (_, i) => i));
    const { rows } = await pool.query(STATEMENTS, ['shared']);
    expect(rows[0].n).toBeLessThanOrEqual(5);
  });

  test('one bad job fails alone, whatever is wrong with it', async ({ client, storedJobs }) => {
    await client.queues.create('strict', { payloadBytesMax: 1000 });
    const calls = [
      client.enqueue('strict', 1),
      client.enqueue('strict', 'x'.repeat(5000)),
      client.enqueue('missing', 2),
      client.enqueue('strict', 1n),
      client.enqueue('strict', 3, { priority: 1000 }),
      client.enqueue('strict', 4),
    ];
    const results = await Promise.allSettled(calls);
    const codes = results.map((each) => (each.status === 'rejected' ? each.reason.code : 'ok'));
    expect(codes).toEqual([
      'ok',
      'HOWDAH_PAYLOAD_TOO_LARGE',
      'HOWDAH_QUEUE_UNKNOWN',
      'HOWDAH_PAYLOAD_INVALID',
      'HOWDAH_PRIORITY_INVALID',
      'ok',
    ]);
    expect((await storedJobs('strict')).map((job) => job.payload)).toEqual([1, 4]);
  });

  test('a job that fails the whole statement is found, and its neighbours go through', async ({
    client,
    pool,
    storedJobs,
  }) => {
    await client.queues.create('trapped');
    // What no check can foresee: a trigger of the application, an extension, a full disk ...
    await pool.query(`create function trap() returns trigger language plpgsql as $$
      begin
        if new.payload = '13' then raise exception 'unlucky' using errcode = '22023'; end if;
        return new;
      end $$`);
    await pool.query(
      'create trigger trap before insert on howdah._jobs for each row execute function trap()',
    );
    onTestFinished(async () => {
      await pool.query('drop function trap() cascade');
    });
    const calls = Array.from({ length: 50 }, (_, i) => client.enqueue('trapped', i));
    const results = await Promise.allSettled(calls);
    const failed = results.flatMap((each, i) => (each.status === 'rejected' ? [i] : []));
    expect(failed).toEqual([13]);
    expect((results[13] as PromiseRejectedResult).reason).toMatchObject({
      code: 'HOWDAH_DATABASE_ERROR',
    });
    expect(await storedJobs('trapped')).toHaveLength(49);
  });

  test('a call beyond the waiting room is refused, the others go through', async ({ url }) => {
    const client = createClient({ url, gather: { jobsMax: 10, waitingMax: 50 } });
    onTestFinished(() => client.close());
    await client.queues.create('crowded');
    await client.enqueue('crowded', 0);
    const calls = Array.from({ length: 60 }, (_, i) => client.enqueue('crowded', i));
    const results = await Promise.allSettled(calls);
    const refused = results.filter((each) => each.status === 'rejected');
    expect(refused).toHaveLength(10);
    const error: HowdahError = refused[0]?.reason;
    expect(error).toMatchObject({ code: 'HOWDAH_BUFFER_FULL', isRetryable: true });
    expect(error.remedy).toContain('enqueueMany');
  });

  test('large jobs go in statements of bounded size', async ({ client, storedJobs }) => {
    await client.queues.create('large', { payloadBytesMax: 4_000_000 });
    const sizes = [10, 900_000, 900_000, 3_000_000, 20];
    await Promise.all(sizes.map((size) => client.enqueue('large', 'x'.repeat(size))));
    const stored = (await storedJobs('large')).map((job) => (job.payload as string).length);
    expect(stored.sort((a, b) => a - b)).toEqual([10, 20, 900_000, 900_000, 3_000_000]);
  });
});

describe('faults', () => {
  test('a lost answer is reported as unknown and never sent again', async ({
    client: direct,
    faulty: { client, proxy },
    storedJobs,
  }) => {
    await direct.queues.create('ambiguous');
    await client.enqueue('ambiguous', 'first');
    proxy.loseReplyTo('second');
    const calls = ['second', 'third'].map((payload) => client.enqueue('ambiguous', payload));
    const errors = await Promise.all(calls.map(errorOf));
    expect(errors.map((error) => error.code)).toEqual([
      'HOWDAH_COMMIT_UNKNOWN',
      'HOWDAH_COMMIT_UNKNOWN',
    ]);
    expect(proxy.repliesLost).toBe(1);
    await client.enqueue('ambiguous', 'fourth');
    // here they had been enqueued: once each
    const payloads = (await storedJobs('ambiguous')).map((job) => job.payload);
    expect(payloads).toEqual(['first', 'second', 'third', 'fourth']);
  });

  test('tries again when no connection could be made', async ({
    client: direct,
    faulty: { client, proxy },
    storedJobs,
  }) => {
    await direct.queues.create('patient');
    await client.enqueue('patient', 1);
    proxy.refuse();
    proxy.cut();
    await waitFor(() => proxy.connections === 0, { what: 'the cut to reach the pool' });
    const call = client.enqueue('patient', 2);
    setTimeout(() => proxy.refuse(false), 100);
    await call;
    expect((await storedJobs('patient')).map((job) => job.payload)).toEqual([1, 2]);
  });

  test('says so when the database is away, and works when it is back', async ({
    client: direct,
    faulty: { client, proxy },
    storedJobs,
  }) => {
    await direct.queues.create('away');
    proxy.refuse();
    const error = await errorOf(client.enqueue('away', 1));
    expect(error).toMatchObject({ code: 'HOWDAH_DATABASE_UNAVAILABLE', isRetryable: true });
    expect(error.message).not.toContain('postgres://');
    proxy.refuse(false);
    await client.enqueue('away', 2);
    expect((await storedJobs('away')).map((job) => job.payload)).toEqual([2]);
  });
});

describe('life of a client', () => {
  test('close waits for the calls under way and refuses new ones', async ({ url, storedJobs }) => {
    const client = createClient({ url });
    await client.queues.create('closing');
    const calls = Array.from({ length: 700 }, (_, i) => client.enqueue(queue('closing'), i));
    const closing = client.close();
    expect(await codeOf(client.enqueue('closing', 'late'))).toBe('HOWDAH_CLIENT_CLOSED');
    expect(await codeOf(client.enqueueMany('closing', [1]))).toBe('HOWDAH_CLIENT_CLOSED');
    await Promise.all([closing, ...calls]);
    expect(await storedJobs('closing')).toHaveLength(700);
    expect(await codeOf(client.queues.stats())).toBe('HOWDAH_CLIENT_CLOSED');
    await client.close();
  });

  test('neither a timer nor an idle connection keeps the process alive', async ({ url }) => {
    const script = `import { createClient, queue } from 'howdah';
      const client = createClient({ url: process.env.URL_OF_TEST });
      console.log((await client.enqueue(queue('serverless'), 1)).id);`;
    const child = new WorkerProcess(['--input-type=module', '--eval', script], {
      env: { URL_OF_TEST: url },
    });
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.stdout).toMatch(/^\d+\n$/);
    expect(child.stderr).toBe('');
  });
});
