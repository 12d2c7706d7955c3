import { createClient } from 'howdah';
import type pg from 'pg';
import { describe, expect, vi } from 'vitest';
import { makeFolder, runCli, startCli } from '../support/cli.js';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

/** Handlers in TypeScript: the payload says what they do. */
const CONFIG = `
import { defineConfig, HowdahError, type JobContext, PermanentError, queue, snooze, work } from 'howdah';

enum Act { Ok = 'ok', Hang = 'hang', Polite = 'polite', Fail = 'fail', Dead = 'dead', Exit = 'exit', Throw = 'throw', Reject = 'reject' }
interface Payload { act: Act; ms?: number }
const acts = queue<Payload>('acts', { attempts: 5 });

async function handle({ payload }: { payload: Payload }, context: JobContext): Promise<unknown> {
  console.log('begin ' + payload.act);
  switch (payload.act) {
    case Act.Hang: await new Promise(() => {}); break;
    case Act.Polite:
      await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      throw context.signal.reason;
    case Act.Fail: throw new Error('no luck');
    case Act.Dead: throw new PermanentError('never again');
    case Act.Exit: process.exit(0);
    case Act.Throw: setTimeout(() => { throw new Error('thrown later'); }, 1); break;
    case Act.Reject: void Promise.reject(new Error('rejected later')); break;
    default: await new Promise((resolve) => setTimeout(resolve, payload.ms ?? 0));
  }
  return null;
}

export default defineConfig({
  poll: '200ms',
  queues: [work(acts, handle as never, { concurrency: 20 }), work('other', () => undefined)],
});
`;

async function enqueue(url: string, payloads: object[]): Promise<string[]> {
  const client = createClient({ url });
  await client.queues.create('acts');
  await client.queues.create('other');
  const { ids } = await client.enqueueMany('acts', payloads);
  await client.close();
  return ids as string[];
}

async function stateOf(pool: pg.Pool, id: string): Promise<{ state: string; attempt: number }> {
  const { rows } = await pool.query('select state, attempt from howdah.jobs where id = $1', [id]);
  return rows[0];
}

describe('howdah work', () => {
  test('SIGTERM: what runs may finish, then is released; each is told of', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    const [slow = '', hung = '', polite = ''] = await enqueue(url, [
      { act: 'ok', ms: 1_500 },
      { act: 'hang' },
      { act: 'polite' },
    ]);
    const cwd = makeFolder({ 'howdah.config.ts': CONFIG });
    const worker = startCli(['work', '--grace', '5s'], { url, cwd });
    for (const act of ['ok', 'hang', 'polite']) await worker.waitForOutput(`begin ${act}`);
    const client = createClient({ url });
    const [before = ''] = await enqueue(url, [{ act: 'ok' }]);
    await client.result(before);
    worker.kill('SIGTERM');
    expect((await worker.exited).code).toBe(0);
    expect(worker.stdout).toContain('SIGTERM: stopping (jobs running: 3)');
    expect(worker.stdout).toMatch(new RegExp(`job ${slow} of acts, attempt 1: completed after `));
    expect(worker.stdout).toMatch(new RegExp(`job ${hung} of acts, attempt 1: released after `));
    expect(worker.stdout).toMatch(new RegExp(`job ${polite} of acts, attempt 1: released after `));
    expect(worker.stdout).toContain(
      'stopped (SIGTERM): while stopping 1 completed, 0 failed, 2 released',
    );
    expect(worker.stdout).toContain('since its start: 2 completed, 0 failed, 2 released');
    expect(await client.jobs.get(slow)).toMatchObject({ state: 'completed', attempt: 1 });
    expect(await client.jobs.get(hung)).toMatchObject({ state: 'ready', attempt: 0 });
    await client.close();
  });

  test('a second signal hurries, a third ends the process', async ({ createDatabase }) => {
    const url = await createDatabase('migrated');
    const [hung = ''] = await enqueue(url, [{ act: 'hang' }]);
    const cwd = makeFolder({ 'howdah.config.ts': CONFIG });
    const worker = startCli(['work', '--grace', '1h', '--json'], { url, cwd });
    await worker.waitForOutput('begin hang');
    worker.kill('SIGINT');
    await worker.waitForOutput('"event":"stopping"');
    worker.kill('SIGTERM');
    expect((await worker.exited).code).toBe(0);
    expect(worker.stdout).toMatch(new RegExp(`"event":"job","id":"${hung}".*"outcome":"released"`));
    expect(worker.stdout).toContain('"event":"stopped","why":"SIGINT"');

    const other = startCli(['work', '--grace', '1h'], { url, cwd });
    await other.waitForOutput('begin hang');
    for (let sent = 0; sent < 3; sent += 1) other.kill('SIGINT');
    await waitFor(() => {
      if (other.isRunning) other.kill('SIGINT');
      return !other.isRunning;
    });
    expect([0, 130]).toContain((await other.exited).code);
  });

  test('--once with filters; --no-maintain', async ({ createDatabase }) => {
    const url = await createDatabase('migrated');
    const [good = '', bad = '', dead = ''] = await enqueue(url, [
      { act: 'ok' },
      { act: 'fail' },
      { act: 'dead' },
    ]);
    const cwd = makeFolder({ 'howdah.config.ts': CONFIG });
    const idle = await runCli(['work', '--once', '--queue', 'other', '--json'], { url, cwd });
    expect([idle.code, idle.json.at(-1)]).toMatchObject([0, { completed: 0, isDrained: true }]);
    const args = [
      'work',
      '--once',
      '--queue',
      'acts',
      '--concurrency',
      '1',
      '--no-maintain',
      '--json',
    ];
    const { code, stdout } = await runCli(args, { url, cwd });
    expect(code).toBe(0);
    expect(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
      completed: 1,
      failed: 1,
      dead: 1,
      isDrained: true,
    });
    const client = createClient({ url });
    const states = await Promise.all([good, bad, dead].map((id) => client.jobs.get(id)));
    expect(states.map((job) => job?.state)).toEqual(['completed', 'scheduled', 'dead']);
    await client.close();
  });

  test('leftovers of handlers: a rejection is logged, an exception stops the worker', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    await enqueue(url, [{ act: 'reject' }]);
    const cwd = makeFolder({ 'howdah.config.ts': CONFIG });
    const worker = startCli(['work', '--grace', '1s'], { url, cwd });
    await worker.waitForOutput('process.unhandled-rejection');
    expect(worker.isRunning).toBe(true);
    await enqueue(url, [{ act: 'throw' }]);
    await worker.waitForOutput('process.uncaught-exception');
    expect((await worker.exited).code).toBe(1);
    expect(worker.stderr).toContain('rejected later');
    expect(worker.stderr).toContain('thrown later');
    expect(worker.stdout).toContain('stopped (an exception that nobody caught)');
  });

  test('process.exit in a handler: the jobs that ran are named, and run elsewhere', async ({
    url,
    pool,
  }) => {
    const [hung = ''] = await enqueue(url, [{ act: 'hang' }]);
    const cwd = makeFolder({ 'howdah.config.ts': CONFIG });
    const worker = startCli(['work', '--lease', '1s'], { url, cwd });
    await worker.waitForOutput('begin hang');
    const [exiting = ''] = await enqueue(url, [{ act: 'exit' }]);
    expect((await worker.exited).code).toBe(1);
    expect(worker.stderr).toContain('the process ends without stopping its worker');
    expect(worker.stderr).toContain(`acts/${hung}#1`);
    expect(worker.stderr).toContain(`acts/${exiting}#1`);
    await pool.query('select howdah.cancel($1)', [[exiting]]);
    const second = startCli(['work', '--lease', '1s', '--grace', '0'], { url, cwd });
    await second.waitForOutput('begin hang');
    expect(await stateOf(pool, hung)).toEqual({ state: 'running', attempt: 2 });
    second.kill('SIGTERM');
    expect((await second.exited).code).toBe(0);
  });
});

describe('files that cannot be used', () => {
  test('are named, and what to write instead', async () => {
    const cwd = makeFolder({ 'empty.ts': 'export const x: number = 1;' });
    const { code, stderr } = await runCli(['work', '--config', 'empty.ts'], { cwd });
    expect(code).toBe(2);
    expect(stderr).toContain('error HOWDAH_HANDLER_INVALID: empty.ts has no default export.\n');
    expect(stderr).toContain('export default defineConfig(');
  });

  test('no file; unknown queue; unknown database queue', async ({ createDatabase }) => {
    const url = await createDatabase('migrated');
    const empty = await runCli(['work'], { cwd: makeFolder({}), url });
    expect([empty.code, empty.stderr]).toEqual([2, expect.stringContaining('--config FILE')]);
    const cwd = makeFolder({ 'howdah.config.ts': CONFIG });
    const filter = await runCli(['work', '--queue', 'nope'], { cwd, url });
    expect([filter.code, filter.stderr]).toEqual([2, expect.stringContaining('acts, other')]);
    const missing = await runCli(['work'], { cwd, url });
    expect([missing.code, missing.stderr]).toEqual([
      3,
      expect.stringContaining('error HOWDAH_QUEUE_UNKNOWN'),
    ]);
  });
});
