import { Database } from 'howdah';
import pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { PINNED } from '../../src/db/connect/pinned.js';
import { test } from '../support/database.js';
import { setAll } from '../support/settings.js';

/** What somebody may have set, and what a session of ours has all the same. */
const SETTINGS: Readonly<Record<string, readonly [theirs: string, ours: string]>> = {
  default_transaction_isolation: ['serializable', 'read committed'],
  default_transaction_deferrable: ['on', 'off'],
  search_path: ['public', 'pg_catalog'],
  DateStyle: ['German', 'ISO, MDY'],
  IntervalStyle: ['iso_8601', 'postgres'],
  TimeZone: ['Asia/Shanghai', 'UTC'],
  extra_float_digits: ['-15', '1'],
  bytea_output: ['escape', 'hex'],
  standard_conforming_strings: ['off', 'on'],
  lock_timeout: ['7s', '0'],
  transaction_timeout: ['20s', '0'],
  idle_session_timeout: ['1h', '0'],
  idle_in_transaction_session_timeout: ['1h', '0'],
  'plpgsql.extra_errors': ['all', 'none'],
};
const NAMES = Object.keys(SETTINGS);

test('a session of our own has what it depends on, whatever the database says', async ({
  createDatabase,
}) => {
  const url = await createDatabase('migrated');
  await setAll(url, Object.fromEntries(NAMES.map((name) => [name, SETTINGS[name]?.[0] ?? ''])));
  // one that is pinned later is seen here as well
  expect(PINNED.map(([name]) => name).filter((name) => !NAMES.includes(name))).toEqual([]);
  const database = new Database({ url });
  onTestFinished(() => database.close());
  const session = await database.connect('test');
  onTestFinished(() => session.close());
  const text = `select n.name, current_setting(n.name, true) as value
    from unnest(string_to_array('${NAMES.join(' ')}', ' ')) n (name)`;
  type Row = { name: string; value: string | null };
  // an older server does not know all of them
  const told = (rows: readonly Row[]): Record<string, string> =>
    Object.fromEntries(rows.flatMap(({ name, value }) => (value ? [[name, value]] : [])));
  const application = new pg.Client(url);
  await application.connect();
  const theirs = told((await application.query<Row>(text)).rows);
  await application.end();
  const ours = told(await session.query<Row>({ text }));
  expect(Object.keys(theirs).length).toBeGreaterThan(NAMES.length - 3);
  for (const name of Object.keys(theirs)) {
    expect(theirs[name], `${name} of the database`).not.toBe(SETTINGS[name]?.[1]);
    expect(ours[name], `${name} of ours`).toBe(SETTINGS[name]?.[1]);
  }
  expect(await session.query({ text: 'show transaction_isolation' })).toEqual([
    { transaction_isolation: 'read committed' },
  ]);
});
