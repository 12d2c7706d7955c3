import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { type Engine, sqlError } from '../support/engine.js';
import { test } from '../support/sql-test.js';
import { waitFor } from '../support/wait-for.js';

type Row = Record<string, unknown>;

/** @returns the ids that were stale */
const report = async (db: Engine, lease: string, ...reports: object[]): Promise<unknown[]> => {
  const rows = await db.rows('select * from howdah.report($1, $2::text::jsonb) as id', [
    lease,
    JSON.stringify(reports),
  ]);
  return rows.map(({ id }) => id);
};

const watch = (
  db: Engine,
  lease: string,
  add: string[],
  progress: string[] = [],
  look: string[] = [],
) =>
  db.rows<Row>('select * from howdah.watch($1, $2, $3, $4, $5) order by id', [
    lease,
    add,
    progress,
    [],
    look,
  ]);

const rowOf = (id: string | undefined) => Number(id);

describe('report', () => {
  test('keeps the last progress and all lines, with times of the database', async ({ db }) => {
    await db.createQueue('reports');
    await db.enqueue('reports', 2);
    const lease = await db.openLease();
    const [job, silent] = await db.claim('reports', lease, 2);
    if (!job || !silent) throw new Error('two were enqueued');
    const { id, attempt } = job;
    expect(await report(db, lease, { id, attempt, progress: 10 })).toEqual([]);
    const lines = [
      { ago_ms: 2000, level: 'info', message: 'begun', fields: { file: 'a' } },
      { level: 'warn', message: 'slow' },
    ];
    expect(await report(db, lease, { id, attempt, progress: { done: 2 }, lines })).toEqual([]);
    expect(await report(db, lease, { id, attempt, lines: [{ message: 'end' }] })).toEqual([]);
    expect(
      await db.rows(
        `select id, progress, log_lines, progress_at <= reported_at as ordered from howdah.job_progress`,
      ),
    ).toEqual([{ id, progress: { done: 2 }, log_lines: 3, ordered: true }]);
    expect(
      await db.rows(
        `select n, level, message, fields, attempt, at < howdah.clock() - interval '1.5 s' as old
        from howdah.job_logs where id = $1 order by n`,
        [id],
      ),
    ).toEqual([
      { n: 1, level: 'info', message: 'begun', fields: { file: 'a' }, attempt: 1, old: true },
      { n: 2, level: 'warn', message: 'slow', fields: null, attempt: 1, old: false },
      { n: 3, level: 'info', message: 'end', fields: null, attempt: 1, old: false },
    ]);
    // what was said outlives the job
    await db.complete(lease, [job, silent]);
    expect(await report(db, lease, { id, attempt, progress: 99 })).toEqual([id]);
    expect(await db.rows('select progress from howdah.job_progress')).toEqual([
      { progress: { done: 2 } },
    ]);
    await db.expectTruth();
  });

  test('is fenced by lease and attempt', async ({ db }) => {
    await db.createQueue('fenced');
    await db.enqueue('fenced');
    const lost = await db.openLease();
    const first = await db.claimOne('fenced', lost);
    await db.killLease(lost);
    await db.reap();
    const lease = await db.openLease();
    const second = await db.claimOne('fenced', lease);
    expect(second.id).toBe(first.id);
    const { id } = first;
    expect(await report(db, lost, { id, attempt: first.attempt, progress: 'old' })).toEqual([id]);
    expect(await report(db, lease, { id, attempt: first.attempt, progress: 'old' })).toEqual([id]);
    expect(await report(db, lease, { id, attempt: second.attempt, progress: 'new' })).toEqual([]);
    expect(await db.rows('select progress from howdah.job_progress where id = $1', [id])).toEqual([
      { progress: 'new' },
    ]);
  });

  test('keeps the last 500 lines and 256 KiB of them', async ({ db }) => {
    await db.createQueue('chatty');
    await db.enqueue('chatty', 2);
    const lease = await db.openLease();
    const [many, large] = await db.claim('chatty', lease, 2);
    if (!many || !large) throw new Error('two were enqueued');
    const line = (message: string) => ({ message });
    for (const part of [0, 1, 2]) {
      const lines = Array.from({ length: 300 }, (_, i) => line(`line ${part * 300 + i + 1}`));
      await report(db, lease, { id: many.id, attempt: 1, lines, dropped: part % 2 });
    }
    const kept = await db.rows<{ n: number; message: string }>(
      'select n, message from howdah.job_logs where id = $1 order by n',
      [many.id],
    );
    expect(kept).toHaveLength(500);
    expect(kept.at(-1)).toEqual({ n: 901, message: 'line 900' });
    await report(db, lease, {
      id: many.id,
      attempt: 1,
      lines: Array.from({ length: 700 }, (_, i) => line(`more ${i + 1}`)),
    });
    expect(
      await db.rows(
        `select count(*)::int, min(n) as first, max(n) as last from howdah.job_logs where id = $1`,
        [many.id],
      ),
    ).toEqual([{ count: 500, first: 1102, last: 1601 }]);
    for (let i = 0; i < 6; i += 1) {
      await report(db, lease, {
        id: large.id,
        attempt: 1,
        lines: Array.from({ length: 25 }, () => line('é'.repeat(5000))),
      });
    }
    expect(
      await db.rows(
        `select sum(octet_length(message))::int <= 262144 as bounded, count(*)::int,
          max(length(message)) as longest, max(n) as last from howdah.job_logs where id = $1`,
        [large.id],
      ),
    ).toEqual([{ bounded: true, count: 32, longest: 4096, last: 150 }]);
    expect(
      await db.one('select line_bytes from howdah._reports where job_id = $1', [large.id]),
    ).toBe(262_144);
  });

  test('refuses what is malformed, whole', async ({ db }) => {
    await db.createQueue('malformed');
    await db.enqueue('malformed');
    const lease = await db.openLease();
    const { id } = await db.claimOne('malformed', lease);
    for (const bad of [
      'null',
      '"x"',
      '[1]',
      '[{"id": "x", "attempt": 1}]',
      `[{"id": ${id}}]`,
      `[{"id": ${id}, "attempt": 1, "lines": 3}]`,
      `[{"id": ${id}, "attempt": 1, "dropped": -1}]`,
      JSON.stringify([{ id, attempt: 1, progress: Array.from({ length: 9000 }, Math.random) }]),
    ]) {
      const call = db.rows('select * from howdah.report($1, $2::text::jsonb)', [lease, bad]);
      expect(await sqlError(call), bad).toMatchObject({ code: 'HW184', hint: expect.any(String) });
    }
    expect(await db.rows('select * from howdah._reports where job_id = $1', [id])).toEqual([]);
  });

  test('goes when the history of its time has gone, unless the job is still there', async ({
    db,
  }) => {
    await db.createQueue('old');
    await db.enqueue('old', 2);
    const lease = await db.openLease('old', 40_000_000);
    const jobs = await db.claim('old', lease, 2);
    const [done] = jobs;
    for (const { id, attempt } of jobs) {
      await report(db, lease, { id, attempt, lines: [{ message: 'hello' }] });
    }
    if (done) await db.complete(lease, [done]);
    expect(await db.one('select howdah.prune_reports()')).toBe(0);
    const ids = jobs.map(({ id }) => id);
    // looked at when it was made, when its job has ended, and as long afterwards as history is kept
    for (let looks = 0; looks < 2; looks += 1) {
      await db.rows(
        `update howdah._reports set looked_at = howdah.clock() - interval '49 hours' where job_id = any ($1)`,
        [ids],
      );
      await db.rows('select howdah.sweep()');
    }
    for (const table of ['_reports', '_report_lines']) {
      expect(
        await db.rows(`select job_id::text from howdah.${table} where job_id = any ($1)`, [ids]),
      ).toEqual([{ job_id: jobs[1]?.id }]);
    }
  });
});

/** Collects what arrives on the channel of a lease. */
async function listen(pool: pg.Pool, lease: string): Promise<{ heard: string[] }> {
  const client = await pool.connect();
  onTestFinished(() => client.release(true));
  const heard: string[] = [];
  client.on('notification', ({ payload = '' }) => heard.push(payload));
  await client.query(`listen "howdah_${lease}"`);
  return { heard };
}

describe('watch', () => {
  test('tells at once of what has ended or is not there, and rings for the rest', async ({
    db,
    pool,
  }) => {
    await db.createQueue('watched', { max_attempts: 1 });
    const ids = await db.enqueue('watched', 6);
    const worker = await db.openLease();
    const client = await db.openLease('client');
    const ear = await listen(pool, client);
    const jobs = await db.claim('watched', worker, 5);
    const [ended] = jobs;
    if (!ended) throw new Error('there are jobs');
    await db.rows('select howdah.complete($1, $2, 1, $3)', [worker, ended.id, '{"sum": 3}']);
    expect(await watch(db, client, [...ids, '999999999'])).toMatchObject([
      { id: ended.id, state: 'completed', result: { sum: 3 }, queue: 'watched', kept: true },
      { id: '999999999', state: 'unknown', kept: null },
    ]);
    expect(ear.heard).toEqual([]);
    const outcomes = [
      ['complete', 'completed'],
      ['fail', 'dead'],
      ['cancel', 'cancelled'],
      ['expire', 'expired'],
    ] as const;
    for (const [i, [outcome, state]] of outcomes.entries()) {
      const job = jobs[i + 1];
      if (!job) throw new Error('there are jobs');
      await db.end(worker, job, outcome, { error: { message: 'no luck' } });
      await waitFor(() => ear.heard.length === i + 1, { what: `ring ${i + 1}` });
      expect((await watch(db, client, [], [], [job.id]))[0]).toMatchObject({ state });
    }
    expect(ear.heard).toEqual(jobs.slice(1).map(({ id: job }) => `r${job}`));
    expect((await watch(db, client, [], [], [String(jobs[2]?.id)]))[0]).toMatchObject({
      state: 'dead',
      reason: 'attempts exhausted',
      errors: [{ message: 'no luck', attempt: 1 }],
    });
    // the plain way of many
    const [last] = await db.claim('watched', worker, 1);
    if (last) await db.complete(worker, [last]);
    await waitFor(() => ear.heard.length === 5, { what: 'the last ring' });
    // nothing is left of a lease that has gone
    await db.closeLease(client);
    expect(await db.rows('select from howdah._watchers')).toEqual([]);
    expect(await db.rows('select from howdah._watches')).toEqual([]);
    expect(await sqlError(watch(db, client, ids))).toMatchObject({ code: 'HW020' });
    await db.expectTruth();
  });

  test('rings of progress only those who want it', async ({ db, pool }) => {
    await db.createQueue('progress');
    const [id = ''] = await db.enqueue('progress');
    const worker = await db.openLease();
    const { attempt } = await db.claimOne('progress', worker);
    const [eager, calm] = [await db.openLease('eager'), await db.openLease('calm')];
    const ears = [await listen(pool, eager), await listen(pool, calm)];
    expect(await watch(db, eager, [id], [id])).toMatchObject([
      { id, state: 'running', progress: null },
    ]);
    expect(await watch(db, calm, [id])).toEqual([]);
    await report(db, worker, { id, attempt, progress: 40 });
    await waitFor(() => ears[0]?.heard.length === 1, { what: 'the ring' });
    expect(await watch(db, eager, [], [id], [id])).toMatchObject([{ progress: 40, attempt: 1 }]);
    await db.rows('select howdah.complete($1, $2, $3)', [worker, id, attempt]);
    // both are the same word: of the eager one the second is awaited
    const isHeard = (): boolean => ears.every(({ heard }, i) => heard.length === [2, 1][i]);
    await waitFor(isHeard, { what: 'both' });
    expect(ears.every(({ heard }) => heard.at(-1) === `r${id}`)).toBe(true);
    expect(ears.map(({ heard }) => heard.length)).toEqual([2, 1]);
  });

  test('a ring names the jobs, unless they are many', async ({ db, pool }) => {
    await db.createQueue('crowd');
    const ids = await db.enqueue('crowd', 113);
    const [worker, client] = [await db.openLease(), await db.openLease('client')];
    await watch(db, client, ids.slice(1));
    const ear = await listen(pool, client);
    const jobs = await db.claim('crowd', worker, 113);
    await db.complete(worker, jobs.slice(0, 12));
    await waitFor(() => ear.heard.length === 1, { what: 'the ring of few' });
    await db.complete(worker, jobs.slice(12));
    await waitFor(() => ear.heard.length === 2, { what: 'the ring of many' });
    const [few = '', many] = ear.heard;
    const named = few.slice(1).split(',').sort();
    expect(named).toEqual(ids.slice(1, 12).sort());
    expect(many).toBe('r');
  });

  test('says that a queue keeps nothing', async ({ db }) => {
    await db.createQueue('amnesia', { retention_ms: 0 });
    const [id = ''] = await db.enqueue('amnesia');
    const client = await db.openLease('client');
    expect(await watch(db, client, [id])).toMatchObject([{ id, state: 'ready', kept: false }]);
  });

  test('answers of large results come in parts', async ({ db }) => {
    await db.createQueue('large');
    const ids = await db.enqueue('large', 3);
    const worker = await db.openLease();
    // does not compress
    const result = JSON.stringify(randomBytes(4_000_000).toString('base64'));
    for (const { id, attempt } of await db.claim('large', worker, 3)) {
      await db.rows('select howdah.complete($1, $2, $3, $4)', [worker, id, attempt, result]);
    }
    const client = await db.openLease('client');
    const rows = await watch(db, client, ids);
    expect(rows.map(({ state, result }) => [state, result === null])).toEqual([
      ['completed', false],
      [null, true],
      [null, true],
    ]);
    const left = ids.slice(1);
    expect((await watch(db, client, [], [], left))[0]).toMatchObject({ state: 'completed' });
  });
});

test('nothing is written while nobody reports or waits', async ({ db }) => {
  const before = rowOf(String(await db.one('select count(*) from howdah._reports')));
  await db.createQueue('plain');
  await db.enqueue('plain', 3);
  const lease = await db.openLease();
  await db.complete(lease, await db.claim('plain', lease, 3));
  expect(rowOf(String(await db.one('select count(*) from howdah._reports')))).toBe(before);
});
