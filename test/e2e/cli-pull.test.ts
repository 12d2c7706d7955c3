import { createClient, createWorker, PermanentError, silentLogger, work } from 'howdah';
import { expect, vi } from 'vitest';
import { makeFolder, runCli, startCli } from '../support/cli.js';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

test('receive prints JSON lines; complete, fail, extend and release settle by receipt', async ({
  url,
}) => {
  const client = createClient({ url });
  await client.queues.create('pulled');
  await client.enqueueMany('pulled', [1, 2, 3]);
  const { json, code } = await runCli(['receive', 'pulled', '--max', '3', '--visibility', '5m'], {
    url,
  });
  expect(code).toBe(0);
  expect(json).toMatchObject([{ queue: 'pulled', payload: 1, attempt: 1 }, {}, { payload: 3 }]);
  const [a, b, c] = json.map(({ receipt }) => String(receipt));
  const done = await runCli(['jobs', 'complete', String(a), '--result', '{"ok":true}'], { url });
  expect(done.code).toBe(0);
  expect(await client.jobs.get(String(json[0]?.id))).toMatchObject({ result: { ok: true } });
  const failed = await runCli(['jobs', 'fail', String(b), '--error', 'full', '--json'], { url });
  expect(failed.json).toEqual([{ receipt: b, outcome: 'scheduled' }]);
  const extended = await runCli(['jobs', 'extend', String(c), '--visibility', '1h', '--json'], {
    url,
  });
  const receipt = String(extended.json[0]?.receipt);
  const released = await runCli(['jobs', 'release', receipt, String(a), '--json'], { url });
  expect(released.json).toEqual([
    { receipt, outcome: 'ready' },
    { receipt: a, outcome: 'stale' },
  ]);
  expect(released.code).toBe(4);
  expect((await runCli(['jobs', 'complete', 'nonsense'], { url })).code).toBe(2);
  expect((await runCli(['receive', 'nowhere'], { url })).code).toBe(3);
  expect((await runCli(['receive', 'pulled', '--max', '0'], { url })).code).toBe(2);

  await (await client.receive('pulled'))[0]?.complete();
  const waiting = startCli(['receive', 'pulled', '--wait', '20s'], { url });
  await waitFor(async () => (await client.workers.list()) && (await sleepers(url)) > 0, {
    timeoutMs: 30_000,
  });
  await client.enqueue('pulled', 'late');
  expect((await waiting.exited).code).toBe(0);
  expect(JSON.parse(waiting.stdout)).toMatchObject({ payload: 'late' });
  await client.close();
});

async function sleepers(url: string): Promise<number> {
  const pg = (await import('pg')).default;
  const client = new pg.Client(url);
  await client.connect();
  const { rowCount } = await client.query('select from howdah._sleepers');
  await client.end();
  return rowCount ?? 0;
}

test('workers list, drain and stop: a worker ends with exit code 0', async ({ url }) => {
  const client = createClient({ url });
  await client.queues.create('stopped');
  const folder = makeFolder({
    'handlers.mjs': `import { defineConfig, work } from 'howdah';
      export default defineConfig({ queues: [work('stopped', () => undefined)] });`,
  });
  const start = (name: string) =>
    startCli(['work', '--config', `${folder}/handlers.mjs`, '--name', name], {
      url,
      cwd: `${import.meta.dirname}/../..`,
    });
  const [one, two] = [start('one'), start('two')];
  await waitFor(async () => (await client.workers.list()).length === 2, { timeoutMs: 60_000 });
  const list = await runCli(['workers', 'list', '--json'], { url });
  expect(list.json.map(({ worker }) => worker).sort()).toEqual(['one', 'two']);
  expect((await runCli(['workers', 'drain', 'one'], { url })).code).toBe(0);
  expect((await one.exited).code).toBe(0);
  expect((await runCli(['workers', 'drain', 'one'], { url })).code).toBe(3);
  const stop = await runCli(['workers', 'stop', 'stopped', '--json'], { url });
  expect(stop.json[0]).toMatchObject({ queue: 'stopped', mode: 'one' });
  expect((await two.exited).code).toBe(0);
  await client.close();
});

test('dead-letters groups, redrive by fingerprint and at a rate', async ({ url }) => {
  const client = createClient({ url });
  await client.queues.create('grouped');
  await client.enqueueMany('grouped', [1, 2, 3]);
  const worker = createWorker({
    url,
    queues: [
      work('grouped', (job) => {
        throw new PermanentError(job.payload === 3 ? 'other' : `no user ${job.payload}`);
      }),
    ],
    logger: silentLogger,
  });
  await worker.runOnce();
  const groups = await runCli(['dead-letters', 'groups', '--queue', 'grouped', '--json'], { url });
  expect(groups.json).toMatchObject([{ jobs: 2, queues: ['grouped'] }, { jobs: 1 }]);
  const fingerprint = String(groups.json[0]?.fingerprint);
  const filter = ['--fingerprint', fingerprint, '--rate', '0.01'];
  const preview = await runCli(['dead-letters', 'redrive', ...filter, '--preview', '--json'], {
    url,
  });
  expect(preview.json).toHaveLength(2);
  expect((await runCli(['dead-letters', 'redrive', ...filter], { url })).code).toBe(0);
  const stats = await client.queues.stats('grouped');
  expect(stats[0]).toMatchObject({ ready: 1, scheduled: 1 });
  expect((await runCli(['dead-letters', 'redrive', '--rate', '0', '--yes'], { url })).code).toBe(2);
  await client.close();
});
