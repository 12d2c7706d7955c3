import { readFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { createClient, createWorker, work } from '../../src/index.js';
import { silentLogger } from '../../src/telemetry/logger.js';
import { runCli } from '../support/cli.js';
import { test } from '../support/client.js';
import { waitForState } from '../support/workers.js';

/** What docs/sql.md grants, to roles of this test's own that may log in. */
async function makeRoles(pool: pg.Pool, url: string) {
  const docs = readFileSync(path.join(import.meta.dirname, '../../docs/sql.md'), 'utf8');
  const grants = /## Grants[\s\S]*?```sql\n([\s\S]*?)```/.exec(docs)?.[1] ?? '';
  const { rows } = await pool.query<{ oid: string }>(
    'select oid::text from pg_database where datname = current_database()',
  );
  const suffix = rows[0]?.oid ?? '';
  const names = ['app_producer', 'app_operator', 'app_worker'];
  await pool.query(grants.replace(/\bapp_(producer|operator|worker)\b/g, `app_$1_${suffix}`));
  for (const name of names) {
    await pool.query(`alter role ${name}_${suffix} login password 'secret'`);
  }
  onTestFinished(async () => {
    for (const name of names) {
      await pool.query(`drop owned by ${name}_${suffix}; drop role ${name}_${suffix}`);
    }
  });
  return Object.fromEntries(
    names.map((name) => {
      const login = new URL(url);
      login.username = `${name}_${suffix}`;
      login.password = 'secret';
      return [name.slice(4), login.href];
    }),
  ) as Record<'producer' | 'operator' | 'worker', string>;
}

describe('the roles of docs/sql.md', () => {
  test('an operator reads every view that has a good name, and does all that an operator does', async ({
    url,
    pool,
  }) => {
    const roles = await makeRoles(pool, url);
    await pool.query(`select howdah.create_queue('mail', '{"group_concurrency": 1}');
      select howdah.enqueue(jsonb_build_object('queue', 'mail', 'payload', i, 'group', 'g'))
        from generate_series(1, 3) i`);
    const operator = new pg.Client(roles.operator);
    await operator.connect();
    onTestFinished(() => operator.end());
    const { rows: views } = await operator.query<{ name: string }>(
      `select relname as name from pg_class
       where relnamespace = 'howdah'::regnamespace and relkind = 'v' order by 1`,
    );
    expect(views.length).toBeGreaterThan(12);
    for (const { name } of views) {
      await expect(operator.query(`select * from howdah.${name}`), name).resolves.toBeDefined();
    }
    const client = createClient({ url: roles.operator });
    onTestFinished(() => client.close());
    const [job] = await client.jobs.list({ queue: 'mail', state: ['ready', 'blocked'] });
    const id = job?.id ?? '';
    expect(await client.jobs.get(id)).toMatchObject({ id });
    expect(await client.queues.stats('mail')).toMatchObject([{ ready: 1, blocked: 2 }]);
    expect(await client.groups.blocked('mail')).toHaveLength(1);
    expect(await client.queues.pause('mail')).toEqual(['mail']);
    expect(await client.queues.resume('mail')).toEqual(['mail']);
    expect(await client.jobs.cancel(id)).toMatchObject([{ id, outcome: 'cancelled' }]);
    expect(await client.jobs.list({ queue: 'mail', state: 'cancelled' })).toHaveLength(1);
    expect(await client.deadLetters.list()).toEqual([]);
    expect(await client.deadLetters.groups()).toEqual([]);
    expect(await client.workers.list()).toEqual([]);
    expect(await client.batches.list()).toEqual([]);
    expect(await client.topics.subscriptions()).toEqual([]);
    expect(await client.schedules.list()).toEqual([]);
    const doctor = await runCli(['doctor', '--json'], { url: roles.operator });
    const findings = doctor.json as { check: string; result: string }[];
    expect(findings.length).toBeGreaterThan(10);
    expect(findings.filter(({ result }) => result === 'fail')).toEqual([]);
  });

  test('a producer enqueues, and reads nothing', async ({ url, pool }) => {
    const roles = await makeRoles(pool, url);
    await pool.query(`select howdah.create_queue('mail')`);
    const client = createClient({ url: roles.producer });
    onTestFinished(() => client.close());
    const { id } = await client.enqueue('mail', { to: 'joe' });
    await expect(client.jobs.get(id)).rejects.toMatchObject({ code: 'HOWDAH_PERMISSION_DENIED' });
  });

  test('a worker needs no right on anything private: it leads, runs, retries, schedules', async ({
    url,
    pool,
  }) => {
    const roles = await makeRoles(pool, url);
    await pool.query(
      `select howdah.create_queue('mail', '{"backoff": "fixed", "backoff_ms": 10}')`,
    );
    const faults: unknown[] = [];
    const worker = createWorker({
      url: roles.worker,
      logger: silentLogger,
      queues: [
        work('mail', async (job, context) => {
          await context.progress({ at: job.attempt });
          if (job.attempt === 1) throw new Error('once more');
          return 'done';
        }),
      ],
    });
    worker.onEvent(({ type, ...facts }) => {
      if (type.endsWith('failed') && type !== 'job.failed') faults.push([type, facts]);
    });
    await worker.start();
    onTestFinished(() => worker.stop({ grace: 0 }).then(() => undefined));
    const { rows } = await pool.query(
      `select id::text from howdah.enqueue('[{"queue": "mail", "payload": 1, "group": "g"},
        {"queue": "mail", "payload": 2, "group": "g", "delay_ms": 50}]')`,
    );
    for (const { id } of rows) await waitForState(pool, id, 'completed');
    expect(faults).toEqual([]);
  });
});
