import { createClient, createWorker, PermanentError, silentLogger, work } from 'howdah';
import { permitTimeTravel } from 'howdah/testing';
import { describe, expect, vi } from 'vitest';
import { runCli } from '../support/cli.js';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

/** Dead jobs of a queue of their own. */
async function makeDead(url: string, queue: string, count: number): Promise<string[]> {
  const client = createClient({ url });
  await client.queues.create(queue, { attempts: 1 });
  const { ids } = await client.enqueueMany(
    queue,
    Array.from({ length: count }, (_, n) => ({ n })),
  );
  const handler = (): never => {
    throw new PermanentError('no such address');
  };
  const worker = createWorker({ url, queues: [work(queue, handler)], logger: silentLogger });
  await worker.runOnce();
  await client.close();
  return ids as string[];
}

test('groups: enqueued in order, blocked jobs and groups listed with the reason', async ({
  url,
}) => {
  const set = await runCli(['queues', 'set', 'fifo', '--group-concurrency', '1', '--json'], {
    url,
  });
  expect(set.json[0]).toMatchObject({ queue: 'fifo', groupConcurrency: 1, blocked: 0 });
  const ids: string[] = [];
  for (const n of [1, 2]) {
    const { stdout } = await runCli(['enqueue', 'fifo', `${n}`, '--group', 'customer-1'], { url });
    ids.push(stdout.trim());
  }
  const listed = await runCli(['jobs', 'list', '--queue', 'fifo', '--state', 'blocked', '--json'], {
    url,
  });
  expect(listed.json).toMatchObject([{ id: ids[1], state: 'blocked', group: 'customer-1' }]);
  const groups = await runCli(['queues', 'groups', 'fifo', '--json'], { url });
  expect(groups.json).toMatchObject([
    {
      group: 'customer-1',
      waiting: 1,
      headId: ids[0],
      headState: 'ready',
      reason: 'head waits for a worker',
    },
  ]);
  const refused = await runCli(['enqueue', 'fifo', '3', '--group', ''], { url });
  expect(refused.stderr).toContain('HOWDAH_GROUP_INVALID');
  expect(refused.code).toBe(2);
  expect((await runCli(['queues', 'delete', 'fifo', '--force'], { url })).code).toBe(0);
});

describe('queues', () => {
  test('bounds, close, open; dedupe keys of enqueue', async ({ url }) => {
    const bounded = [
      'queues',
      'set',
      'narrow',
      '--max-depth',
      '1',
      '--max-bytes',
      'none',
      '--json',
    ];
    expect((await runCli(bounded, { url })).json[0]).toMatchObject({ maxDepth: 1, maxBytes: null });
    expect((await runCli(['queues', 'set', 'narrow', '--max-depth', '-1'], { url })).code).toBe(2);
    const put = (...more: string[]) =>
      runCli(['enqueue', 'narrow', '1', '--json', ...more], { url });
    const first = await put('--dedupe-key', 'k', '--dedupe-window', '1d');
    expect(first.json[0]).toMatchObject({ created: true });
    const again = await put('--dedupe-key', 'k', '--dedupe-mode', 'throttle');
    expect(again.json[0]).toMatchObject({ id: first.json[0]?.id, created: false, same: true });
    expect((await put('--dedupe-mode', 'skip')).code).toBe(2);
    const full = await put('--on-full', 'wait', '--wait-max', '50ms');
    expect(full.code).toBe(1);
    expect(full.stderr).toContain('HOWDAH_QUEUE_FULL');
    const closed = await runCli(['queues', 'close', 'narrow', '--reason', 'moved', '--json'], {
      url,
    });
    expect(closed.json[0]).toMatchObject({ closed: true, closedReason: 'moved' });
    expect((await put()).stderr).toContain('HOWDAH_QUEUE_CLOSED');
    const status = await runCli(['status', '--json'], { url });
    expect(JSON.stringify(status.json)).toContain('"closedReason":"moved"');
    const shown = await runCli(['queues', 'show', 'narrow', '--json'], { url });
    expect(shown.json[0]).toMatchObject({ queue: 'narrow', maxDepth: 1, ready: 1 });
    const none = await runCli(['queues', 'show', 'nowhere'], { url });
    expect([none.code, none.stderr]).toEqual([3, expect.stringContaining('HOWDAH_QUEUE_UNKNOWN')]);
    const opened = await runCli(['queues', 'open', 'narrow', '--json'], { url });
    expect(opened.json[0]).toMatchObject({ closed: false });
    await runCli(['queues', 'delete', 'narrow', '--force'], { url });
  });

  test('set, list, pause, resume, delete', async ({ url }) => {
    const set = await runCli(
      [
        'queues',
        'set',
        'q1',
        '--attempts',
        '3',
        '--timeout',
        'none',
        '--backoff-delay',
        '2s',
        '--json',
      ],
      { url },
    );
    expect(set.code).toBe(0);
    expect(set.json[0]).toMatchObject({
      queue: 'q1',
      attempts: 3,
      timeoutMs: null,
      backoffMs: 2000,
    });
    const changed = await runCli(['queues', 'set', 'q1', '--ttl', '1h', '--json'], { url });
    expect(changed.json[0]).toMatchObject({ attempts: 3, ttlMs: 3_600_000 });

    const list = await runCli(['queues', 'list'], { url });
    const [head = '', ...rows] = list.stdout.trimEnd().split('\n');
    expect(head.split('\t').slice(0, 2)).toEqual(['queue', 'ready']);
    expect(rows.map((row) => row.split('\t')[0])).toEqual(['dead-letters', 'q1']);

    await runCli(['queues', 'pause', 'q1', '--reason', 'lunch'], { url });
    const status = await runCli(['status', '--json'], { url });
    expect(status.json[0]).toMatchObject({
      queues: [{ queue: 'dead-letters' }, { queue: 'q1', paused: true, pausedReason: 'lunch' }],
    });
    expect((await runCli(['queues', 'resume', 'q1', '--json'], { url })).json[0]).toMatchObject({
      paused: false,
    });

    await runCli(['queues', 'set', 'q2'], { url });
    const some = await runCli(['queues', 'pause', 'q*'], { url });
    expect(
      some.stdout
        .trimEnd()
        .split('\n')
        .map((row) => row.split('\t')[0]),
    ).toEqual(['queue', 'q1', 'q2']);
    expect((await runCli(['queues', 'resume', 'q*', '--json'], { url })).json).toMatchObject([
      { queue: 'q1', paused: false },
      { queue: 'q2', paused: false },
    ]);
    expect((await runCli(['queues', 'pause', 'r*'], { url })).code).toBe(3);

    await runCli(['enqueue', 'q1', '{}'], { url });
    const refused = await runCli(['queues', 'delete', 'q1'], { url });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('error HOWDAH_QUEUE_NOT_EMPTY');
    expect((await runCli(['queues', 'delete', 'q1', '--force'], { url })).code).toBe(0);
    expect((await runCli(['queues', 'pause', 'q1'], { url })).code).toBe(3);
  });

  test('bad policies and names', async ({ url }) => {
    for (const args of [
      ['bad', '--attempts', '0'],
      ['bad', '--timeout', 'later'],
      ['bad', '--backoff', 'random'],
      ['a"b'],
      ['x'.repeat(300)],
    ]) {
      const { code, stderr } = await runCli(['queues', 'set', ...args], { url });
      expect([code, stderr.startsWith('error HOWDAH_')]).toEqual([2, true]);
    }
  });
});

describe('jobs', () => {
  test('list, show, retry, cancel', async ({ url }) => {
    await runCli(['queues', 'set', 'jobs1'], { url });
    const id = (await runCli(['enqueue', 'jobs1', '{"a":"x\\ty"}', '--delay', '1h'], { url }))
      .stdout;
    expect(id).toMatch(/^\d+\n$/);
    const job = id.trim();
    const listed = await runCli(['jobs', 'list', '--queue', 'jobs1', '--state', 'scheduled'], {
      url,
    });
    expect(listed.stdout.split('\n')[1]).toMatch(new RegExp(`^${job}\tjobs1\tscheduled\t`));
    const none = await runCli(['jobs', 'list', '--queue', 'jobs1', '--state', 'dead', '--json'], {
      url,
    });
    expect(none.json).toEqual([]);
    const shown = await runCli(['jobs', 'show', job, '--json'], { url });
    expect(shown.json[0]).toMatchObject({ id: job, state: 'scheduled', payload: { a: 'x\ty' } });
    // in a pipe, a tab in a value is not a column
    expect((await runCli(['jobs', 'show', job], { url })).stdout).toContain(
      'payload\t{"a":"x\\\\ty"}\n',
    );

    expect((await runCli(['jobs', 'retry', job, '--json'], { url })).json).toEqual([
      { id: job, outcome: 'ready' },
    ]);
    const partly = await runCli(['jobs', 'cancel', '-', '--reason', 'typo', '--json'], {
      url,
      input: `${job}\n\n999999\n`,
    });
    expect(partly.json).toEqual([
      { id: job, outcome: 'cancelled', why: null },
      { id: '999999', outcome: 'unknown', why: 'no such job, or no longer in the history' },
    ]);
    expect(partly.code).toBe(4);
    expect((await runCli(['jobs', 'show', job, '--json'], { url })).json[0]).toMatchObject({
      state: 'cancelled',
      reason: 'typo',
    });
  });

  test('unknown ids and ids that are none', async ({ url }) => {
    const codes = [
      await runCli(['jobs', 'show', '999999'], { url }),
      await runCli(['jobs', 'retry', '999999'], { url }),
      await runCli(['jobs', 'cancel', '999999'], { url }),
      await runCli(['jobs', 'show', "1';drop"], { url }),
      await runCli(['jobs', 'list', '--state', 'lost'], { url }),
      await runCli(['jobs', 'list', '--limit', '0'], { url }),
    ].map(({ code }) => code);
    expect(codes).toEqual([3, 3, 3, 2, 2, 2]);
  });
});

describe('dead letters', () => {
  test('list, preview, redrive and discard', async ({ url }) => {
    const ids = await makeDead(url, 'mails', 3);
    const [first = '', second = ''] = ids;
    const list = await runCli(['dead-letters', 'list', '--queue', 'mails', '--json'], { url });
    expect(list.json).toHaveLength(3);
    expect(list.json[0]).toMatchObject({ lastError: 'no such address', errors: [{ attempt: 1 }] });

    const preview = await runCli(
      ['dead-letters', 'redrive', '--queue', 'mails', '--error', 'address', '--preview', '--json'],
      { url },
    );
    expect(preview.json.map(({ id }) => id).sort()).toEqual([...ids].sort());
    const one = await runCli(['dead-letters', 'redrive', first, '999999', '--json'], { url });
    expect([one.code, one.json]).toMatchObject([4, [{ id: first, to: 'mails' }]]);
    const byPayload = await runCli(['dead-letters', 'discard', '--payload', '{"n":1}', '--json'], {
      url,
    });
    expect(byPayload.json.map(({ id }) => id)).toEqual([second]);
    const rest = await runCli(['dead-letters', 'discard', '--yes', '--json'], { url });
    expect([rest.code, rest.json.length]).toEqual([0, 1]);
    expect((await runCli(['dead-letters', 'redrive', second], { url })).code).toBe(3);
    expect((await runCli(['jobs', 'show', second, '--json'], { url })).json[0]).toMatchObject({
      state: 'discarded',
    });
  });
});

describe('migrate', () => {
  test('check, dry run, up, down', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    const before = await runCli(['migrate', '--check', '--json'], { url });
    expect([before.code, before.json[0]]).toMatchObject([1, { version: 0, isUpToDate: false }]);
    const dry = await runCli(['migrate', '--dry-run', '--json'], { url });
    expect(dry.json[0]).toMatchObject({ dryRun: true, direction: 'up' });
    const { latest } = before.json[0] as { latest: number };
    const up = await runCli(['migrate', '--json'], { url });
    expect([up.code, up.json[0]]).toMatchObject([0, { version: latest }]);
    expect((await runCli(['migrate', '--check'], { url })).code).toBe(0);
    const refused = await runCli(['migrate', '--to', '0'], { url });
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--yes');
    expect((await runCli(['migrate', '--check'], { url })).code).toBe(0);
    const down = await runCli(['migrate', '--down', '--yes', '--json'], { url });
    expect(down.json[0]).toMatchObject({ direction: 'down', version: latest - 1 });
    const gone = await runCli(['migrate', '--to', '0', '--yes', '--json'], { url });
    expect(gone.json[0]).toMatchObject({ direction: 'down', version: 0 });
    expect((await runCli(['migrate', '--to', '999'], { url })).code).toBe(2);
  });

  test('print touches no database; what it prints works, in another schema', async ({
    url,
    pool,
  }) => {
    const { code, stdout } = await runCli(['migrate', '--print', '--schema', 'printed'], {
      url: 'postgres://127.0.0.1:1/none',
    });
    expect(code).toBe(0);
    await pool.query(stdout);
    const check = await runCli(['migrate', '--check'], { url, env: { HOWDAH_SCHEMA: 'printed' } });
    expect(check.code).toBe(0);
  });
});

describe('status and doctor', () => {
  test('with a worker', async ({ url }) => {
    await runCli(['queues', 'set', 'watched'], { url });
    const worker = createWorker({
      url,
      name: 'the worker',
      queues: [work('watched', () => undefined)],
      logger: silentLogger,
    });
    await worker.start();
    try {
      const status = await waitFor(async () => {
        const { json } = await runCli(['status', '--json'], { url });
        return json[0]?.leader === 'the worker' ? json[0] : undefined;
      });
      expect(status).toMatchObject({
        workers: [{ worker: 'the worker', state: 'alive', leads: true }],
      });
      const doctor = await runCli(['doctor', '--json'], { url });
      const results = Object.fromEntries(doctor.json.map(({ check, result }) => [check, result]));
      expect(results).toMatchObject({
        connection: 'ok',
        version: 'ok',
        ownership: 'ok',
        schema: 'ok',
        'test-clock': 'ok',
        listen: 'ok',
        rights: 'ok',
        workers: 'ok',
        encoding: 'ok',
        restores: 'ok',
        floors: 'ok',
        autovacuum: 'ok',
      });
      expect(doctor.code).toBe(0);
    } finally {
      await worker.stop();
    }
  });

  test('doctor: no schema, no server, an old snapshot', async ({ url, createDatabase, pool }) => {
    const empty = await runCli(['doctor', '--json'], { url: await createDatabase('empty') });
    expect(empty.code).toBe(1);
    expect(empty.json.find(({ check }) => check === 'schema')).toMatchObject({
      result: 'fail',
      remedy: 'Run `howdah migrate`.',
    });
    const nowhere = await runCli([
      'doctor',
      '--json',
      '--url',
      'postgres://u:topsecret@127.0.0.1:1/x',
    ]);
    expect(nowhere.code).toBe(1);
    expect(nowhere.json).toMatchObject([{ check: 'connection', result: 'fail' }]);
    expect(nowhere.stdout).not.toContain('topsecret');
    // a lease that ran out long ago and that nobody reaps
    await pool.query(`insert into howdah._leases (id, worker, lease_ms, opened_at, expires_at)
      values (1, 'ghost', 1000, now() - interval '1 day', now() - interval '1 day')`);
    const stale = await runCli(['doctor', '--json'], { url });
    expect(stale.json.find(({ check }) => check === 'workers')).toMatchObject({ result: 'fail' });
    expect(stale.code).toBe(1);
    await pool.query('delete from howdah._leases where id = 1');
    await pool.query(`select howdah.create_queue('below');
      select howdah.enqueue('{"queue": "below", "payload": 1}');
      insert into howdah._lane_floors select queue_id, lane, seq from howdah._jobs
        where queue_id = (select id from howdah._queues where name = 'below')`);
    const hidden = await runCli(['doctor', '--json'], { url });
    expect(hidden.json.find(({ check }) => check === 'floors')).toMatchObject({
      result: 'fail',
      detail: expect.stringContaining('of queue below is ready'),
    });
    await pool.query('delete from howdah._lane_floors');
    await pool.query('grant create on schema howdah to public');
    const open = await runCli(['doctor', '--json'], { url });
    expect(open.json.find(({ check }) => check === 'ownership')).toMatchObject({
      result: 'fail',
      detail: expect.stringContaining('PUBLIC may create'),
      remedy: expect.stringContaining('REVOKE CREATE'),
    });
    expect(open.json.find(({ check }) => check === 'schema')).toBeUndefined();
    await pool.query('revoke create on schema howdah from public');
    await pool.query('alter table howdah._jobs set (autovacuum_enabled = off)');
    const dirty = await runCli(['doctor', '--json'], { url });
    expect(dirty.json.find(({ check }) => check === 'autovacuum')).toMatchObject({
      result: 'fail',
      detail: expect.stringContaining('jobs table'),
    });
    await pool.query('alter table howdah._jobs reset (autovacuum_enabled)');
    const forTests = await createDatabase('migrated');
    await permitTimeTravel({ url: forTests });
    const warned = await runCli(['doctor', '--json'], { url: forTests });
    expect(warned.json.find(({ check }) => check === 'test-clock')).toMatchObject({
      result: 'warn',
    });
  });
});
