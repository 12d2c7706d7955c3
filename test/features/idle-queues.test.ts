import { createClient, type WorkerOptions, work } from 'howdah';
import type pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { waitFor } from '../support/wait-for.js';
import {
  createQueue,
  enqueue,
  heard,
  startWorker,
  type TestWorker,
  waitForState,
} from '../support/workers.js';

const WINDOW_MS = 10_000;
/** Statements in a window: 2 a second, whether a worker leads the upkeep or not. */
const IDLE_MAX = 2 * (WINDOW_MS / 1_000);

let made = 0;

/** Creates queues of a test of its own. @returns their names */
async function createQueues(pool: pg.Pool, count: number): Promise<string[]> {
  made += 1;
  const names = Array.from({ length: count }, (_, n) => `many${made}-${n}`);
  await pool.query('select howdah.create_queue(q) from unnest($1::text[]) q', [names]);
  return names;
}

interface Idle {
  readonly worker: TestWorker;
  readonly proxy: FaultProxy;
}

/** A worker of these queues behind a proxy, which has told the database that it sleeps. */
async function startIdle(
  url: string,
  pool: pg.Pool,
  names: readonly string[],
  options: Pick<WorkerOptions, 'maintain' | 'poll'> & { readonly delayMs?: number } = {},
): Promise<Idle> {
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const { delayMs = 0, ...rest } = options;
  proxy.delay(delayMs);
  const worker = await startWorker({
    url: proxy.url,
    queues: names.map((name) => work(name, () => undefined)),
    ...rest,
  });
  await heard(worker, 'listener.hearing', 30_000);
  const asleep = `select count(*)::integer as n from howdah._sleepers s
    join howdah._queues q on q.id = s.queue_id where q.name = any ($1)`;
  await waitFor(async () => (await pool.query(asleep, [names])).rows[0].n === names.length, {
    timeoutMs: 20_000,
    what: 'every queue to sleep',
  });
  return { worker, proxy };
}

/** Waits for a window with no more statements than that: late looks are over by then. */
async function expectRest({ proxy }: Pick<Idle, 'proxy'>, most: number): Promise<void> {
  const seen: number[] = [];
  const isQuiet = async (): Promise<boolean> => {
    const before = proxy.requests;
    await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
    seen.push(proxy.requests - before);
    return (seen.at(-1) ?? 0) <= most;
  };
  await waitFor(isQuiet, { timeoutMs: 45_000 }).catch((cause) => {
    throw new Error(`statements in each ${WINDOW_MS} ms: ${seen.join()}`, { cause });
  });
}

test.for([{ count: 2_000 }, { count: 3, delayMs: 1 }])(
  'an idle worker of $count queues rests',
  { timeout: 90_000 },
  async ({ count, delayMs = 0 }, { url, pool }) => {
    const names = await createQueues(pool, count);
    await expectRest(await startIdle(url, pool, names, { maintain: false, delayMs }), IDLE_MAX);
  },
);

/** What becomes due while the upkeep rests, and of which no notification tells, is done about in time all the same. */
async function expectUpkeep(pool: pg.Pool): Promise<void> {
  const [queue, paused] = [await createQueue(pool), await createQueue(pool)];
  const [pulled] = await enqueue(pool, queue);
  await pool.query('select * from howdah.receive($1, 1, 1000)', [queue]);
  const [delayed, expiring] = await enqueue(pool, queue, [{ delay_ms: 1_000 }, { ttl_ms: 1_000 }]);
  await pool.query("select howdah.pause_queue($1, null, howdah.clock() + interval '1 second')", [
    paused,
  ]);
  await pool.query('select howdah.put_schedule($1, $2::jsonb)', [
    queue,
    JSON.stringify({ cron: '* * * * *', queue }),
  ]);
  const has = (text: string, name: string) =>
    waitFor(async () => (await pool.query(text, [name])).rows.length > 0, { what: text });
  await Promise.all([
    waitForState(pool, pulled, 'ready', 10_000),
    waitForState(pool, delayed, 'ready', 10_000),
    waitForState(pool, expiring, 'expired', 10_000),
    has('select from howdah._queues where name = $1 and paused_at is null', paused),
    has('select from howdah._schedules where name = $1 and due_at > howdah.clock()', queue),
    has(
      'select from howdah._counters join howdah._queues on id = queue_id where name = $1 and expired > 0',
      queue,
    ),
  ]);
}

test.for([{ count: 1 }, { count: 2_000 }])(
  'one of $count queues that leads the upkeep rests as well, and wakes for what is due',
  { timeout: 90_000 },
  async ({ count }, { url, pool }) => {
    const idle = await startIdle(url, pool, await createQueues(pool, count));
    await heard(idle.worker, 'maintenance.leading');
    await expectRest(idle, IDLE_MAX);
    idle.proxy.dropNotifications();
    await expectUpkeep(pool);
  },
);

test('a job of any of 2,000 idle queues begins at once, for a ring names its queue', {
  timeout: 90_000,
}, async ({ url, pool }) => {
  const names = await createQueues(pool, 2_000);
  const { worker } = await startIdle(url, pool, names, { poll: '1h', maintain: false });
  for (const at of [0, 700, 1_234, 1_999]) {
    const [id] = await enqueue(pool, names[at] ?? '');
    await waitForState(pool, id, 'completed', 5_000);
  }
  // several at a time, and one that was enqueued before and is committed only now
  const client = await pool.connect();
  await client.query('begin');
  const late = await enqueue(client, names[5] ?? '');
  const ids = await Promise.all(
    names.slice(100, 140).map(async (name) => (await enqueue(pool, name))[0]),
  );
  for (const id of ids) await waitForState(pool, id, 'completed', 10_000);
  await client.query('commit');
  client.release();
  await waitForState(pool, late[0], 'completed', 10_000);
  expect(worker.events.filter(({ type }) => type === 'claim.failed')).toEqual([]);
});

test('whose notification is lost begins with the poll', { timeout: 90_000 }, async ({
  url,
  pool,
}) => {
  const names = await createQueues(pool, 2_000);
  const { worker, proxy } = await startIdle(url, pool, names, { poll: '1s', maintain: false });
  proxy.dropNotifications();
  for (const at of [3, 1_500]) {
    const [id] = await enqueue(pool, names[at] ?? '');
    await waitForState(pool, id, 'completed', 6_000);
  }
  // and while it is known that it hears nothing
  await heard(worker, 'listener.deaf', 20_000);
  const [id] = await enqueue(pool, names[900] ?? '');
  await waitForState(pool, id, 'completed', 6_000);
});

test('one busy queue leaves the bells of the others alone', { timeout: 60_000 }, async ({
  url,
  pool,
}) => {
  const names = await createQueues(pool, 40);
  const [busy = '', ...others] = names;
  const { worker } = await startIdle(url, pool, names, { poll: '1h', maintain: false });
  const sleepers = async (): Promise<string[]> => {
    const { rows } = await pool.query(
      `select q.name from howdah._sleepers s join howdah._queues q on q.id = s.queue_id
      where q.name = any ($1)`,
      [names],
    );
    return rows.map(({ name }) => name);
  };
  let isFeeding = true;
  const feeders = Array.from({ length: 3 }, async () => {
    while (isFeeding) {
      await enqueue(
        pool,
        busy,
        Array.from({ length: 200 }, () => ({})),
      );
    }
  });
  // on a machine with more to do than it can, its finds are too far apart to keep it awake
  const isAwake = async (): Promise<boolean> => !(await sleepers()).includes(busy);
  await waitFor(isAwake, { timeoutMs: 5_000, intervalMs: 5 }).catch(() => undefined);
  expect((await sleepers()).filter((name) => name !== busy).sort()).toEqual([...others].sort());
  const [id] = await enqueue(pool, others[7] ?? '');
  await waitForState(pool, id, 'completed', 10_000);
  isFeeding = false;
  await Promise.all(feeders);
  await waitFor(async () => (await sleepers()).length === names.length, { timeoutMs: 20_000 });
  expect(worker.events.filter(({ type }) => type === 'claim.failed')).toEqual([]);
});

test('a ring for one of many queues that are received from makes nobody look at the others', {
  timeout: 120_000,
}, async ({ url, pool }) => {
  const names = await createQueues(pool, 100);
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  const client = createClient({ url: proxy.url });
  onTestFinished(() => client.close());
  const got: string[] = [];
  let isOver = false;
  onTestFinished(() => {
    isOver = true;
  });
  const receiveFrom = async (name: string): Promise<void> => {
    while (!isOver) {
      const jobs = await client.receive(name, { wait: '20s' });
      got.push(...jobs.map(({ queue }) => queue));
    }
  };
  for (const name of names) void receiveFrom(name).catch(() => undefined);
  const asleep = `select count(*)::integer as n from howdah._sleepers s
    join howdah._queues q on q.id = s.queue_id where q.name = any ($1)`;
  await waitFor(async () => (await pool.query(asleep, [names])).rows[0].n === names.length, {
    timeoutMs: 20_000,
  });
  // late looks are over; each queue is polled every 5 s
  const isQuiet = async (): Promise<boolean> => {
    const before = proxy.requests;
    await new Promise((resolve) => setTimeout(resolve, 300));
    return proxy.requests - before < 14;
  };
  // A poll or a late look of all may fall into a try, but not into each; a ring that all follow would.
  const looks: number[] = [];
  for (const [i, name] of names.slice(0, 6).entries()) {
    await waitFor(isQuiet, { timeoutMs: 20_000 });
    const before = proxy.requests;
    await enqueue(pool, name);
    await waitFor(() => got.length > i, { intervalMs: 5 });
    looks.push(proxy.requests - before);
  }
  expect(got).toEqual(names.slice(0, 6));
  expect(Math.min(...looks)).toBeLessThan(75);
  // at rest one statement looks at all that are due
  await expectRest({ proxy }, IDLE_MAX);
  // and finds what no ring has told of
  proxy.dropNotifications();
  await enqueue(pool, names[50] ?? '');
  await waitFor(() => got.length === 7, { timeoutMs: 15_000 });
});
