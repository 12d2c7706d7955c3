import { createClient, work } from 'howdah';
import { expect, onTestFinished } from 'vitest';
import { runCli } from '../support/cli.js';
import { test } from '../support/client.js';
import { createQueue, enqueue, makeWorker, readJob } from '../support/workers.js';

const FILE = new URL('../support/scripts/file-handler.mjs', import.meta.url);
/** Whoever owns the tables can store it; our functions refuse it. */
const DEEP = `(repeat('[', 5000) || repeat(']', 5000))::jsonb`;
const FAILS = { max_attempts: 2, backoff: 'fixed', backoff_ms: 0 };

test.for([{ threads: 1 }, { processes: 1 }])(
  'a job stored deeper than a client takes is dead at once, and handlers of files go on: %j',
  async (size, { url, pool }) => {
    const name = await createQueue(pool, FAILS);
    const [before, deep, headed, after] = await enqueue(pool, name, [
      { payload: { do: 'returns', value: 1 } },
      { payload: {} },
      { payload: {}, headers: { a: 1 } },
      { payload: { do: 'returns', value: 2 } },
    ]);
    await pool.query(`update howdah._jobs set payload = ${DEEP} where id = $1`, [deep]);
    await pool.query(
      `update howdah._jobs set headers = jsonb_build_object('a', ${DEEP}) where id = $1`,
      [headed],
    );
    const { worker } = makeWorker({ url, queues: [work(name, { file: FILE, ...size })] });
    expect(await worker.runOnce()).toMatchObject({ completed: 2, dead: 2 });
    for (const id of [deep, headed]) {
      expect(await readJob(pool, id as string)).toMatchObject({
        state: 'dead',
        errors: [{ code: 'HOWDAH_PAYLOAD_INVALID', attempt: 1 }],
      });
    }
    for (const id of [before, after]) {
      expect(await readJob(pool, id as string)).toMatchObject({ state: 'completed' });
    }
  },
);

test('it is handed to handlers of this process and by receive(), and its result comes', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool, FAILS);
  const ids = await enqueue(pool, name, [{ payload: 1 }, { payload: 2 }]);
  await pool.query(`update howdah._jobs set payload = ${DEEP} where id = any ($1)`, [ids]);
  const client = createClient({ url });
  onTestFinished(() => client.close());
  const [job] = await client.receive(name, { max: 1 });
  expect(job?.payload).toBeInstanceOf(Array);
  await job?.complete('received');
  const { worker } = makeWorker({ url, queues: [work(name, () => 'worked')] });
  expect(await worker.runOnce()).toMatchObject({ completed: 1, failed: 0 });
  expect((await client.jobs.get(ids[1] as string))?.result).toBe('worked');
});

test('the command line shows it up to the depth that is taken', { timeout: 120_000 }, async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool, FAILS);
  const [dead, waiting] = await enqueue(pool, name, [{ payload: 1 }, { payload: 2 }]);
  const { worker } = makeWorker({
    url,
    queues: [
      work(name, ({ payload }) => Promise.reject(new Error(`no ${String(payload)}`)), {
        concurrency: 1,
      }),
    ],
  });
  await worker.runOnce();
  await pool.query(`update howdah._jobs set payload = ${DEEP} where id = any ($1)`, [
    [dead, waiting],
  ]);
  for (const args of [
    ['dead-letters', 'list', '--queue', name, '--json'],
    ['dead-letters', 'list', '--queue', name],
    ['jobs', 'show', dead as string, '--json'],
    ['jobs', 'show', dead as string],
    ['jobs', 'list', '--queue', 'dead-letters', '--json'],
  ]) {
    const { code, stdout, stderr } = await runCli(args, { url });
    expect({ code, stderr }, args.join(' ')).toEqual({ code: 0, stderr: '' });
    if (args[0] === 'dead-letters' && args.includes('--json')) {
      expect(stdout).toContain('nested deeper than 500 levels');
    }
  }
});
