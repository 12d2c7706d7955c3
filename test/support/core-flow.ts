import { createClient, type HowdahError, work } from 'howdah';
import pg from 'pg';
import { expect } from 'vitest';
import { startWorker } from './workers.js';

/** What the flow depends on. */
export interface FlowParts {
  /** Where client and worker connect. */
  readonly url: string;
  /** Handed to the client, instead of `url`. */
  readonly pool?: pg.Pool;
  /** Statements that the application runs in its session before it enqueues. */
  readonly session?: readonly string[];
  /** Where the application's session connects, and where the worker listens. Default `url`. */
  readonly directUrl?: string;
}

const DUTIES = [
  'select * from howdah.promote()',
  'select howdah.sweep()',
  'select howdah.expire()',
  'select * from howdah.roll_up()',
  'select * from howdah.tend_queues()',
  'select * from howdah.fold_batches()',
  'select * from howdah.prune()',
  'select * from howdah.due_schedules()',
];

/**
 * A job's whole life in a migrated database, as application, operator and upkeep see it: enqueued in a
 * transaction of the application, claimed, settled, retried, delayed, given back by a consumer that has gone,
 * dead, redriven, listed, scheduled. Throws where anything is not as it is elsewhere.
 */
export async function runCoreFlow(parts: FlowParts): Promise<void> {
  const { url, pool, directUrl = url } = parts;
  const client = createClient(pool ? { pool } : { url, connectionsMax: 4 });
  const app = new pg.Client(directUrl);
  app.on('error', () => undefined);
  await app.connect();
  // it is idle while we look at the rest
  await app.query('set idle_session_timeout = 0');
  // what bounds us is for us to set; the application has set its own
  for (const name of ['statement', 'lock', 'idle_in_transaction_session', 'transaction']) {
    await app.query(`set ${name}_timeout = '20s'`).catch((error: { code?: string }) => {
      if (error.code !== '42704') throw error; // an older server may not know it
    });
  }
  try {
    await client.queues.create('mail', { attempts: 2, backoff: { type: 'fixed', delay: '20ms' } });
    await client.queues.create('lost');
    await client.queues.create('turns');
    const [lost] = await receiveOne(client);
    for (const text of parts.session ?? []) await app.query(text);
    const ids = await enqueueAll(client, app);
    let isMended = false;
    const { worker } = await startWorker({
      url,
      ...(directUrl === url ? {} : { directUrl }),
      lease: '5s',
      poll: '200ms',
      queues: [
        work('mail', (job) => {
          const { what } = job.payload as { what: string };
          if (what === 'fail' && !isMended) throw new Error('mailbox full: C:\\mail\\42');
          return { done: what, at: job.enqueuedAt.toISOString() };
        }),
        work('lost', () => 'found'),
        work('turns', (job) => job.payload as number | null),
      ],
    });
    const result = (id: string): Promise<unknown> => client.result(id, { timeout: '20s' });
    for (const what of ['now', 'later', 'then'] as const) {
      const got = (await result(ids[what])) as { done: string; at: string };
      expect(got.done).toBe(what);
      expectRecent(new Date(got.at));
    }
    expect(await Promise.all(ids.turns.map(result))).toEqual([1, 2, 3]);
    expect(await result(lost as string)).toBe('found');
    const failed = await result(ids.fail).catch((error: HowdahError) => error.code);
    expect(failed).toBe('HOWDAH_JOB_FAILED');
    await seeDeadLetter(client, ids.fail);
    isMended = true;
    expect(await client.deadLetters.redrive({ ids: [ids.fail] })).toHaveLength(1);
    expect(await result(ids.fail)).toMatchObject({ done: 'fail' });
    await seeViews(client, app, ids);
    for (const text of DUTIES) await asOperator(app, text);
    expect(await client.workers.list()).toMatchObject([{ alive: true, leads: true }]);
    await worker.stop({ grace: '2s' });
  } finally {
    await app.end();
    await client.close();
  }
}

/** One call in the isolation that most functions need. */
async function asOperator(app: pg.Client, text: string): Promise<pg.QueryResult> {
  await app.query('begin isolation level read committed');
  const result = await app.query(text);
  await app.query('commit');
  return result;
}

type FlowClient = ReturnType<typeof createClient>;

/** A consumer takes a job and is gone. @returns its id */
async function receiveOne(client: FlowClient): Promise<string[]> {
  await client.enqueue('lost', { n: 1 });
  const [received] = await client.receive('lost', { visibility: '5s' });
  expectRecent(received?.enqueuedAt);
  expectRecent(received?.visibleAt);
  expectRecent(await received?.extend('300ms'));
  expect(typeof received?.id).toBe('string');
  return [String(received?.id)];
}

async function enqueueAll(client: FlowClient, app: pg.Client) {
  await app.query('begin isolation level read committed');
  const put = async (what: string, options: object = {}): Promise<string> =>
    (await client.enqueue('mail', { what }, { tx: app, ...options })).id;
  const now = await put('now', { headers: { odd: 'a\\b "c"', n: 0.1 } });
  const later = await put('later', { delay: '100ms' });
  const then = await put('then', { runAt: new Date(Date.now() + 100), priority: 5 });
  const fail = await put('fail', { dedupe: { key: 'only' } });
  const again = await put('fail', { dedupe: { key: 'only' } });
  expect(again).toBe(fail);
  const turns: string[] = [];
  for (const n of [1, 2, 3]) {
    turns.push((await client.enqueue('turns', n, { tx: app, group: 'g' })).id);
  }
  await app.query('commit');
  return { now, later, then, fail, turns };
}

async function seeDeadLetter(client: FlowClient, id: string): Promise<void> {
  const [dead] = await client.deadLetters.list({ queue: 'mail' });
  expect(dead).toMatchObject({ id, lastError: 'mailbox full: C:\\mail\\42' });
  expectRecent(dead?.deadAt);
  const [group] = await client.deadLetters.groups();
  expect(group).toMatchObject({ jobs: 1, queues: ['mail'], id });
  expectRecent(group?.lastDeadAt);
}

async function seeViews(
  client: FlowClient,
  app: pg.Client,
  { now }: { now: string },
): Promise<void> {
  const job = await client.jobs.get(now);
  expect(job).toMatchObject({ id: now, state: 'completed', headers: { odd: 'a\\b "c"', n: 0.1 } });
  for (const time of [job?.enqueuedAt, job?.claimedAt, job?.finishedAt]) expectRecent(time);
  const listed = await client.jobs.list({ queue: 'mail', state: 'completed' });
  expect(listed.map(({ id }) => id)).toContain(now);
  for (const { enqueuedAt } of listed) expectRecent(enqueuedAt);
  const [stats] = await client.queues.stats('mail');
  expect(stats).toMatchObject({ enqueued: 4, completed: 4, dead: 0 });
  await client.schedules.put({
    name: 'nightly',
    cron: '30 2 * * *',
    zone: 'Europe/Berlin',
    queue: 'turns',
  });
  const [plan] = await client.schedules.preview('nightly', { count: 1 });
  expect(plan?.at.getTime()).toBeGreaterThan(Date.now());
  const text = `select howdah.run_schedule('nightly')::text as id`;
  const { rows } = await asOperator(app, text);
  const ran = String(rows[0].id);
  expect(await client.result(ran, { timeout: '20s' })).toBeNull();
  const [schedule] = await client.schedules.list();
  expectRecent(schedule?.createdAt);
  const batch = await client.batches.open({ name: 'b' });
  await batch.enqueue('turns', 9);
  await batch.close();
  expectRecent((await batch.info())?.openedAt);
}

/** A Date of the last or the next minutes: no zone is far enough off to be taken for it. */
export function expectRecent(time: unknown): void {
  expect(time).toBeInstanceOf(Date);
  expect(Math.abs((time as Date).getTime() - Date.now())).toBeLessThan(600_000);
}
