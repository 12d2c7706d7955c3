import { Database, migrate } from 'howdah';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { PGBOUNCER, startPooler } from '../support/pooler.js';

function open(options: ConstructorParameters<typeof Database>[0]): Database {
  const database = new Database(options);
  onTestFinished(() => database.close());
  return database;
}

describe.runIf(PGBOUNCER)('through PgBouncer in transaction mode', () => {
  test('statements and transactions work', async ({ url }) => {
    const database = open({ url: await startPooler(url) });
    await database.assertVersion();
    const statement = database.statement('one', 'select $1::int as i');
    const rows = await Promise.all(
      Array.from({ length: 50 }, (_, i) => database.query(statement, [i])),
    );
    expect(rows.flat()).toEqual(Array.from({ length: 50 }, (_, i) => ({ i })));
    expect(await database.transaction((tx) => tx.query(statement, [7]))).toEqual([{ i: 7 }]);
  });

  test('a connection of its own knows, and changes nothing for others', async ({ url }) => {
    const pooled = await startPooler(url);
    const database = open({ url: pooled });
    const sessions = await Promise.all(
      [1, 2].map(() => database.connect('test', { asyncCommit: true })),
    );
    expect(sessions.map(({ isPooled }) => isPooled)).toEqual([true, true]);
    const text = `select count(*)::int as changed from pg_settings
      where name in ('synchronous_commit', 'statement_timeout') and source = 'session'`;
    for (const each of [database, ...sessions]) {
      expect(await each.query({ text })).toEqual([{ changed: 0 }]);
    }
    for (const each of sessions) await each.close();

    const direct = await open({ url: pooled, directUrl: url }).connect('test');
    expect(direct.isPooled).toBe(false);
    await direct.close();
  });

  test('migrations ask for the direct URL', async ({ createDatabase }) => {
    const directUrl = await createDatabase('empty');
    const url = await startPooler(directUrl);
    await expect(migrate({ url })).rejects.toMatchObject({
      code: 'HOWDAH_OPTION_INVALID',
      details: { option: 'directUrl' },
    });
    expect((await migrate({ url, directUrl })).applied.length).toBeGreaterThan(0);
  });
});
