import { createClient, createWorker, silentLogger, work } from 'howdah';
import { expect, onTestFinished, vi } from 'vitest';
import { runCli, startCli } from '../support/cli.js';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

test('jobs cancel by filter: counts, preview, no accident', async ({ url }) => {
  const client = createClient({ url });
  onTestFinished(() => client.close());
  await client.queues.create('letters');
  await client.enqueueMany('letters', [{ n: 1 }, { n: 2 }, { n: 2 }]);
  const cancel = (...args: string[]) => runCli(['jobs', 'cancel', ...args, '--json'], { url });
  const preview = await cancel('--queue', 'letters', '--payload', '{"n":2}', '--preview');
  expect(preview.json).toEqual([{ cancelled: 2, requested: 0, refused: [], preview: true }]);
  expect((await cancel('--queue', 'letters', '--limit', '1')).json).toEqual([
    { cancelled: 1, requested: 0, refused: [] },
  ]);
  expect(
    (await cancel('--queue', 'letters', '--state', 'ready', '--reason', 'moved')).json,
  ).toEqual([{ cancelled: 2, requested: 0, refused: [] }]);
  expect((await client.queues.stats('letters'))[0]?.ready).toBe(0);
  for (const args of [
    [],
    ['4711', '--queue', 'letters'],
    ['--queue', 'letters', '--state', 'dead'],
    ['--queue', 'letters', '--older-than', 'x'],
  ]) {
    expect((await cancel(...args)).code, args.join(' ')).toBe(2);
  }
  expect((await cancel('--queue', 'nowhere')).code).toBe(3);
  const unknown = await cancel('987654321');
  expect([unknown.code, unknown.json[0]?.why]).toEqual([
    3,
    'no such job, or no longer in the history',
  ]);
});

test('jobs edit, result, watch and show', async ({ url }) => {
  const client = createClient({ url });
  onTestFinished(() => client.close());
  await client.queues.create('sums', { attempts: 1 });
  const { id } = await client.enqueue('sums', { a: 1 }, { delay: '1h' });
  const edited = await runCli(
    ['jobs', 'edit', id, '--payload', '{"a":41}', '--priority', '5', '--delay', '0', '--json'],
    { url },
  );
  expect(edited.json).toEqual([{ id, state: 'ready' }]);
  expect(await client.jobs.get(id)).toMatchObject({ payload: { a: 41 }, priority: 5 });
  const late = await runCli(['jobs', 'result', id, '--timeout', '50ms'], { url });
  expect([late.code, late.stderr]).toEqual([1, expect.stringContaining('HOWDAH_TIMEOUT')]);

  const watching = startCli(['jobs', 'watch', id], { url });
  await waitFor(() => watching.stdout.includes('"ready"'), {
    what: 'the watch',
    timeoutMs: 30_000,
  });
  const worker = createWorker({
    url,
    queues: [
      work('sums', ({ payload }, { progress, log }) => {
        const { a } = payload as { a: number };
        progress({ percent: 50 });
        log.info('adding', { a });
        return { sum: a + 1 };
      }),
    ],
    logger: silentLogger,
  });
  await worker.runOnce();
  const result = await runCli(['jobs', 'result', id], { url });
  expect([result.stderr, ...result.json]).toEqual(['', { sum: 42 }]);
  expect((await watching.exited).code).toBe(0);
  const reports = watching.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
  expect(reports.at(-1)).toMatchObject({ id, state: 'completed', progress: { percent: 50 } });
  const shown = await runCli(['jobs', 'show', id, '--json'], { url });
  expect(shown.json[0]).toMatchObject({
    progress: { percent: 50 },
    logs: [{ level: 'info', message: 'adding', fields: { a: 41 }, attempt: 1 }],
  });
  const ended = await runCli(['jobs', 'edit', id, '--priority', '1'], { url });
  expect([ended.code, ended.stderr]).toEqual([1, expect.stringContaining('HOWDAH_JOB_ENDED')]);
  expect((await runCli(['jobs', 'edit', id], { url })).code).toBe(2);
  expect((await runCli(['jobs', 'edit', '987654321', '--delay', '0'], { url })).code).toBe(3);
  expect((await runCli(['jobs', 'watch', '987654321'], { url })).code).toBe(3);
});
