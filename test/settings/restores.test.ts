import { createClient, migrate, work } from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { Engine } from '../support/engine.js';
import { startWorker } from '../support/workers.js';

async function connect(url: string): Promise<Engine> {
  const client = new pg.Client(url);
  await client.connect();
  onTestFinished(() => client.end());
  return new Engine(client);
}

/** A logical switch-over copies rows, and no sequence. */
const FORGET = `do $$ declare v_name text; begin
  for v_name in select c.oid::regclass::text from pg_class c
    where c.relkind = 'S' and c.relnamespace = 'howdah'::regnamespace and c.relname <> 'migration_id_seq' loop
    execute format('alter sequence %s restart', v_name);
  end loop; end $$`;

describe('after a switch-over that copied no sequences', () => {
  test('no number is drawn twice, and a new job has its own result', async ({ createDatabase }) => {
    const url = await createDatabase('migrated');
    const db = await connect(url);
    const client = createClient({ url });
    onTestFinished(() => client.close());
    await client.queues.create('mail');
    const queues = [work('mail', (job) => job.payload as string)];
    const before = await startWorker({ url, queues });
    const old = await client.enqueue('mail', 'old');
    expect(await old.result({ timeout: '20s' })).toBe('old');
    await before.worker.stop({ grace: 0 });
    await db.rows(FORGET);
    expect(await db.rows('select name from howdah.lagging_sequences()')).toContainEqual({
      name: 'job_seq',
    });
    const after = await startWorker({ url, queues });
    await expect
      .poll(() => after.events.some((e) => e.type === 'maintenance.done' && e.duty === 'mend'), {
        timeout: 20_000,
      })
      .toBe(true);
    expect(await db.rows('select name from howdah.lagging_sequences()')).toEqual([]);
    const fresh = await client.enqueue('mail', 'new');
    expect(Number(fresh.id)).toBeGreaterThan(Number(old.id));
    expect(await fresh.result({ timeout: '20s' })).toBe('new');
  });

  test('of two jobs with one number the newer answers', async ({ createDatabase }) => {
    const db = await connect(await createDatabase('migrated'));
    await db.createQueue('mail');
    const run = async (result: string): Promise<string> => {
      const [id] = await db.enqueue('mail');
      const lease = await db.openLease();
      const job = await db.claimOne('mail', lease);
      await db.end(lease, job, 'complete', { result });
      return String(id);
    };
    const id = await run('old');
    await run('other');
    await db.rows('alter sequence howdah.job_seq restart');
    expect(await run('new')).toBe(id);
    const lease = await db.openLease();
    expect(
      await db.rows('select result from howdah.watch($1, array[$2]::bigint[])', [lease, id]),
    ).toEqual([{ result: 'new' }]);
    expect(await db.one('select howdah.mend()')).not.toEqual([]);
    expect(await db.one('select howdah.mend()')).toEqual([]);
    expect(Number((await db.enqueue('mail'))[0])).toBeGreaterThan(Number(id));
  });
});

describe('after a restore', () => {
  test('rows that are there from the beginning are made again by migrate, and somebody leads', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    const db = await connect(url);
    await db.rows(`delete from howdah._leader`);
    await db.rows(`delete from howdah._seq_horizon`);
    await db.rows(`delete from howdah._queues`);
    const lines: string[] = [];
    expect(await migrate({ url, log: (line) => lines.push(line) })).toMatchObject({ applied: [] });
    expect(lines).toEqual([
      'mended row: _leader',
      'mended row: _seq_horizon',
      'mended row: queue dead-letters',
    ]);
    expect(await db.rows('select id, name from howdah._queues')).toEqual([
      { id: 1, name: 'dead-letters' },
    ]);
    await db.createQueue('mail', { max_attempts: 1 });
    await db.rows('delete from howdah._leader');
    const lease = await db.openLease();
    await db.rows('select * from howdah.lead($1, 5000)', [lease]);
    expect(await db.rows('select * from howdah.lead($1, 5000)', [lease])).toHaveLength(1);
  });

  test('of the structure alone, and after a rename, migrate says what is wrong', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    const db = await connect(url);
    await db.rows('alter schema howdah rename to jobs');
    await expect(migrate({ url, schema: 'jobs' })).rejects.toMatchObject({
      code: 'HOWDAH_MIGRATION_FAILED',
      message: expect.stringContaining('ALTER SCHEMA "jobs" RENAME TO "howdah"'),
    });
    await db.rows('alter schema jobs rename to howdah');
    expect(await migrate({ url })).toMatchObject({ applied: [] });
    await db.rows('delete from howdah.migration');
    await expect(migrate({ url })).rejects.toMatchObject({
      code: 'HOWDAH_MIGRATION_FAILED',
      message: expect.stringContaining('restored without its rows'),
    });
  });
});
