import { createClient, queue, schedule, work } from 'howdah';
import pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/sessions.js';
import { waitFor } from '../support/wait-for.js';
import { heard, startWorker } from '../support/workers.js';

const ATTEMPTS = `select queue, max_attempts as n from howdah.queue_policies
  where queue = any ($1) order by 1`;

test('create_queues declares many, passes over what is held, and says whether that is there', async ({
  db,
  a,
  b,
}) => {
  await db.createQueue('many-held', { max_attempts: 3 });
  await db.createQueue('many-same', { max_attempts: 9 });
  await a.begin();
  await a.rows(`select howdah.pause_queue('many-held')`);
  await a.rows(`select howdah.pause_queue('many-same')`);
  await a.createQueue('many-new');
  const asks = ['many-held', 'many-same', 'many-new', 'many-free'].map((name) => ({
    queue: name,
    policy: { max_attempts: 9 },
  }));
  // its dead-letter queue comes behind it
  const more = [
    { queue: 'many-free', policy: { dead_letter_queue: 'many-dead' } },
    { queue: 'many-dead' },
  ];
  const declare = () =>
    b.rows('select * from howdah.create_queues($1::text::jsonb)', [
      JSON.stringify([...asks, ...more]),
    ]);
  // what would change nothing waits for nobody
  expect(await declare()).toEqual([
    { queue: 'many-held', is_there: true },
    { queue: 'many-new', is_there: false },
  ]);
  expect(await b.rows('show lock_timeout')).toEqual([{ lock_timeout: '0' }]);
  await a.commit();
  expect(await declare()).toEqual([]);
  const names = ['many-free', 'many-held', 'many-new', 'many-same'];
  expect(await db.rows(ATTEMPTS, [names])).toEqual(names.map((name) => ({ queue: name, n: 9 })));
});

test('a worker starts beside an open transaction that holds one of its queues, and works that too', async ({
  db,
  a,
  url,
}) => {
  await db.createQueue('start-held', { max_attempts: 3 });
  await db.createQueue('start-busy', { max_attempts: 3 });
  await db.enqueue('start-held', 1);
  await a.begin();
  await a.rows(`select howdah.alter_queue('start-held', '{"timeout_ms": 5000}')`);
  await a.rows(`select howdah.alter_queue('start-busy', '{"timeout_ms": 5000}')`);
  const names = ['start-busy', 'start-held', 'start-new'];
  const done: string[] = [];
  const started = await startWorker({
    url,
    queues: names.map((name) =>
      work(queue(name, { attempts: 9 }), () => {
        done.push(name);
      }),
    ),
  });
  await db.enqueue('start-new', 1);
  await waitFor(() => done.includes('start-held') && done.includes('start-new'));
  const told = started.events.filter(({ type }) => type === 'declaration.held');
  expect(told).toMatchObject([
    { what: 'queue', name: 'start-busy', error: undefined },
    { what: 'queue', name: 'start-held', error: undefined },
  ]);
  const attempts = async () =>
    (await db.rows<{ n: number }>(ATTEMPTS, [names])).map(({ n }) => n).join();
  expect(await attempts()).toBe('3,3,9');
  await a.commit();
  await waitFor(async () => (await attempts()) === '9,9,9');
  // both are there: what the other one has changed, and what was declared
  const timeouts = await db.rows(
    `select timeout_ms from howdah._queues where name = 'start-held' or name = 'start-busy'`,
  );
  expect(timeouts).toEqual([{ timeout_ms: 5000 }, { timeout_ms: 5000 }]);
});

test('a worker starts while somebody holds its schedules, and declares them when they are let go', async ({
  db,
  a,
  url,
}) => {
  await db.createQueue('timed');
  const options = (cron: string) => ({
    url,
    queues: [work('timed', () => {})],
    schedulesOwner: 'of-timed',
    schedules: [schedule({ name: 'timely', cron, queue: 'timed' })],
  });
  const first = await startWorker(options('0 3 * * *'));
  await first.worker.stop();
  await a.begin();
  await a.rows(`select howdah.pause_schedule('timely', 'by hand')`);
  const second = await startWorker(options('0 4 * * *'));
  const told = await heard(second, 'declaration.held');
  expect(told).toMatchObject({ what: 'schedules', name: 'of-timed', error: undefined });
  await a.commit();
  await waitFor(
    async () =>
      (await db.one(`select cron from howdah.schedules where name = 'timely'`)) === '0 4 * * *',
  );
  expect(await db.one(`select paused_reason from howdah.schedules where name = 'timely'`)).toBe(
    'by hand',
  );
});

test('the first call of a client waits for no queue that is held, only for one that is being created', async ({
  db,
  a,
  url,
}) => {
  await db.createQueue('first-held', { max_attempts: 3 });
  await a.begin();
  await a.rows(`select howdah.pause_queue('first-held')`);
  await a.createQueue('first-new');
  const lines: string[] = [];
  const log = (message: string, fields: object = {}) =>
    void lines.push(`${message} ${JSON.stringify(fields)}`);
  const client = createClient({
    url,
    queues: [queue('first-listed', { attempts: 9 }), queue('first-held', { attempts: 9 })],
    logger: { debug: log, info: log, warn: log, error: log },
  });
  onTestFinished(() => client.close());
  const created = client.enqueue(queue('first-new', { attempts: 9 }), 1);
  let isThere = false;
  const note = () => {
    isThere = true;
  };
  created.then(note, note);
  await client.enqueue('first-listed', 1);
  await client.enqueue(queue('first-held', { attempts: 9 }), 1);
  await client.enqueue(queue('first-other', { attempts: 9 }), 1);
  expect(isThere).toBe(false);
  expect(lines).toEqual(['declaration.held {"what":"queue","name":"first-held"}']);
  await a.commit();
  await created;
  const names = ['first-held', 'first-listed', 'first-new', 'first-other'];
  await waitFor(async () =>
    (await db.rows<{ n: number }>(ATTEMPTS, [names])).every(({ n }) => n === 9),
  );
});

test('more than a thousand queues are declared by a handful of statements', async ({ db, url }) => {
  let statements = 0;
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  pool.on('connect', (connection) => {
    const { query } = connection;
    connection.query = ((...values: unknown[]) => {
      statements++;
      return Reflect.apply(query, connection, values);
    }) as typeof query;
  });
  onTestFinished(() => pool.end());
  const queues = Array.from({ length: 1_200 }, (_, i) => queue(`bulk-${i}`, { attempts: 9 }));
  const client = createClient({ pool, queues });
  onTestFinished(() => client.close());
  await client.enqueue('bulk-1199', 1);
  await Promise.all(queues.slice(0, 50).map((each) => client.enqueue(each, 1)));
  expect(statements).toBeLessThan(12);
  expect(
    await db.one(`select count(*)::int from howdah.queue_policies
      where queue like 'bulk-%' and max_attempts = 9`),
  ).toBe(1_200);
});
