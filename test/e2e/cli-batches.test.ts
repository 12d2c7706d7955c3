import { expect, vi } from 'vitest';
import { runCli } from '../support/cli.js';
import { test } from '../support/database.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

test('batches from the command line', async ({ url }) => {
  const cli = (...args: string[]) => runCli([...args, '--json'], { url });
  await cli('queues', 'set', 'pages');
  const opened = await cli('batches', 'open', '--name', 'n', '--queue', 'pages', '--payload', '5');
  const { id } = opened.json[0] as { id: string };
  expect((await cli('enqueue', 'pages', '1', '--batch', id)).code).toBe(0);
  expect((await cli('batches', 'show', id)).json[0]).toMatchObject({
    id,
    name: 'n',
    state: 'open',
    total: 1,
    pending: 1,
    onCompleteQueue: 'pages',
  });
  expect((await cli('batches', 'close', id)).json[0]).toMatchObject({ state: 'closed' });
  expect((await cli('batches', 'list', '--state', 'closed')).json).toMatchObject([{ id }]);
  expect((await cli('batches', 'list', '--state', 'open')).json).toEqual([]);
  const refused = await cli('enqueue', 'pages', '2', '--batch', id);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('BATCH_CLOSED') });
  expect((await cli('batches', 'show', '999')).code).toBe(3);
  expect((await cli('batches', 'close', '999')).code).toBe(3);
  expect((await cli('batches', 'jobs', id)).json).toMatchObject([
    { queue: 'pages', state: 'ready' },
  ]);
  expect((await cli('batches', 'jobs', '999')).code).toBe(3);
  const empty = (await cli('batches', 'open')).json[0] as { id: string };
  const emptied = await cli('batches', 'close', empty.id);
  expect(emptied).toMatchObject({ code: 1, stderr: expect.stringContaining('--allow-empty') });
  const closed = await cli('batches', 'close', empty.id, '--allow-empty');
  expect(closed.json[0]).toMatchObject({ state: 'completed' });
  expect((await cli('batches', 'open', '--payload', '1')).code).toBe(2);
  expect((await cli('batches', 'open', '--queue', 'nowhere')).code).toBe(3);
});

test('topics from the command line', async ({ url }) => {
  const cli = (...args: string[]) => runCli([...args, '--json'], { url });
  await cli('queues', 'set', 'invoices');
  const subscribed = await cli('topics', 'subscribe', 'orders', 'invoices');
  expect(subscribed.json[0]).toEqual({ topic: 'orders', queue: 'invoices', created: true });
  expect((await cli('topics', 'list')).json).toMatchObject([
    { topic: 'orders', queue: 'invoices' },
  ]);
  const published = await cli('topics', 'publish', 'orders', '{"id":7}', '--dedupe-key', 'k');
  expect(published.json).toMatchObject([{ queue: 'invoices', created: true }]);
  expect((await cli('topics', 'publish', 'nobody', '1')).json).toEqual([]);
  expect((await cli('topics', 'subscribe', 'orders', 'nowhere')).code).toBe(3);
  expect((await cli('topics', 'publish', 'a b', '1')).code).toBe(2);
  const left = await cli('topics', 'unsubscribe', 'orders', 'invoices');
  expect(left.json[0]).toMatchObject({ removed: true });
  expect((await cli('topics', 'list', 'orders')).json).toEqual([]);
});
