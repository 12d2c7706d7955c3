import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { migrate, migrationStatus, printMigrations } from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { SCHEMA_VERSION } from '../../src/db/version.js';
import { test } from '../support/database.js';
import { withDatabase } from '../support/template.js';

async function query(url: string, text: string, values: unknown[] = []): Promise<unknown[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** Everything in the schema, by name and definition. */
function objectsOf(url: string, schema = 'howdah'): Promise<unknown[]> {
  return query(
    url,
    `select 'function' as kind, p.oid::regprocedure::text as name, md5(pg_get_functiondef(p.oid))
       from pg_proc p where p.pronamespace = to_regnamespace($1) and p.prokind = 'f'
     union all
     select 'relation', c.oid::regclass::text, c.relkind::text
       from pg_class c where c.relnamespace = to_regnamespace($1) and c.relname <> 'migration'
         and c.relname not like 'migration\\_%'
     order by 1, 2`,
    [schema],
  );
}

async function makeDir(files: Record<string, string>): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'howdah-migrations-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(dir, name), text);
  return dir;
}

const ONE =
  '-- Up Migration\ncreate table {{schema}}.a (i int);\n-- Down Migration\ndrop table {{schema}}.a;\n';
const TWO =
  '-- Up Migration\ncreate table {{schema}}.b (i int);\n-- Down Migration\ndrop table {{schema}}.b;\n';

describe('migrate', () => {
  test('installs everything, and nothing the second time', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    const first = await migrate({ url });
    expect(first.version).toBe(SCHEMA_VERSION);
    expect(first.applied).toHaveLength(SCHEMA_VERSION);
    expect(await migrate({ url })).toEqual({ ...first, applied: [] });
    expect(await query(url, 'select howdah.schema_version() as version')).toEqual([
      { version: SCHEMA_VERSION },
    ]);
  });

  test('goes down to nothing and up again to the same', async ({ createDatabase }) => {
    const url = await createDatabase('migrated');
    const before = await objectsOf(url);
    expect(before.length).toBeGreaterThan(50);
    const down = await migrate({ url, to: 0 });
    expect(down).toMatchObject({ direction: 'down', version: 0 });
    expect(down.applied).toHaveLength(SCHEMA_VERSION);
    expect(await objectsOf(url)).toEqual([]);
    await migrate({ url });
    expect(await objectsOf(url)).toEqual(before);
  });

  test('stops at each version on the way up and down', { timeout: 120_000 }, async ({
    createDatabase,
  }) => {
    const url = await createDatabase('empty');
    for (let to = 1; to <= SCHEMA_VERSION; to += 1) {
      expect(await migrate({ url, to })).toMatchObject({ version: to });
      expect((await migrationStatus({ url })).version).toBe(to);
    }
    expect(await migrate({ url, direction: 'down' })).toMatchObject({
      version: SCHEMA_VERSION - 1,
    });
  });

  test('lets five at once succeed, of which one works', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    const results = await Promise.all(Array.from({ length: 5 }, () => migrate({ url })));
    expect(results.map(({ applied }) => applied.length).sort((a, b) => a - b)).toEqual([
      0,
      0,
      0,
      0,
      SCHEMA_VERSION,
    ]);
  });

  test('installs several schemas side by side', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    await Promise.all(['one', 'user'].map((schema) => migrate({ url, schema })));
    const [one, two] = await Promise.all(['one', 'user'].map((each) => objectsOf(url, each)));
    expect(two).toHaveLength(one?.length ?? 0);
    expect(await query(url, 'select "user".schema_version() as version')).toEqual([
      { version: SCHEMA_VERSION },
    ]);
  });

  test('only says what a dry run would do', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    const plan = await migrate({ url, dryRun: true });
    expect(plan.applied).toHaveLength(SCHEMA_VERSION);
    expect(await query(url, `select to_regnamespace('howdah') as schema`)).toEqual([
      { schema: null },
    ]);
    expect(await migrationStatus({ url })).toMatchObject({ version: 0, latest: SCHEMA_VERSION });
  });

  test('waits no longer than it is told', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    for (const held of ['create schema howdah', 'lock table howdah.migration']) {
      const holder = new pg.Client(url);
      await holder.connect();
      await holder.query(`begin; ${held}`);
      await expect(migrate({ url, lockTimeout: '150ms' })).rejects.toMatchObject({
        code: 'HOWDAH_MIGRATION_LOCKED',
        isRetryable: true,
      });
      await holder.end();
      await migrate({ url });
    }
  });
});

describe('a database that does not fit', () => {
  test('is refused when it is newer than the code', async ({ createDatabase }) => {
    const url = await createDatabase('migrated');
    await query(url, `insert into howdah.migration (name, run_on) values ('9999_later', now())`);
    await expect(migrate({ url })).rejects.toMatchObject({
      code: 'HOWDAH_SCHEMA_NEWER',
      message: expect.stringContaining('9999_later'),
    });
    await expect(migrate({ url, to: 0 })).rejects.toMatchObject({ code: 'HOWDAH_SCHEMA_NEWER' });
    expect((await migrationStatus({ url })).unknown).toEqual(['9999_later']);
  });

  test('without the right to create says which right', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    const role = `howdah_weak_${process.pid}`;
    await query(url, `create role ${role} login password 'weak'`);
    onTestFinished(async () => {
      await query(url, `drop owned by ${role}; drop role ${role}`);
    });
    const weakUrl = new URL(url);
    weakUrl.username = role;
    weakUrl.password = 'weak';
    await expect(migrate({ url: weakUrl.href })).rejects.toMatchObject({
      code: 'HOWDAH_PERMISSION_DENIED',
      remedy: expect.stringContaining('Grant CREATE'),
    });
    // A schema made for the role is enough.
    await query(url, `create schema howdah authorization ${role}`);
    expect(await migrate({ url: weakUrl.href })).toMatchObject({ version: SCHEMA_VERSION });
  });

  test('that is not there is an error without the password', async ({ url }) => {
    const missing = withDatabase(url, 'no_such_database');
    const error = await migrate({ url: missing }).catch((each: Error) => each);
    expect(error).toMatchObject({ message: expect.stringContaining('no_such_database') });
    expect(String(error)).not.toContain(new URL(url).password);
  });
});

describe('a schema into which others could put something', () => {
  const mallory = `howdah_mallory_${process.pid}`;
  const squats: Record<string, string> = {
    'that is theirs': `create schema howdah authorization ${mallory}`,
    'that is theirs, with a trigger where migrations are recorded': `create schema howdah authorization ${mallory};
      set role ${mallory};
      create table howdah.migration (id serial primary key, name text not null, run_on timestamp not null);
      create function howdah.take() returns trigger language plpgsql
        as 'begin alter role ${mallory} superuser; return new; end';
      create trigger t after insert on howdah.migration execute function howdah.take(); reset role`,
    'in which one of them may create': `create schema howdah; grant create on schema howdah to ${mallory}`,
    'in which all may create': 'create schema howdah; grant create on schema howdah to public',
    'that holds a function of theirs': `create schema howdah; create function howdah.now() returns int
      language sql as 'select 1'; alter function howdah.now() owner to ${mallory}`,
    'that holds a type of theirs': `create schema howdah; create domain howdah.text as int;
      alter domain howdah.text owner to ${mallory}`,
    'that holds an operator of theirs': `create schema howdah; create operator howdah.<> (leftarg = int,
      rightarg = int, function = int4ne); alter operator howdah.<> (int, int) owner to ${mallory}`,
    'with a trigger of theirs on a table of ours': `create schema howdah; create schema theirs;
      grant usage on schema theirs to ${mallory}; create function theirs.take() returns trigger language plpgsql
        as 'begin alter role ${mallory} superuser; return new; end';
      alter function theirs.take() owner to ${mallory};
      create table howdah.migration (id serial primary key, name text not null, run_on timestamp not null);
      create trigger t after insert on howdah.migration execute function theirs.take()`,
    'where a view stands for the record': `create schema howdah; create function public.take() returns text
      language sql as 'select null::text'; create view howdah.migration as select public.take() as name`,
  };

  for (const [what, squat] of Object.entries(squats)) {
    test(`is refused: one ${what}`, async ({ createDatabase }) => {
      const url = await createDatabase('empty');
      await query(url, `create role ${mallory}`);
      onTestFinished(async () => {
        await query(url, `drop owned by ${mallory} cascade; drop role ${mallory}`);
      });
      await query(url, squat);
      const refused = {
        code: 'HOWDAH_SCHEMA_UNSAFE',
        remedy: expect.stringContaining('REVOKE CREATE'),
        details: { schema: 'howdah', problem: expect.any(String) },
      };
      await expect(migrate({ url })).rejects.toMatchObject(refused);
      await expect(migrate({ url, dryRun: true })).rejects.toMatchObject(refused);
      expect(await migrationStatus({ url })).toMatchObject({ version: 0 });
      await expect(query(url, await printMigrations())).rejects.toMatchObject({
        code: '42501',
        message: expect.stringContaining('is not safe'),
      });
      expect(
        await query(url, `select rolsuper from pg_roles where rolname = '${mallory}'`),
      ).toEqual([{ rolsuper: false }]);
    });
  }

  test('is refused by a role that does not own it, and public', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    const role = `howdah_owner_${process.pid}`;
    await query(url, `create role ${role} login password 'own'; create schema howdah`);
    onTestFinished(async () => {
      await query(url, `drop owned by ${role} cascade; drop role ${role}`);
    });
    await query(url, `grant all on schema howdah, public to ${role}`);
    const own = new URL(url);
    own.username = role;
    own.password = 'own';
    for (const schema of ['howdah', 'public']) {
      await expect(migrate({ url: own.href, schema })).rejects.toMatchObject({
        code: 'HOWDAH_SCHEMA_UNSAFE',
        message: expect.stringContaining(`not to ${role}`),
      });
    }
    await query(url, `alter schema howdah owner to ${role}`);
    expect(await migrate({ url: own.href })).toMatchObject({ version: SCHEMA_VERSION });
    // and by a superuser, whose rights its owner could have then
    await expect(migrate({ url })).rejects.toMatchObject({ code: 'HOWDAH_SCHEMA_UNSAFE' });
  });
});

describe('a migration that fails', () => {
  test('names itself and leaves nothing behind', async ({ createDatabase }) => {
    const url = await createDatabase('empty');
    const dir = await makeDir({
      '0001_one.sql': ONE,
      '0002_bad.sql': '-- Up Migration\nselect 1/0;\n-- Down Migration\n',
    });
    await expect(migrate({ url, dir })).rejects.toMatchObject({
      code: 'HOWDAH_MIGRATION_FAILED',
      message: expect.stringContaining('0002_bad'),
      details: { sqlstate: '22012', migration: '0002_bad' },
    });
    expect(await query(url, `select to_regnamespace('howdah') as schema`)).toEqual([
      { schema: null },
    ]);
    await writeFile(path.join(dir, '0002_bad.sql'), TWO);
    expect(await migrate({ url, dir })).toMatchObject({ applied: ['0001_one', '0002_bad'] });
  });

  test('is refused when its markers are missing', async ({ url }) => {
    const dir = await makeDir({ '0001_one.sql': 'select 1;' });
    await expect(migrate({ url, schema: 'other', dir })).rejects.toMatchObject({
      code: 'HOWDAH_MIGRATION_FAILED',
    });
  });

  test('to a version that does not exist is refused', async ({ url }) => {
    await expect(migrate({ url, to: 4711 })).rejects.toMatchObject({
      code: 'HOWDAH_OPTION_INVALID',
      details: { option: 'to', value: 4711 },
    });
  });
});

describe('printed SQL', () => {
  test('installs the same as migrate does', async ({ createDatabase }) => {
    const [printed, migrated] = await Promise.all([
      createDatabase('empty'),
      createDatabase('migrated'),
    ]);
    await query(printed, await printMigrations());
    expect(await objectsOf(printed)).toEqual(await objectsOf(migrated));
    expect(await migrate({ url: printed })).toMatchObject({ applied: [] });
  });

  test('starts after the version given', async () => {
    const text = await printMigrations({ from: 9, schema: 'other' });
    expect(text).toContain(`values ('0010_`);
    expect(text).not.toContain(`values ('0009_`);
    expect(text).not.toContain('{{');
  });
});
