import { createClient, migrate } from 'howdah';
import pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { codeOf } from '../support/client.js';
import { runCoreFlow } from '../support/core-flow.js';
import { test } from '../support/database.js';
import { setAll } from '../support/settings.js';

/** What the server calls a division by zero in sessions that begin now. */
async function divisionByZero(url: string): Promise<string> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return await client.query('select 1/0').then(
      () => '',
      (error: Error) => error.message,
    );
  } finally {
    await client.end();
  }
}

test('a server that speaks another language is understood', { timeout: 60_000 }, async ({
  createDatabase,
  skip,
}) => {
  const url = await createDatabase('empty');
  // neither every server has translations nor every machine the locale
  await setAll(url, { lc_messages: 'de_DE.utf8' }).catch(() => skip('no such locale'));
  skip((await divisionByZero(url)) === 'division by zero', 'the server has no translations');

  await migrate({ url });
  await runCoreFlow({ url });

  const pool = new pg.Pool({ connectionString: url, max: 4 });
  pool.on('error', () => undefined);
  onTestFinished(() => pool.end());
  const client = createClient({ pool });
  onTestFinished(() => client.close());
  expect(await codeOf(client.enqueue('mail', { text: '\u0000' }))).toBe('HOWDAH_PAYLOAD_INVALID');
  // sessions that end, and plans that no longer fit: both are tried again, in whatever words they are told
  const { id } = await client.enqueue('mail', { what: 'before' });
  const admin = new pg.Client(url);
  await admin.connect();
  onTestFinished(() => admin.end());
  await admin.query('alter table howdah._jobs add column other integer');
  await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`);
  const after = await client.enqueue('mail', { what: 'after' });
  expect(await client.jobs.get(id)).toMatchObject({ payload: { what: 'before' } });
  expect(await client.jobs.get(after.id)).toMatchObject({ payload: { what: 'after' } });
});
