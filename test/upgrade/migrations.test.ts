import { readFile, writeFile } from 'node:fs/promises';
import { migrate } from 'howdah';
import pg from 'pg';
import { describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { Engine } from '../support/engine.js';

const SNAPSHOT = new URL('schema.snapshot.sql', import.meta.url);

/** The net result of all migrations, from the catalog: the same on every version of PostgreSQL. */
const CATALOG = `
  select line from (
    select 1 as part, c.relname as name, a.attnum as place,
      format('column %s.%s %s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
        case when a.attnotnull then ' not null' else '' end,
        coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')) as line
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = 'howdah'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
      and c.relname <> 'migration'
    union all
    select 2, c.conrelid::regclass::text, 0,
      format('constraint %s on %s %s', c.conname, c.conrelid::regclass, pg_get_constraintdef(c.oid))
    from pg_constraint c join pg_class r on r.oid = c.conrelid
    where c.connamespace = 'howdah'::regnamespace and c.contype <> 'n' and not r.relispartition
      and r.relname <> 'migration'
    union all
    select 3, i.indexrelid::regclass::text, 0, pg_get_indexdef(i.indexrelid)
    from pg_index i join pg_class r on r.oid = i.indrelid
    where r.relnamespace = 'howdah'::regnamespace and not r.relispartition and r.relname <> 'migration'
    union all
    select 4, c.relname, 0, format('options %s (%s)', c.relname, array_to_string(c.reloptions, ', '))
    from pg_class c where c.relnamespace = 'howdah'::regnamespace and c.reloptions is not null
      and not c.relispartition
    union all
    select 5, p.oid::regprocedure::text, 0, format('function %s returns %s%s', p.oid::regprocedure,
      pg_get_function_result(p.oid), case when p.prosecdef then ' security definer' else '' end)
    from pg_proc p where p.pronamespace = 'howdah'::regnamespace
  ) x order by part, name collate "C", place, line collate "C"`;

const snapshotOf = async (db: Engine): Promise<string> => {
  await db.rows('set search_path = pg_catalog');
  const rows = await db.rows<{ line: string }>(CATALOG);
  return `${rows.map(({ line }) => line).join('\n')}\n`;
};

async function withEngine<T>(url: string, run: (db: Engine) => Promise<T>): Promise<T> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return await run(new Engine(client));
  } finally {
    await client.end();
  }
}

describe('the schema', () => {
  test('is what the snapshot says; HOWDAH_SNAPSHOT=write renews it', async ({ url }) => {
    const text = await withEngine(url, snapshotOf);
    if (process.env.HOWDAH_SNAPSHOT === 'write') await writeFile(SNAPSHOT, text);
    expect(text).toBe(await readFile(SNAPSHOT, 'utf8'));
  });

  test('is the same after down and up again, with jobs in every state in between', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    const before = await withEngine(url, async (db) => {
      await db.createQueue('used');
      await db.enqueue('used', 4);
      await db.enqueue('used', 1, { delay_ms: 60_000 });
      const lease = await db.openLease();
      const [done, dead] = await db.claim('used', lease, 3);
      if (done && dead) {
        await db.complete(lease, [done]);
        await db.end(lease, dead, 'dead_letter');
      }
      return snapshotOf(db);
    });
    await migrate({ url, to: 0 });
    await migrate({ url });
    await withEngine(url, async (db) => {
      expect(await snapshotOf(db)).toBe(before);
      await db.createQueue('used');
      expect(await db.enqueue('used')).toHaveLength(1);
    });
  });

  test('one file down and up keeps the jobs, where the file holds functions only', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    const ids = await withEngine(url, async (db) => {
      await db.createQueue('kept');
      return db.enqueue('kept', 3);
    });
    await migrate({ url, to: 15 });
    await migrate({ url });
    await withEngine(url, async (db) => {
      const lease = await db.openLease();
      expect((await db.claim('kept', lease, 9)).map(({ id }) => id)).toEqual(ids);
      await db.expectTruth();
      expect(
        await db.rows(`select p.oid::regprocedure::text from pg_proc p, aclexplode(p.proacl) a
          where p.pronamespace = 'howdah'::regnamespace and a.grantee = 0
          union all select p.oid::regprocedure::text from pg_proc p
          where p.pronamespace = 'howdah'::regnamespace and p.proacl is null`),
        'functions that PUBLIC may call',
      ).toEqual([]);
    });
  });
});
