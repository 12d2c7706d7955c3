import {
  createWorker,
  HowdahError,
  type JobTransaction,
  queue,
  silentLogger,
  snooze,
  work,
} from 'howdah';
import pg from 'pg';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import {
  countdown,
  createQueue,
  enqueue,
  heard,
  readJob,
  startWorker,
  waitForState,
} from '../support/workers.js';

/** A table of its own for a test. */
async function createLedger(pool: pg.Pool): Promise<string> {
  const name = `ledger_${Math.random().toString(36).slice(2)}`;
  await pool.query(`create table ${name} (job_id bigint, note text)`);
  return name;
}

async function notes(pool: pg.Pool, ledger: string): Promise<string[]> {
  const { rows } = await pool.query(`select note from ${ledger} order by note`);
  return rows.map(({ note }) => note);
}

describe('work(queue, handler, { transactional: true })', () => {
  test('commits what the handler wrote, its result and the completion together', async ({
    url,
    pool,
  }) => {
    const ledger = await createLedger(pool);
    const name = await createQueue(pool);
    const seen: string[] = [];
    const started = await startWorker({
      url,
      queues: [
        work(
          name,
          async ({ id }, { tx, log, signal }) => {
            const { rows, rowCount } = await tx.query<{ n: number }>(
              `insert into ${ledger} values ($1, 'done') returning 7 as n`,
              [id],
            );
            log.info(`${rowCount} ${signal.aborted}`);
            // nobody else sees it before the job is completed
            seen.push(...(await notes(pool, ledger)));
            expect((await readJob(pool, id)).state).toBe('running');
            return { n: rows[0]?.n ?? 0 };
          },
          { transactional: true },
        ),
      ],
    });
    const [id] = await enqueue(pool, name);
    const job = await waitForState(pool, id, 'completed');
    expect(job.result).toEqual({ n: 7 });
    expect(await notes(pool, ledger)).toEqual(['done']);
    expect(seen).toEqual([]);
    await heard(started, 'job.completed');
    expect(started.events.filter(({ type }) => type === 'settle.failed')).toEqual([]);
  });

  test('many at once, each in a transaction of its own', async ({ url, pool }) => {
    const ledger = await createLedger(pool);
    const name = await createQueue(pool);
    await startWorker({
      url,
      queues: [
        work(
          name,
          async ({ id }, { tx }) => {
            await tx.query(`insert into ${ledger} values ($1, 'n')`, [id]);
          },
          { transactional: true, concurrency: 20 },
        ),
      ],
    });
    const ids = await enqueue(pool, name, Array(200).fill({}));
    for (const id of ids) await waitForState(pool, id, 'completed');
    expect(await notes(pool, ledger)).toHaveLength(200);
  });

  test.for([
    {
      what: 'throws',
      end: () => {
        throw new Error('no');
      },
      state: 'scheduled',
    },
    { what: 'snoozes', end: () => snooze('1h'), state: 'scheduled' },
  ])('rolls back when the handler $what', async ({ end, state }, { url, pool }) => {
    const ledger = await createLedger(pool);
    const name = await createQueue(pool, { backoff_ms: 60_000 });
    await startWorker({
      url,
      queues: [
        work(
          name,
          async ({ id }, { tx }) => {
            await tx.query(`insert into ${ledger} values ($1, 'half')`, [id]);
            return end();
          },
          { transactional: true },
        ),
      ],
    });
    const [id] = await enqueue(pool, name);
    await waitForState(pool, id, state);
    expect(await notes(pool, ledger)).toEqual([]);
  });

  test('a statement that failed and was swallowed fails the attempt', async ({ url, pool }) => {
    const name = await createQueue(pool, { max_attempts: 1 });
    await startWorker({
      url,
      queues: [
        work(
          name,
          async (_job, { tx }) => {
            await tx.query('select 1 / 0').catch(() => undefined);
          },
          { transactional: true },
        ),
      ],
    });
    const [id] = await enqueue(pool, name);
    const { errors } = await waitForState(pool, id, 'dead');
    expect(errors?.[0]).toMatchObject({ code: 'HOWDAH_TRANSACTION_INVALID' });
  });

  test('what COMMIT refuses fails the attempt: a deferred constraint', async ({ url, pool }) => {
    const ledger = await createLedger(pool);
    await pool.query(
      `alter table ${ledger} add constraint ${ledger}_once unique (note) deferrable initially deferred`,
    );
    await pool.query(`insert into ${ledger} values (0, 'taken')`);
    const name = await createQueue(pool, { max_attempts: 1 });
    await startWorker({
      url,
      queues: [
        work(
          name,
          async ({ id }, { tx }) => {
            await tx.query(`insert into ${ledger} values ($1, 'taken')`, [id]);
          },
          { transactional: true },
        ),
      ],
    });
    const [id] = await enqueue(pool, name);
    await waitForState(pool, id, 'dead');
    expect(await notes(pool, ledger)).toEqual(['taken']);
  });

  test('a job that is no longer its own: rolled back and reported as stale', async ({
    url,
    pool,
  }) => {
    const ledger = await createLedger(pool);
    const name = await createQueue(pool);
    const begun = countdown(1);
    const taken = countdown(1);
    const started = await startWorker({
      url,
      queues: [
        work(
          name,
          async ({ id }, { tx }) => {
            await tx.query(`insert into ${ledger} values ($1, 'zombie')`, [id]);
            begun.tick();
            await taken.done;
          },
          { transactional: true },
        ),
      ],
    });
    const [id] = await enqueue(pool, name);
    await begun.done;
    // as if it had been reaped and claimed by another
    await pool.query('update howdah._jobs set attempt = attempt + 1 where id = $1', [id]);
    taken.tick();
    await heard(started, 'job.stale');
    expect(await notes(pool, ledger)).toEqual([]);
  });

  test('a time-out ends the attempt; what it writes afterwards is rolled back', async ({
    url,
    pool,
  }) => {
    const ledger = await createLedger(pool);
    const name = await createQueue(pool, { timeout_ms: 100, max_attempts: 1 });
    const late = countdown(1);
    await startWorker({
      url,
      queues: [
        work(
          name,
          async ({ id }, { tx, signal }) => {
            await new Promise<void>((resolve) => {
              signal.addEventListener('abort', () => resolve());
              if (signal.aborted) resolve();
            });
            await tx.query(`insert into ${ledger} values ($1, 'late')`, [id]);
            setImmediate(late.tick);
          },
          { transactional: true },
        ),
      ],
    });
    const [id] = await enqueue(pool, name);
    const { errors } = await waitForState(pool, id, 'dead');
    expect(errors?.[0]).toMatchObject({ code: 'HOWDAH_JOB_TIMEOUT' });
    await late.done;
    await expect
      .poll(async () => {
        const { rows } = await pool.query(
          `select count(*)::int as n from pg_stat_activity
          where state like 'idle in transaction%' and datname = current_database()`,
        );
        return rows[0].n;
      })
      .toBe(0);
    expect(await notes(pool, ledger)).toEqual([]);
  });

  test('a transaction that is used after the handler has returned says so', async ({
    url,
    pool,
  }) => {
    const name = await createQueue(pool);
    const kept: JobTransaction[] = [];
    await startWorker({
      url,
      queues: [
        work(
          name,
          (_job, { tx }) => {
            kept.push(tx);
          },
          { transactional: true },
        ),
      ],
    });
    await waitForState(pool, (await enqueue(pool, name))[0], 'completed');
    await expect(kept[0]?.query('select 1')).rejects.toMatchObject({
      code: 'HOWDAH_TRANSACTION_INVALID',
    });
  });

  test('the reply to COMMIT is lost: the database is asked, and nothing is done twice', async ({
    url,
    pool,
  }) => {
    const ledger = await createLedger(pool);
    const name = await createQueue(pool, { backoff_ms: 0 });
    // ends the connection while it commits, once it can no longer fail, or before that
    await pool.query(`create function ${ledger}_cut() returns trigger language plpgsql as
      $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$`);
    await pool.query(`create constraint trigger cut after insert on ${ledger}
      deferrable initially deferred for each row when (new.note = '1') execute function ${ledger}_cut()`);
    const started = await startWorker({
      url,
      queues: [
        work(
          name,
          async ({ id, attempt }, { tx }) => {
            await tx.query(`insert into ${ledger} values ($1, $2)`, [id, String(attempt)]);
          },
          { transactional: true },
        ),
      ],
    });
    const [id] = await enqueue(pool, name);
    const { errors } = await waitForState(pool, id, 'completed');
    expect(errors).toMatchObject([{ code: 'HOWDAH_COMMIT_UNKNOWN', attempt: 1 }]);
    expect(await notes(pool, ledger)).toEqual(['2']);
    await heard(started, 'job.failed');
  });

  test('works with the pool of the application, if that is large enough', async ({ url, pool }) => {
    const own = new pg.Pool({ connectionString: url, max: 4 });
    onTestFinished(() => own.end());
    const ledger = await createLedger(pool);
    const name = await createQueue(pool);
    const binding = (concurrency: number) =>
      work(
        name,
        async ({ id }, { tx }) => {
          await tx.query(`insert into ${ledger} values ($1, 'own')`, [id]);
        },
        { transactional: true, concurrency },
      );
    await startWorker({ pool: own, queues: [binding(3)] });
    await waitForState(pool, (await enqueue(pool, name))[0], 'completed');
    expect(await notes(pool, ledger)).toEqual(['own']);
    expect(() =>
      createWorker({ pool: own, queues: [binding(4)], logger: silentLogger }),
    ).toThrowError(/4 connections.*hold up to 4.*max: 5/);
  });

  test.for([
    [{ transactional: true, batch: { size: 2 } }, /does not go with batch/],
    [{ transactional: 'yes' }, /Use true or false/],
  ] as const)('refuses %o', ([options, message]) => {
    try {
      work(queue('refused'), (() => undefined) as never, options as never);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(HowdahError);
      expect(error).toMatchObject({ code: 'HOWDAH_OPTION_INVALID' });
      expect((error as Error).message).toMatch(message);
    }
  });

  test('refuses more transactions than a pool can have connections', () => {
    const many = [1, 2].map((n) =>
      work(queue(`many-${n}`), () => undefined, { transactional: true, concurrency: 600 }),
    );
    expect(() => createWorker({ queues: many })).toThrowError(/1200 connections/);
  });
});
