import { type Logger, queue, silentLogger, work } from 'howdah';
import type pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import { codeOf, errorOf, test } from '../support/client.js';
import { waitFor } from '../support/wait-for.js';
import { ROOT, spawnScript } from '../support/worker-process.js';
import {
  createQueue,
  enqueue,
  heard,
  makeWorker,
  readJob,
  startWorker,
  type TestWorker,
  waitForState,
} from '../support/workers.js';

const SCRIPTS = new URL('../support/scripts/', import.meta.url);
const FILE = new URL('file-handler.mjs', SCRIPTS);
const KINDS = [
  { kind: 'thread', size: { threads: 2 } },
  { kind: 'process', size: { processes: 2 } },
] as const;

/** Enqueues one job that does this. */
async function order(pool: pg.Pool, name: string, what: string, more = {}): Promise<string> {
  const [id] = await enqueue(pool, name, [{ payload: { do: what, ...more } }]);
  return id as string;
}

test('a thread whose heap is full fails its attempt, or V8 ends the process: the job runs again either way', {
  timeout: 90_000,
}, async ({ url, pool }) => {
  const name = await createQueue(pool, { backoff_ms: 1 });
  const program = JSON.stringify({ url, queue: name, memoryMb: 64 });
  let isOver = false;
  let deaths = 0;
  let said = '';
  const supervise = async (): Promise<void> => {
    while (!isOver) {
      const child = spawnScript(`${ROOT}test/support/scripts/thread-worker.mjs`, [program]);
      await waitFor(() => isOver || !child.isRunning, { timeoutMs: 80_000 });
      if (child.isRunning) child.kill('SIGKILL');
      await child.exited;
      said += child.stdout;
      if (!isOver) deaths += 1;
    }
  };
  const supervising = supervise();
  onTestFinished(() => {
    isOver = true;
  });
  const id = await order(pool, name, 'exhaustsMemory');
  const { result, errors } = await waitForState(pool, id, 'completed', 70_000);
  isOver = true;
  await supervising;
  expect(result).toBe('second attempt');
  expect(errors).toMatchObject([
    deaths === 0 ? { code: 'HOWDAH_HANDLER_CRASHED' } : { name: 'LeaseExpired' },
  ]);
  if (deaths === 0) expect(said).toContain('ran out of memory (memoryMb is 64)');
});

describe.each(KINDS)('a handler file run in a $kind', ({ kind, size }) => {
  async function start(
    url: string,
    name: string,
    options: { readonly memoryMb?: number; readonly logger?: Logger } = {},
  ): Promise<TestWorker> {
    const { memoryMb, logger = silentLogger } = options;
    return startWorker({
      url,
      logger,
      queues: [work(name, { file: FILE, ...size, ...(memoryMb ? { memoryMb } : {}) })],
    });
  }

  test('gets the job, runs elsewhere, and its results and outcomes come back', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { backoff_ms: 60_000 });
    const worker = await start(url, name);
    const job = await order(pool, name, 'seesJob');
    expect((await waitForState(pool, job, 'completed')).result).toEqual({
      id: job,
      queue: name,
      attempt: 1,
      headers: {},
      isDate: true,
    });
    const where = await order(pool, name, 'where');
    const { result } = await waitForState(pool, where, 'completed');
    const { pid, isMainThread } = result as { pid: number; isMainThread: boolean };
    expect(pid === process.pid).toBe(kind === 'thread');
    expect(isMainThread).toBe(kind === 'process');
    const empty = await order(pool, name, 'returns');
    expect((await waitForState(pool, empty, 'completed')).result).toBeNull();
    const bigInt = await order(pool, name, 'returnsBigInt');
    expect((await waitForState(pool, bigInt, 'completed')).result).toMatchObject({
      howdah: 'result not stored',
    });
    expect((await heard(worker, 'job.result-replaced')).job.id).toBe(bigInt);

    await waitForState(pool, await order(pool, name, 'snoozes'), 'scheduled');
    const retried = await waitForState(pool, await order(pool, name, 'retries'), 'scheduled');
    expect(retried.errors).toMatchObject([{ message: 'not yet' }]);
    const dead = await waitForState(pool, await order(pool, name, 'deadLetters'), 'dead');
    expect(dead.reason).toBe('no use');
    const permanent = await waitForState(pool, await order(pool, name, 'throwsPermanent'), 'dead');
    expect(permanent.errors).toMatchObject([{ name: 'PermanentError', message: 'never' }]);
    const thrown = await waitForState(pool, await order(pool, name, 'throws'), 'scheduled');
    expect(thrown.errors).toMatchObject([
      { name: 'TypeError', message: 'broken', code: 'E_BROKEN', attempt: 1 },
    ]);
    const refused = await waitForState(pool, await order(pool, name, 'completesIn'), 'scheduled');
    expect(refused.errors).toMatchObject([{ code: 'HOWDAH_TRANSACTION_INVALID' }]);
    await order(pool, name, 'throwsRateLimited');
    expect((await heard(worker, 'job.rate-limited')).waitMs).toBeGreaterThan(3_000_000);
  });

  test('what it logs reaches the logger of the worker', async ({ url, pool }) => {
    const lines: [string, object | undefined][] = [];
    const note = (message: string, fields?: object): void => void lines.push([message, fields]);
    const name = await createQueue(pool);
    await start(url, name, { logger: { ...silentLogger, info: note, warn: note } });
    const id = await order(pool, name, 'logs');
    await waitForState(pool, id, 'completed');
    const about = { jobId: id, queue: name, attempt: 1 };
    expect(lines).toContainEqual(['from afar', { ...about, answer: 42 }]);
    expect(lines).toContainEqual(['with a function', { ...about, fields: 'not serialisable' }]);
  });

  test('as many jobs run at once as there are, and the worker is not held up', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    await start(url, name);
    const ids = await enqueue(
      pool,
      name,
      [1, 2].map(() => ({ payload: { do: 'blocks', ms: 400 } })),
    );
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 10);
    for (const id of ids) await waitForState(pool, id, 'completed');
    clearInterval(timer);
    expect(turns).toBeGreaterThan(10);
  });

  test('a time-out ends the code, and the next job runs', async ({ url, pool }) => {
    const name = await createQueue(pool, { timeout_ms: 300, max_attempts: 1 });
    const worker = await start(url, name);
    const ids = await enqueue(
      pool,
      name,
      [1, 2, 3].map(() => ({ payload: { do: 'spins' } })),
    );
    for (const id of ids) {
      const { errors } = await waitForState(pool, id, 'dead');
      expect(errors).toMatchObject([{ code: 'HOWDAH_JOB_TIMEOUT', attempt: 1 }]);
    }
    const after = await order(pool, name, 'returns', { value: 'still here' });
    expect((await waitForState(pool, after, 'completed')).result).toBe('still here');
    const types = worker.events.map(({ type }) => type);
    expect(types.filter((type) => type === 'job.timed-out')).toHaveLength(3);
    expect(types).not.toContain('handler.leaked');
    expect(types).not.toContain('handler.crashed');
  });

  test('the start of what replaces it is not counted as the time of a job', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool, { timeout_ms: 600, max_attempts: 1 });
    const file = new URL('slow-to-load.mjs', SCRIPTS);
    await startWorker({ url, queues: [work(name, { file, ...size })] });
    await waitForState(pool, await order(pool, name, 'spins'), 'dead');
    const returning = { payload: { do: 'returns', value: 'in time' } };
    for (const id of await enqueue(pool, name, Array(4).fill(returning))) {
      expect((await waitForState(pool, id, 'completed')).result).toBe('in time');
    }
  });

  test('a cancel reaches the signal, and ends a handler that does not heed it', async ({
    url,
    pool,
    client,
  }) => {
    const name = await createQueue(pool);
    const worker = await start(url, name);
    for (const what of ['waitsForAbort', 'ignoresAbort', 'spins']) {
      const id = await order(pool, name, what);
      await waitForState(pool, id, 'running');
      await client.jobs.cancel(id);
      await waitForState(pool, id, 'cancelled');
    }
    const after = await order(pool, name, 'returns', { value: 1 });
    await waitForState(pool, after, 'completed');
    expect(worker.events.map(({ type }) => type)).not.toContain('handler.leaked');
  });

  test('a shutdown gives back what does not end, and ends its code', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = await start(url, name);
    const ids = await enqueue(pool, name, [
      { payload: { do: 'spins' } },
      { payload: { do: 'waitsForAbort' } },
    ]);
    for (const id of ids) await waitForState(pool, id, 'running');
    expect(await worker.stop({ grace: 0 })).toMatchObject({ released: 2, aborted: 2 });
    for (const id of ids) {
      expect(await readJob(pool, id)).toMatchObject({ state: 'ready', attempt: 0 });
    }
  });

  test.for(
    kind === 'thread'
      ? ['exits', 'throwsInTimer']
      : ['exits', 'throwsInTimer', 'exhaustsMemory', 'aborts', 'segfaults'],
  )('%s: only that attempt fails', async (what, { url, pool }) => {
    const name = await createQueue(pool, { backoff_ms: 1 });
    const worker = await start(url, name, { memoryMb: 64 });
    const neighbour = await order(pool, name, 'blocks', { ms: 500 });
    const id = await order(pool, name, what);
    expect(await waitForState(pool, id, 'completed', 20_000)).toMatchObject({
      attempt: 2,
      result: 'second attempt',
      errors: [{ code: 'HOWDAH_HANDLER_CRASHED', attempt: 1 }],
    });
    expect(await waitForState(pool, neighbour, 'completed')).toMatchObject({ attempt: 1 });
    const { job, reason } = await heard(worker, 'handler.crashed');
    expect(job).toMatchObject({ id, attempt: 1 });
    if (what === 'exits') expect(reason).toContain('exited with code 7');
    if (what === 'exhaustsMemory') expect(reason).toContain('ran out of memory (memoryMb is 64)');
    if (what === 'throwsInTimer' && kind === 'thread') expect(reason).toContain('in a timer');
    if (what === 'segfaults') expect(reason).toContain('SIGSEGV');
  });

  test('the lease is kept while the code runs longer than that', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const worker = await startWorker({
      url,
      lease: '1s',
      queues: [work(name, { file: FILE, ...size })],
    });
    const id = await order(pool, name, 'blocks', { ms: 2_500 });
    expect(await waitForState(pool, id, 'completed')).toMatchObject({ attempt: 1 });
    expect(worker.events.map(({ type }) => type)).not.toContain('lease.lost');
  });

  test('payloads pass the schema before, and fail where they cannot be copied', async ({
    url,
    pool,
    client,
  }) => {
    const schema = z.object({ do: z.string(), value: z.coerce.date() });
    const dated = queue(`dated-${kind}`, { schema, attempts: 1 });
    const broken = queue(`broken-${kind}`, {
      schema: z.object({}).transform(() => ({ value: () => 1 })),
      attempts: 1,
    });
    await startWorker({
      url,
      queues: [dated, broken].map((each) => work(each, { file: FILE, ...size })),
    });
    const { id } = await client.enqueue(dated, { do: 'returns', value: new Date(0) });
    expect((await waitForState(pool, id, 'completed')).result).toBe('1970-01-01T00:00:00.000Z');
    const bad = await client.enqueue(broken, {});
    expect((await waitForState(pool, bad.id, 'dead')).errors).toMatchObject([
      { code: 'HOWDAH_HANDLER_INVALID' },
    ]);
  });

  test.for([
    { file: 'missing.mjs', says: 'does not exist' },
    { file: 'throws.mjs', says: 'not today' },
    { file: 'exits.mjs', says: 'exited with code 3 while it was loaded' },
    { file: 'exports-nothing.mjs', says: 'exports nothing' },
    { file: 'exports-other.mjs', says: 'exports other, and no handler' },
  ])('a file that is no use: $file $says', async ({ file, says }, { url, pool }) => {
    const name = await createQueue(pool);
    const { worker } = makeWorker({
      url,
      name: `of no use: ${kind} ${file}`,
      queues: [work(name, { file: new URL(`handler-files/${file}`, SCRIPTS), ...size })],
    });
    const error = await errorOf(worker.start());
    expect(error.code).toBe('HOWDAH_HANDLER_INVALID');
    expect(error.message).toContain(says);
    expect(error.remedy).toBeTruthy();
    expect(error.message.endsWith(error.remedy as string)).toBe(true);
    const { rows } = await pool.query('select 1 from howdah.workers where worker = $1', [
      worker.name,
    ]);
    expect(rows).toEqual([]);
  });

  test.for(['named.mjs', 'commonjs.cjs'])('%s is found', async (file, { url, pool, client }) => {
    const name = await createQueue(pool);
    const { worker } = makeWorker({
      url,
      queues: [work(name, { file: new URL(`handler-files/${file}`, SCRIPTS), ...size })],
    });
    const { id } = await client.enqueue(name, {});
    expect(await worker.runOnce()).toMatchObject({ completed: 1, isDrained: true });
    const { result } = await readJob(pool, id);
    expect(result).toBe(file === 'named.mjs' ? 'named' : 'from CommonJS');
  });
});

test('in a thread, looking at the signal tells of a cancel without an event loop', async ({
  url,
  pool,
  client,
}) => {
  const name = await createQueue(pool);
  const made = await startWorker({ url, queues: [work(name, { file: FILE, threads: 1 })] });
  const id = await order(pool, name, 'looksAtSignal');
  await heard(made, 'job.started'); // it is running for the database before the worker has it
  expect(await made.worker.stop({ grace: 0 })).toMatchObject({ aborted: 1, completed: 1 });
  expect((await readJob(pool, id)).result).toEqual({ told: 'HOWDAH_SHUTDOWN' });
  await client.close();
});

test('processes end with their worker, even when it is killed', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const host = spawnScript(`${ROOT}test/support/scripts/file-worker.mjs`, [
    JSON.stringify({ url, queue: name, file: FILE.href }),
  ]);
  await host.waitForOutput('ready');
  const where = await order(pool, name, 'where');
  const { result } = await waitForState(pool, where, 'completed');
  const { pid } = result as { pid: number };
  const spinning = await order(pool, name, 'spins');
  await waitForState(pool, spinning, 'running');
  host.kill('SIGKILL');
  await waitFor(() => !isAlive(pid), { timeoutMs: 10_000, what: `process ${pid} to end` });
});

test('a Ctrl-C, which reaches the processes too, lets their jobs finish', async ({ url, pool }) => {
  const name = await createQueue(pool);
  const host = spawnScript(
    `${ROOT}test/support/scripts/file-worker.mjs`,
    [JSON.stringify({ url, queue: name, file: FILE.href })],
    { isGroup: true },
  );
  await host.waitForOutput('ready');
  const id = await order(pool, name, 'blocks', { ms: 1_000 });
  await waitForState(pool, id, 'running');
  host.kill('SIGINT');
  expect(await host.exited).toEqual({ code: 0, signal: null });
  expect(await readJob(pool, id)).toMatchObject({ state: 'completed', attempt: 1 });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('bad options are refused at once', async () => {
  const file = FILE;
  const refused = async (options: object, more?: object): Promise<string> =>
    codeOf(Promise.resolve().then(() => work('q', options as never, more as never)));
  for (const options of [
    { file, threads: 0 },
    { file, threads: 257 },
    { file, threads: 1.5 },
    { file, processes: -1 },
    { file, threads: 1, processes: 1 },
    { file, memoryMb: 8 },
    { file, memory: '1g' },
  ]) {
    expect(await refused(options), JSON.stringify(options)).toBe('HOWDAH_OPTION_INVALID');
  }
  expect(await refused({ file }, { concurrency: 3 })).toBe('HOWDAH_OPTION_INVALID');
  expect(await refused({ file }, { batch: { size: 3 } })).toBe('HOWDAH_OPTION_INVALID');
  for (const bad of ['', 7, new URL('http://example.com/x.js')]) {
    expect(await refused({ file: bad })).toBe('HOWDAH_HANDLER_INVALID');
  }
  expect(work('q', { file }).concurrency).toBeGreaterThan(0);
});
