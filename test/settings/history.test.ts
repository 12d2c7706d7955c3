import { migrate } from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { Engine } from '../support/engine.js';

const DAY_MS = 86_400_000;
const PRUNE = 'select * from howdah.prune()';
const KEPT = `select (select count(*)::int from howdah._history_default) as in_default,
  (select count(*)::int from howdah._history) as in_history`;
const BOUNDS = `select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bounds
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'howdah._history'::regclass and c.relname <> '_history_default' order by 1`;

async function connect(url: string): Promise<Engine> {
  const client = new pg.Client({
    connectionString: url,
    options: '-c datestyle=ISO -c timezone=UTC',
  });
  await client.connect();
  onTestFinished(() => client.end());
  return new Engine(client);
}

/** A job that ends, whatever the day is. */
async function finishOne(db: Engine, queue: string): Promise<string> {
  const [id] = await db.enqueue(queue);
  const lease = await db.openLease();
  await db.complete(lease, await db.claim(queue, lease));
  return String(id);
}

describe('partitions of the history', () => {
  for (const [style, zone] of [
    ['SQL, DMY', 'Asia/Shanghai'],
    ['Postgres, MDY', 'Asia/Kolkata'],
    ['German', 'Asia/Jakarta'],
  ] as const) {
    test(`are days of UTC with DateStyle ${style} in ${zone}`, async ({ createDatabase }) => {
      const url = await createDatabase('empty');
      const db = await connect(url);
      await db.rows(`do $$ begin execute format('alter database %I set datestyle = ${`'${style}'`.replaceAll("'", "''")}', current_database());
        execute format('alter database %I set timezone = ''${zone}''', current_database()); end $$`);
      await migrate({ url });
      const found = await db.rows<{ name: string; bounds: string }>(BOUNDS);
      expect(found).toHaveLength(4);
      for (const { name, bounds } of found) {
        const day = name.replace(/^_history_(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3');
        const next = new Date(Date.parse(day) + DAY_MS).toISOString().slice(0, 10);
        expect(bounds).toBe(`FOR VALUES FROM ('${day} 00:00:00+00') TO ('${next} 00:00:00+00')`);
      }
    });
  }

  test('are made, emptied and dropped beside a publication of all tables', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('empty');
    const db = await connect(url);
    await db.rows('create publication everything for all tables');
    await migrate({ url });
    await db.createQueue('mail', { retention_ms: DAY_MS });
    for (let day = 0; day <= 12; day += 4) {
      await db.shiftClock(day * DAY_MS);
      await finishOne(db, 'mail');
      expect(await db.rows(PRUNE), `day ${day}`).toMatchObject([{ problems: null }]);
      expect(await db.rows(KEPT), `day ${day}`).toEqual([{ in_default: 0, in_history: 1 }]);
    }
    // every table that is changed can be told of
    expect(
      await db.rows(`select c.oid::regclass::text as name from pg_class c
        where c.relnamespace = 'howdah'::regnamespace and c.relkind = 'r' and c.relreplident <> 'f'
          and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)`),
    ).toEqual([]);
  });
});

describe('rows of the default partition', () => {
  test('of days that nobody looked after get their partition, and go when it goes', async ({
    createDatabase,
  }) => {
    const db = await connect(await createDatabase('migrated'));
    await db.createQueue('mail', { retention_ms: 4 * DAY_MS });
    for (let day = 4; day <= 10; day += 1) {
      await db.shiftClock(day * DAY_MS);
      await finishOne(db, 'mail');
    }
    expect(await db.rows(KEPT)).toEqual([{ in_default: 7, in_history: 7 }]);
    await db.shiftClock(11 * DAY_MS);
    // days 8, 9 and 10 are to be kept; 7 began before: what is left of it, too
    const [pruned] = await db.rows<{ cleared: number }>(PRUNE);
    expect(pruned?.cleared).toBeGreaterThanOrEqual(3);
    const [kept] = await db.rows<{ in_default: number; in_history: number }>(KEPT);
    expect(kept?.in_default).toBe(0);
    expect(kept?.in_history).toBe(7 - Number(pruned?.cleared));
    await db.shiftClock(20 * DAY_MS);
    await db.rows(PRUNE);
    expect(await db.rows(KEPT)).toEqual([{ in_default: 0, in_history: 0 }]);
  });

  test('of a day whose partition was detached by hand go when they are old', async ({
    createDatabase,
  }) => {
    const db = await connect(await createDatabase('migrated'));
    await db.createQueue('mail', { retention_ms: DAY_MS });
    const today = await db.one<string>(
      `select to_char(howdah.clock() at time zone 'UTC', 'YYYYMMDD')`,
    );
    await db.rows(`alter table howdah._history detach partition howdah._history_${today}`);
    await finishOne(db, 'mail');
    await db.rows(PRUNE);
    expect(await db.rows(KEPT)).toEqual([{ in_default: 1, in_history: 1 }]);
    await db.shiftClock(DAY_MS + 60_000);
    expect(await db.rows(PRUNE)).toMatchObject([{ cleared: 1 }]);
    expect(await db.rows(KEPT)).toEqual([{ in_default: 0, in_history: 0 }]);
  });
});

describe('a partition that cannot be dropped', () => {
  test('is named, and the others are made and dropped', async ({ createDatabase }) => {
    const db = await connect(await createDatabase('migrated'));
    await db.createQueue('mail', { retention_ms: DAY_MS });
    const [first] = await db.rows<{ name: string }>(BOUNDS);
    await db.rows(`create view public.report as select * from howdah.${first?.name}`);
    for (let day = 0; day <= 9; day += 3) {
      await db.shiftClock(day * DAY_MS);
      await finishOne(db, 'mail');
      const [pruned] = await db.rows<{ problems: string[] | null }>(PRUNE);
      if (day >= 3)
        expect(pruned?.problems).toEqual([
          expect.stringContaining(`${first?.name} cannot be dropped`),
        ]);
    }
    const left = await db.rows<{ name: string }>(BOUNDS);
    expect(left[0]?.name).toBe(first?.name);
    expect(left.length).toBeLessThanOrEqual(7);
    expect(await db.rows(KEPT)).toMatchObject([{ in_default: 0 }]);
    await db.rows('drop view public.report');
    expect(await db.rows(PRUNE)).toMatchObject([{ problems: null }]);
    expect((await db.rows<{ name: string }>(BOUNDS))[0]?.name).not.toBe(first?.name);
  });

  test('and one that cannot be made leaves jobs of deleted queues to be buried', async ({
    createDatabase,
  }) => {
    const db = await connect(await createDatabase('migrated'));
    await db.createQueue('gone');
    await db.rows(`create function public.deny() returns event_trigger language plpgsql as $$
      begin raise exception 'no tables in production'; end $$`);
    await db.rows(`create event trigger deny on ddl_command_start when tag in ('CREATE TABLE')
      execute function public.deny()`);
    onTestFinished(() => db.rows('drop event trigger deny').then(() => undefined));
    const [id] = await db.enqueue('gone');
    await db.rows(`update howdah._queues set deleted_at = howdah.clock() where name = 'gone'`);
    await db.shiftClock(2 * DAY_MS);
    const [pruned] = await db.rows<{ problems: string[] | null }>(PRUNE);
    expect(pruned?.problems).toHaveLength(2);
    expect(pruned?.problems?.[0]).toContain('no tables in production');
    expect(await db.state(String(id))).toBe('dead');
  });
});
