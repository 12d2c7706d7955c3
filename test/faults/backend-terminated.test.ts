import type pg from 'pg';
import { expect } from 'vitest';
import { test } from '../support/database.js';
import {
  createCounts,
  makeGate,
  readRuns,
  startFaultWorker,
  waitForAllCompleted,
  waitForRuns,
  wrongEffects,
} from '../support/fault-worker.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, enqueue, waitForState } from '../support/workers.js';

/** Kinds of connection of a worker by the name that they bear on the server; the last is its pool's. */
const KINDS = ['howdah claim', 'howdah settle', 'howdah listen', 'howdah heartbeat', 'howdah'];

/** Process ids on the server of the worker's connections of one kind. */
async function backends(pool: pg.Pool, kind: string): Promise<number[]> {
  const { rows } = await pool.query(
    `select pid from pg_stat_activity
    where application_name = $1 and datname = current_database() order by pid`,
    [kind],
  );
  return rows.map(({ pid }) => pid);
}

/** @returns how many connections were really ended */
async function terminate(pool: pg.Pool, kinds: readonly string[]): Promise<number> {
  const { rows } = await pool.query(
    `select count(*) filter (where pg_terminate_backend(pid, 5000))::int as n
    from pg_stat_activity where application_name = any ($1) and datname = current_database()`,
    [kinds],
  );
  return rows[0].n;
}

test('each kind of connection in turn: it is made again, what runs goes on, nothing runs twice', {
  timeout: 60_000,
}, async ({ url, pool }) => {
  await createCounts(pool);
  const name = await createQueue(pool);
  const worker = await startFaultWorker({ url, queue: name, lease: 6_000, poll: '500ms' });
  await worker.heard('listener.hearing');
  for (const kind of KINDS) {
    const gate = await makeGate();
    const [held] = await enqueue(pool, name, [{ payload: { do: 'hold', gate: gate.path } }]);
    await waitForRuns(pool, [held]);
    const before = await waitFor(
      async () => {
        const pids = await backends(pool, kind);
        return pids.length > 0 ? pids : undefined;
      },
      { what: `a connection ${kind}` },
    );
    expect(await terminate(pool, [kind]), kind).toBe(before.length);
    const [after] = await enqueue(pool, name, [{ payload: { do: 'done' } }]);
    gate.open();
    for (const id of [held, after]) {
      expect(await waitForState(pool, id, 'completed'), kind).toMatchObject({ attempt: 1 });
    }
    await waitFor(
      async () => {
        const pids = await backends(pool, kind);
        return pids.length > 0 && !pids.some((pid) => before.includes(pid));
      },
      { what: `${kind} to be connected again` },
    );
    expect(await readRuns(pool, [held, after]), kind).toHaveLength(2);
  }
  const purposes = new Set(worker.of('connection.restored').map(({ purpose }) => purpose));
  expect([...purposes].sort()).toEqual(['claim', 'listen', 'settle']);
  expect(worker.of('lease.lost')).toEqual([]);
  expect(worker.process.isRunning).toBe(true);
  expect(worker.process.stderr).toBe('');
});

test("all of them, the handlers' own too, again and again under load", { timeout: 60_000 }, async ({
  url,
  pool,
}) => {
  await createCounts(pool);
  const name = await createQueue(pool, { backoff: 'fixed', backoff_ms: 20, max_attempts: 1_000 });
  const worker = await startFaultWorker({ url, queue: name, lease: 10_000 });
  const ids: string[] = [];
  let ended = 0;
  for (let storm = 0; storm < 6; storm += 1) {
    const begun = await enqueue(
      pool,
      name,
      Array.from({ length: 40 }, () => ({
        payload: { do: 'effect', again: 'effect', ms: 30, isQuiet: true },
      })),
    );
    ids.push(...begun);
    await waitFor(
      async () => {
        const { rows } = await pool.query(
          "select id from howdah.job_states where id = any ($1) and state = 'running'",
          [begun],
        );
        return rows.length > 0;
      },
      { what: 'a job to run when the connections end' },
    );
    ended += await terminate(pool, [...KINDS, 'fault handlers']);
  }
  expect(ended).toBeGreaterThan(20);
  await waitForAllCompleted(pool, ids);
  expect(await wrongEffects(pool, ids)).toEqual([]);
  expect(worker.process.isRunning).toBe(true);
  expect(worker.process.stderr).toBe('');
});
