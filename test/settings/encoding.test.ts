import { createClient, migrate } from 'howdah';
import pg from 'pg';
import { expect, inject, onTestFinished } from 'vitest';
import { codeOf } from '../support/client.js';
import { test } from '../support/database.js';
import { withDatabase } from '../support/template.js';

test('a database of LATIN1 takes what fits it, and says so of what does not', async () => {
  const name = `${inject('databasePrefix')}_${process.pid}_latin1`;
  const admin = new pg.Client(inject('adminUrl'));
  await admin.connect();
  await admin.query(
    `create database ${name} encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0`,
  );
  onTestFinished(async () => {
    await admin.query(`drop database ${name} with (force)`);
    await admin.end();
  });
  const url = withDatabase(inject('adminUrl'), name);
  await migrate({ url });
  const client = createClient({ url });
  onTestFinished(() => client.close());
  await client.queues.create('mail');
  const { id } = await client.enqueue('mail', { to: 'René' });
  expect(await client.jobs.get(id)).toMatchObject({ payload: { to: 'René' } });
  expect(await codeOf(client.enqueue('mail', { price: '5 €' }))).toBe('HOWDAH_PAYLOAD_INVALID');
});
