import { createClient, queue } from 'howdah';
import type pg from 'pg';
import { expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue } from '../support/workers.js';

test.for([
  ['statement', 'pg_cancel_backend'],
  ['connection', 'pg_terminate_backend'],
] as const)(
  'an enqueue whose %s an operator ends is tried again, and is there once',
  async ([, strike], { url, pool }) => {
    const name = await createQueue(pool);
    const { client, holder } = await clientAndHolder(url, pool);
    await client.enqueue(name, 'before');
    await holder.query('begin; lock table howdah._jobs in access exclusive mode');
    const enqueued = client.enqueue(name, 'ended twice');
    let begunAt = '';
    for (let strikes = 0; strikes < 2; strikes += 1) {
      begunAt = await waitFor(
        async () => {
          const { rows } = await pool.query(
            `select a.xact_start::text as begun_at, ${strike}(a.pid)
           from pg_locks l join pg_stat_activity a using (pid)
           where l.relation = 'howdah._jobs'::regclass and not l.granted and a.xact_start::text <> $1`,
            [begunAt],
          );
          return rows[0]?.begun_at as string | undefined;
        },
        { what: 'a try that waits' },
      );
    }
    await holder.query('rollback');
    const { id } = await enqueued;
    expect(await storedIn(pool, name)).toEqual([
      { id: expect.any(String), payload: 'before' },
      { id, payload: 'ended twice' },
    ]);
  },
);

test('an enqueue whose connection is ended while it commits is not tried again', async ({
  url,
  pool,
}) => {
  const name = await createQueue(pool);
  const client = createClient({ url });
  await pool.query(`create function wait_for_turn() returns trigger language plpgsql as $$ begin
      perform pg_advisory_xact_lock(4711); return null; end $$;
    create constraint trigger turn after insert on howdah._jobs deferrable initially deferred
      for each row execute function wait_for_turn()`);
  const holder = await pool.connect();
  onTestFinished(async () => {
    await holder.query('select pg_advisory_unlock_all()');
    holder.release();
    await pool.query('drop function wait_for_turn() cascade');
    await client.close();
  });
  await holder.query('select pg_advisory_lock(4711)');
  const refused = client.enqueue(name, 'committing').catch((error) => error);
  await waitFor(
    async () => {
      const { rows } = await pool.query(
        `select pg_terminate_backend(pid) from pg_locks
        where locktype = 'advisory' and objid = 4711 and not granted`,
      );
      return rows.length > 0;
    },
    { what: 'a commit that waits' },
  );
  expect(await refused).toMatchObject({ code: 'HOWDAH_COMMIT_UNKNOWN' });
  expect(await storedIn(pool, name)).toEqual([]);
});

test('a declaration whose connection is ended is tried again, too', async ({ url, pool }) => {
  const name = 'declared-in-a-storm';
  const { client, holder } = await clientAndHolder(url, pool);
  await holder.query('begin; lock table howdah._queues in access exclusive mode');
  const enqueued = client.enqueue(queue(name), 'first');
  await waitFor(
    async () => {
      const { rows } = await pool.query(
        `select pg_terminate_backend(pid) from pg_locks
        where relation = 'howdah._queues'::regclass and not granted`,
      );
      return rows.length > 0;
    },
    { what: 'a statement that waits' },
  );
  await holder.query('rollback');
  const { id } = await enqueued;
  expect(await storedIn(pool, name)).toEqual([{ id, payload: 'first' }]);
});

/** Who enqueues, and who keeps it waiting in a transaction that is rolled back in the end. */
async function clientAndHolder(url: string, pool: pg.Pool) {
  const client = createClient({ url });
  const holder = await pool.connect();
  onTestFinished(async () => {
    await holder.query('rollback');
    holder.release();
    await client.close();
  });
  return { client, holder };
}

async function storedIn(pool: pg.Pool, queue: string): Promise<object[]> {
  const { rows } = await pool.query(
    'select id, payload from howdah.jobs where queue = $1 order by id',
    [queue],
  );
  return rows;
}
