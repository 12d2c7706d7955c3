import { createClient, queue, schedule, work } from 'howdah';
import type pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import { codeOf, errorOf, test } from '../support/client.js';
import { Engine } from '../support/engine.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue, makeWorker, startWorker } from '../support/workers.js';

const noop = () => undefined;

interface Stamp {
  readonly name: string;
  readonly at: string;
}

/** Nominal times of the jobs of a schedule, in order. */
async function nominalTimes(pool: pg.Pool, name: string): Promise<number[]> {
  const { rows } = await pool.query(
    `select headers -> 'howdah-schedule' ->> 'at' as at from howdah.jobs
    where headers -> 'howdah-schedule' ->> 'name' = $1 order by 1`,
    [name],
  );
  return rows.map(({ at }) => Date.parse(at));
}

test('a schedule fires on time, one job a nominal time, and shows what came of the last', async ({
  url,
  pool,
  client,
}) => {
  const ticks = queue<{ n: number }>(await createQueue(pool));
  const heard: { at: string; lateMs: number; payload: unknown }[] = [];
  await startWorker({
    url,
    queues: [
      work(ticks, ({ payload, headers }) => {
        const { at } = headers['howdah-schedule'] as unknown as Stamp;
        heard.push({ at, lateMs: Date.now() - Date.parse(at), payload });
      }),
    ],
  });
  // the worker sleeps: it hears of it
  await client.schedules.put({
    name: 'tick',
    cron: '*/2 * * * * *',
    queue: ticks,
    payload: { n: 1 },
  });
  await waitFor(() => heard.length >= 3, { timeoutMs: 20_000 });
  await client.schedules.pause('tick');
  const times = heard.slice(0, 3).map(({ at }) => Date.parse(at));
  expect(times).toEqual([0, 1, 2].map((n) => (times[0] as number) + n * 2_000));
  expect(heard[0]?.payload).toEqual({ n: 1 });
  // a bound for a loaded machine
  expect(heard.map(({ lateMs }) => lateMs).every((ms) => ms >= -1 && ms < 5_000)).toBe(true);
  await waitFor(async () => (await client.schedules.get('tick'))?.lastJobState === 'completed');
  expect(await client.schedules.get('tick')).toMatchObject({
    paused: true,
    nextAt: null,
    lastOutcome: 'enqueued',
    lastError: null,
    owner: null,
  });
  const runs = await client.schedules.runs('tick');
  expect(runs.every(({ outcome, jobId }) => outcome === 'enqueued' && jobId !== null)).toBe(true);
  expect(new Set(await nominalTimes(pool, 'tick')).size).toBe(runs.length);
});

test('is edited while workers run: list, preview, pause, resume, run now, delete', async ({
  url,
  pool,
  client,
}) => {
  const name = await createQueue(pool);
  await startWorker({ url, queues: [work(name, noop)] });
  const put = { name: 'daily', cron: '30 2 * * *', zone: 'Europe/Berlin', queue: name };
  expect(await client.schedules.put(put)).toBe('created');
  expect(await client.schedules.put(put)).toBe('unchanged');
  const before = await waitFor(async () => (await client.schedules.get('daily'))?.nextAt);
  const preview = await client.schedules.preview('daily', { count: 400 });
  expect(preview[0]?.at).toEqual(before);
  const days = preview.map(({ local }) => local.slice(0, 10));
  expect(new Set(days).size).toBe(400);
  expect(preview[0]?.local).toMatch(/^\d{4}-\d\d-\d\d 0[23]:[03]0:00 GMT\+[12]$/);

  expect(await client.schedules.put({ ...put, zone: 'Asia/Kathmandu' })).toBe('changed');
  await waitFor(async () => {
    const { nextAt } = (await client.schedules.get('daily')) ?? {};
    return nextAt && nextAt.getTime() !== before.getTime();
  });
  const id = await client.schedules.runNow('daily');
  await waitFor(async () => (await client.jobs.get(id))?.state === 'completed');
  await client.schedules.pause('daily', 'audit');
  const list = await client.schedules.list({ queue: name });
  expect(list).toMatchObject([
    { name: 'daily', paused: true, pausedReason: 'audit', lastJobId: id },
  ]);
  await client.schedules.resume('daily');
  await waitFor(async () => (await client.schedules.get('daily'))?.nextAt);
  await client.schedules.delete('daily');
  expect(await client.schedules.get('daily')).toBeUndefined();
});

test('an expression of which SQL cannot tell that it is wrong is marked, and stops no other', async ({
  url,
  pool,
  client,
}) => {
  const name = await createQueue(pool);
  const put = (schedule: string, cron: string) =>
    pool.query('select howdah.put_schedule($1, $2::text::jsonb)', [
      schedule,
      JSON.stringify({ cron, queue: name }),
    ]);
  await put('wrong-minute', '60 * * * *');
  await put('february-30', '0 0 30 2 *');
  await put('too-often', '* * * * * *');
  await put('right', '*/2 * * * * *');
  await startWorker({ url, queues: [work(name, noop)] });
  await waitFor(async () => (await client.schedules.get('right'))?.lastJobId, {
    timeoutMs: 20_000,
  });
  for (const [schedule, problem] of [
    ['wrong-minute', 'minute: 60'],
    ['february-30', 'never matches'],
    ['too-often', 'fires too often'],
  ] as const) {
    const info = await client.schedules.get(schedule);
    expect(info).toMatchObject({ nextAt: null, lastJobId: null });
    expect(info?.error).toContain(problem);
  }
  await client.schedules.delete('right');
});

describe('declared schedules', () => {
  test('are created, changed, renamed and removed at each start; others are left alone', async ({
    url,
    pool,
    client,
  }) => {
    const jobs = queue<{ day: number }>(await createQueue(pool));
    await client.schedules.put({
      name: 'by-hand',
      cron: '0 4 * * *',
      queue: jobs,
      payload: { day: 0 },
    });
    const daily = { cron: '0 3 * * *', queue: jobs, payload: { day: 1 } };
    const start = async (names: readonly string[], cron = daily.cron) => {
      const { worker } = await startWorker({
        url,
        queues: [work(jobs, noop)],
        schedulesOwner: 'reports',
        schedules: names.map((name) => schedule({ ...daily, cron, name })),
      });
      await worker.stop();
      const list = await client.schedules.list({ queue: jobs });
      return list.map(({ name, owner }) => [name, owner]);
    };
    const byHand = ['by-hand', null];
    expect(await start(['a', 'b'])).toEqual([['a', 'reports'], ['b', 'reports'], byHand]);
    await client.schedules.pause('b');
    expect(await start(['a', 'c'])).toEqual([['a', 'reports'], byHand, ['c', 'reports']]);
    expect(await client.schedules.get('c')).toMatchObject({ paused: true });
    await start(['a', 'c'], '0 5 * * *');
    expect(await client.schedules.get('c')).toMatchObject({ paused: true, cron: '0 5 * * *' });
    // one that is declared is not changed by hand, and one made by hand not by a declaration
    expect(await codeOf(client.schedules.put({ ...daily, name: 'a' }))).toBe(
      'HOWDAH_SCHEDULE_EXISTS',
    );
    expect(await codeOf(start(['by-hand']))).toBe('HOWDAH_SCHEDULE_EXISTS');
    expect(await start([])).toEqual([byHand]);
  });

  test('with a mistake in them are refused before anything is opened', async ({ url, pool }) => {
    const name = await createQueue(pool);
    const good = { name: 'x', cron: '0 3 * * *', queue: name };
    const cases = [
      ['HOWDAH_SCHEDULE_EXISTS', [good, { ...good, cron: '0 4 * * *' }]],
      ['HOWDAH_CRON_INVALID', [{ ...good, cron: '60 * * * *' }]],
      ['HOWDAH_OPTION_INVALID', 'nightly'],
      ['HOWDAH_SCHEDULE_INVALID', [null]],
    ] as const;
    const queues = [work(name, noop)];
    expect(await codeOf((async () => makeWorker({ url, queues, schedulesOwner: '' }))())).toBe(
      'HOWDAH_OPTION_INVALID',
    );
    for (const [code, schedules] of cases) {
      const make = async () => makeWorker({ url, queues, schedules: schedules as never });
      expect(await codeOf(make())).toBe(code);
    }
  });
});

describe('missed times', () => {
  test('get no job, one, or one each, up to the bound; a clock that goes back repeats none', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    const client = createClient({ url, connectionsMax: 2 });
    const pool = new (await import('pg')).default.Pool({ connectionString: url, max: 2 });
    onTestFinished(async () => {
      await client.close();
      await pool.end();
    });
    const db = new Engine(pool);
    const jobs = queue('missed');
    // as if they had been made at half past, five and a half hours ago: then nothing ran
    const halfPast = Math.floor(Date.now() / 3_600_000) * 3_600_000 + 1_800_000;
    const shift = (ms: number) => db.shiftClock(halfPast - Date.now() + ms);
    await shift(0);
    const cases = [
      ['skip', undefined, 0],
      ['once', undefined, 1],
      ['all', undefined, 5],
      ['all', 2, 2],
    ] as const;
    for (const [n, [missed, missedMax]] of cases.entries()) {
      await client.schedules.put({
        name: `m${n}`,
        cron: '0 * * * *',
        queue: jobs,
        missed,
        missedMax,
      });
    }
    await shift(5 * 3_600_000);
    await startWorker({ url, queues: [work(jobs, noop)], connectionsMax: 3 });
    const settled = async () =>
      (await client.schedules.list()).every(({ nextAt }) => nextAt !== null);
    await waitFor(settled, { timeoutMs: 20_000 });
    const nominal = (hours: number[]) =>
      hours.map((hour) => halfPast - 1_800_000 + hour * 3_600_000);
    const expected = [[], [5], [1, 2, 3, 4, 5], [4, 5]].map(nominal);
    for (const [n, times] of expected.entries()) {
      expect(await nominalTimes(pool, `m${n}`), cases[n]?.[0]).toEqual(times);
    }
    expect(await client.schedules.get('m0')).toMatchObject({ lastOutcome: 'skipped' });
    // back, and forward again: those times have been
    await shift(2 * 3_600_000);
    await client.schedules.put({ name: 'witness', cron: '*/2 * * * * *', queue: jobs });
    await waitFor(async () => (await client.schedules.get('witness'))?.lastJobId, {
      timeoutMs: 20_000,
    });
    await shift(5 * 3_600_000);
    await client.schedules.delete('witness');
    for (const [n, times] of expected.entries()) {
      expect(await nominalTimes(pool, `m${n}`), `m${n} again`).toEqual(times);
    }
  });
});

test('every nominal time has one job while leaders come and go', async ({ url, pool, client }) => {
  const name = await createQueue(pool);
  await client.schedules.put({ name: 'steady', cron: '*/2 * * * * *', queue: name });
  const start = () => startWorker({ url, queues: [work(name, noop)], lease: '1s' });
  const workers = [await start(), await start()];
  for (let changes = 0; changes < 4; changes += 1) {
    const leader = await waitFor(async () => {
      const leading = (await client.workers.list()).find(({ leads }) => leads);
      return workers.find(({ events }) =>
        events.some((each) => each.type === 'worker.started' && each.leaseId === leading?.leaseId),
      );
    });
    const count = (await nominalTimes(pool, 'steady')).length;
    await waitFor(async () => (await nominalTimes(pool, 'steady')).length > count, {
      timeoutMs: 20_000,
    });
    workers.push(await start());
    await leader.worker.stop();
  }
  await client.schedules.delete('steady');
  const times = await nominalTimes(pool, 'steady');
  const first = times[0] as number;
  expect(times).toEqual(times.map((_, n) => first + n * 2_000));
  expect(times.length).toBeGreaterThanOrEqual(4);
});

test('bad input is refused with a remedy, and nothing is stored', async ({ pool, client }) => {
  const name = await createQueue(pool);
  const strict = queue(name, { schema: z.object({ to: z.string() }) });
  const good = { name: 'good', cron: '0 3 * * *', queue: name };
  const cases: [string, object][] = [
    ['HOWDAH_CRON_INVALID', { ...good, cron: '60 * * * *' }],
    ['HOWDAH_CRON_INVALID', { ...good, cron: '0 0 30 2 *' }],
    ['HOWDAH_CRON_INVALID', { ...good, cron: '* * * * * *' }],
    ['HOWDAH_CRON_INVALID', { ...good, cron: undefined }],
    ['HOWDAH_ZONE_INVALID', { ...good, zone: 'Europe/Nowhere' }],
    ['HOWDAH_SCHEDULE_INVALID', { ...good, name: 'x'.repeat(10_240) }],
    ['HOWDAH_SCHEDULE_INVALID', { ...good, name: '' }],
    ['HOWDAH_SCHEDULE_INVALID', { ...good, missed: 'maybe' }],
    ['HOWDAH_SCHEDULE_INVALID', { ...good, missedMax: 1001 }],
    ['HOWDAH_SCHEDULE_INVALID', { ...good, runAt: new Date() }],
    ['HOWDAH_OPTION_INVALID', { ...good, colour: 'red' }],
    ['HOWDAH_PRIORITY_INVALID', { ...good, priority: 1000 }],
    ['HOWDAH_PAYLOAD_INVALID', { ...good, payload: 1n }],
    ['HOWDAH_PAYLOAD_INVALID', { ...good, queue: strict, payload: { to: 5 } }],
    ['HOWDAH_QUEUE_UNKNOWN', { ...good, queue: 'nowhere' }],
  ];
  for (const [code, given] of cases) {
    const error = await errorOf(client.schedules.put(given as typeof good));
    expect(error.code, JSON.stringify(error.message)).toBe(code);
    expect(error.message.length).toBeLessThan(600);
  }
  expect(await client.schedules.get('good')).toBeUndefined();
  for (const call of [
    () => client.schedules.pause('nobody'),
    () => client.schedules.resume('nobody'),
    () => client.schedules.delete('nobody'),
    () => client.schedules.runNow('nobody'),
    () => client.schedules.preview('nobody'),
  ]) {
    expect(await codeOf(call())).toBe('HOWDAH_SCHEDULE_UNKNOWN');
  }
  expect(await codeOf(client.schedules.preview({ cron: '61 * * * *' }))).toBe(
    'HOWDAH_CRON_INVALID',
  );
});
