import { Database, type Executor, HowdahError, viewsOf } from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';

type Options = ConstructorParameters<typeof Database>[0];

function open(options: Options): Database {
  const database = new Database(options);
  onTestFinished(() => database.close());
  return database;
}

const number = (text: string) => ({ text: `select ${text} as i` });

describe('statements', () => {
  test('rows come as objects or as arrays, bigint as text, time as Date', async ({ url }) => {
    const database = open({ url });
    const text = `select 9007199254740993 as big, 'epoch'::timestamptz as at`;
    expect(await database.query({ text })).toEqual([{ big: '9007199254740993', at: new Date(0) }]);
    const statement = database.statement('two', text, 'array');
    for (let i = 0; i < 2; i += 1) {
      expect(await database.query(statement)).toEqual([['9007199254740993', new Date(0)]]);
    }
  });

  test('are prepared once, under a name that belongs to their text', async ({ url }) => {
    const database = open({ url, connectionsMax: 1 });
    const one = database.statement('same', 'select $1::int as i');
    const two = database.statement('same', 'select $1::int + 1 as i');
    expect(one.name).not.toBe(two.name);
    for (const i of [1, 2]) {
      expect(await database.query(one, [i])).toEqual([{ i }]);
      expect(await database.query(two, [i])).toEqual([{ i: i + 1 }]);
    }
    const prepared = await database.query({ text: 'select name from pg_prepared_statements' });
    expect(prepared).toHaveLength(2);
  });

  test('go on without names when the server has forgotten them', async ({ url }) => {
    const database = open({ url, connectionsMax: 1 });
    const statement = database.statement('gone', 'select $1::int as i');
    await database.query(statement, [1]);
    // What a transaction pooler does by handing out another server connection.
    await database.query({ text: 'deallocate all' });
    expect(await database.query(statement, [2])).toEqual([{ i: 2 }]);
    expect(await database.query({ text: 'select name from pg_prepared_statements' })).toEqual([]);
  });

  test('a transaction runs again without names', async ({ url }) => {
    const database = open({ url, connectionsMax: 1 });
    const statement = database.statement('gone', 'select $1::int as i');
    await database.query(statement, [1]);
    await database.query({ text: 'deallocate all' });
    expect(await database.transaction((tx) => tx.query(statement, [3]))).toEqual([{ i: 3 }]);
  });

  test('are prepared anew when a migration changed what they return', async ({ url }) => {
    const database = open({ url, connectionsMax: 1 });
    await database.query({ text: 'create table shape (a int)' });
    const statement = database.statement('shape', 'select * from shape');
    await database.query(statement);
    await database.query({ text: 'alter table shape add column b int' });
    expect(await database.query(statement)).toEqual([]);
    await database.query({ text: 'insert into shape values (1, 2)' });
    expect(await database.query(statement)).toEqual([{ a: 1, b: 2 }]);
  });

  test('that fail keep the connection', async ({ url }) => {
    const database = open({ url, connectionsMax: 1 });
    const pid = await database.query(number('pg_backend_pid()'));
    await expect(database.query(number('1/0'))).rejects.toMatchObject({
      code: 'HOWDAH_DATABASE_ERROR',
      details: { sqlstate: '22012' },
    });
    expect(await database.query(number('pg_backend_pid()'))).toEqual(pid);
  });

  test('on a missing schema say how to install it', async ({ createDatabase }) => {
    const database = open({ url: await createDatabase('empty') });
    const statement = { text: database.sql('select {{schema}}.schema_version()') };
    for (const run of [() => database.query(statement), () => database.assertVersion()]) {
      await expect(run()).rejects.toMatchObject({
        code: 'HOWDAH_SCHEMA_MISSING',
        remedy: expect.stringContaining('howdah migrate'),
      });
    }
  });
});

describe('the version gate', () => {
  test('lets its own version pass and refuses any other', async ({ createDatabase }) => {
    const database = open({ url: await createDatabase('migrated') });
    await database.assertVersion();
    const insert = `insert into howdah.migration (name, run_on) values ('9999_later', now())`;
    await database.query({ text: insert });
    await expect(database.assertVersion()).rejects.toMatchObject({ code: 'HOWDAH_SCHEMA_NEWER' });
    await database.query({ text: `delete from howdah.migration where name >= '0010'` });
    await expect(database.assertVersion()).rejects.toMatchObject({ code: 'HOWDAH_SCHEMA_OLDER' });
  });
});

describe('transactions', () => {
  test('commit what they did, or nothing', async ({ url }) => {
    const database = open({ url });
    await database.query({ text: 'create table t (i int)' });
    const insert = (tx: Executor, i: number) =>
      tx.query({ text: 'insert into t values ($1)' }, [i]);
    const done = await database.transaction(async (tx) => {
      await insert(tx, 1);
      return 'done';
    });
    expect(done).toBe('done');
    const thrown = new Error('mine');
    await expect(
      database.transaction(async (tx) => {
        await insert(tx, 2);
        throw thrown;
      }),
    ).rejects.toBe(thrown);
    expect(await database.query({ text: 'select i from t' })).toEqual([{ i: 1 }]);
  });

  test('whose failure was swallowed do not look committed', async ({ url }) => {
    const database = open({ url });
    await expect(
      database.transaction(async (tx) => {
        await tx.query(number('1/0')).catch(() => undefined);
      }),
    ).rejects.toMatchObject({ code: 'HOWDAH_TRANSACTION_INVALID' });
  });

  test('cannot be used after their end', async ({ url }) => {
    const database = open({ url });
    const tx = await database.transaction(async (each) => each);
    await expect(tx.query(number('1'))).rejects.toMatchObject({
      code: 'HOWDAH_TRANSACTION_INVALID',
    });
  });

  test('run again after a deadlock', async ({ url }) => {
    const database = open({ url });
    await database.query({
      text: 'create table d as select i, 0 as n from generate_series(1, 2) i',
    });
    let runs = 0;
    const bothHold = deferred();
    const touch = (first: number, second: number) =>
      database.transaction(async (tx) => {
        runs += 1;
        await tx.query({ text: 'update d set n = n + 1 where i = $1' }, [first]);
        if (runs >= 2) bothHold.resolve();
        await bothHold.promise;
        await tx.query({ text: 'update d set n = n + 1 where i = $1' }, [second]);
      });
    await Promise.all([touch(1, 2), touch(2, 1)]);
    expect(runs).toBe(3);
    expect(await database.query({ text: 'select n from d' })).toEqual([{ n: 2 }, { n: 2 }]);
  });

  test('give up on a conflict that stays', async ({ url }) => {
    const database = open({ url });
    let runs = 0;
    const text = `do $$ begin raise exception 'again' using errcode = '40001'; end $$`;
    await expect(
      database.transaction(async (tx) => {
        runs += 1;
        await tx.query({ text });
      }),
    ).rejects.toMatchObject({ code: 'HOWDAH_TRANSACTION_CONFLICT', isRetryable: true });
    expect(runs).toBe(4);
  });

  test('give their connection back whatever happens', async ({ url }) => {
    const database = open({ url, connectionsMax: 1, connectTimeout: '2s' });
    const failures: ((tx: Executor) => Promise<unknown>)[] = [
      (tx) => tx.query(number('1/0')),
      () => Promise.reject(undefined),
      () => Promise.reject(new HowdahError('HOWDAH_OPTION_INVALID', 'No.')),
      (tx) => tx.query(number('pg_terminate_backend(pg_backend_pid())')),
    ];
    for (const fail of failures) {
      await database.transaction(fail).catch(() => undefined);
      expect(await database.query(number('1'))).toEqual([{ i: 1 }]);
    }
  });
});

describe('a pool that is handed in', () => {
  test('is used and never closed', async ({ url }) => {
    const pool = new pg.Pool({ connectionString: url });
    onTestFinished(() => pool.end());
    const database = new Database({ pool });
    expect(await database.query(number('1'))).toEqual([{ i: 1 }]);
    expect(await database.transaction((tx) => tx.query(number('2')))).toEqual([{ i: 2 }]);
    await database.close();
    expect((await pool.query('select 3 as i')).rows).toEqual([{ i: 3 }]);
    await expect(database.query(number('1'))).rejects.toMatchObject({
      code: 'HOWDAH_CLIENT_CLOSED',
    });
  });

  test('tells how to open connections of our own', async ({ url }) => {
    const { hostname: host, port, username: user, password, pathname } = new URL(url);
    const pool = new pg.Pool({
      host,
      port: Number(port),
      user,
      password,
      database: pathname.slice(1),
    });
    onTestFinished(() => pool.end());
    const session = await open({ pool }).connect('listen');
    expect(pool.totalCount).toBe(0);
    expect(await session.query(number('pg_backend_pid()'))).toEqual([{ i: session.processId }]);
    await session.close();
  });

  test('that is closed is an error that says so', async ({ url }) => {
    const pool = new pg.Pool({ connectionString: url });
    await pool.end();
    await expect(open({ pool }).query(number('1'))).rejects.toMatchObject({
      code: 'HOWDAH_CLIENT_CLOSED',
    });
  });
});

describe('a connection of its own', () => {
  test('shows its purpose, hears notifications and commits as told', async ({ url }) => {
    const database = open({ url, applicationName: 'shop' });
    const session = await database.connect('claim', { asyncCommit: true });
    onTestFinished(() => session.close());
    expect(session.isPooled).toBe(false);
    const text = `select current_setting('application_name') as name,
      current_setting('synchronous_commit') as commit`;
    expect(await session.query({ text })).toEqual([{ name: 'shop claim', commit: 'off' }]);

    const heard: string[] = [];
    const both = deferred();
    await session.listen('odd "channel"', (payload) => {
      heard.push(payload);
      if (heard.length === 2) both.resolve();
    });
    const notify = { text: `select pg_notify('odd "channel"', $1)` };
    await database.query(notify, ['one']);
    await database.query(notify, ['']);
    await both.promise;
    expect(heard).toEqual(['one', '']);
    await session.unlisten('odd "channel"');
    expect(await session.query({ text: 'select pg_listening_channels()' })).toEqual([]);
  });

  test('closes twice, refuses statements then, and is not called lost', async ({ url }) => {
    const session = await open({ url }).connect('test');
    let isLost = false;
    session.onLost(() => {
      isLost = true;
    });
    await Promise.all([session.close(), session.close()]);
    await expect(session.query(number('1'))).rejects.toMatchObject({
      code: 'HOWDAH_CLIENT_CLOSED',
    });
    expect(isLost).toBe(false);
  });
});

describe('the query builder', () => {
  test('reads the views of the schema, with their real columns', async ({ url }) => {
    const database = open({ url });
    const kysely = await viewsOf(database);
    const views = [
      'job_states',
      'history',
      'jobs',
      'queue_stats',
      'dead_letters',
      'workers',
      'queue_policies',
    ] as const;
    for (const view of views) await kysely.selectFrom(view).selectAll().execute();
    const queues = await kysely.selectFrom('queue_policies').select(['queue']).execute();
    expect(queues).toEqual([{ queue: 'dead-letters' }]);
  });
});

describe('options', () => {
  test.each<[string, Options]>([
    ['schema', { schema: 'Bad"Name' }],
    ['schema', { schema: 'pg_mine' }],
    ['schema', { schema: 'x'.repeat(49) }],
    ['connectionsMax', { connectionsMax: 0 }],
    ['connectionsMax', { connectionsMax: 1.5 }],
    ['statementTimeout', { statementTimeout: 0 }],
    ['connectTimeout', { connectTimeout: '2h' }],
    ['pool', { url: 'postgres://h/d', pool: new pg.Pool() }],
    ['url', { url: 'http://u:secret@h/d' }],
  ])('%s out of bounds is refused', (option, options) => {
    expect(() => new Database(options)).toThrow(
      expect.objectContaining({
        code: 'HOWDAH_OPTION_INVALID',
        details: expect.objectContaining({ option }),
        message: expect.not.stringContaining('secret'),
      }),
    );
  });
});

/** Node 20 has no Promise.withResolvers. */
function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((yes) => {
    resolve = yes;
  });
  return { promise, resolve };
}
