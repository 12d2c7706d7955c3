import type pg from 'pg';
import { expect } from 'vitest';
import { BOOKS } from '../../torture/checks/books.js';

/** A pool, or one session. */
export type Queryable = Pick<pg.Client, 'query'>;

export interface ClaimedRow {
  readonly id: string;
  readonly lane: number;
  readonly seq: string;
  readonly attempt: number;
  readonly uncounted: number;
  readonly payload: unknown;
  readonly headers: unknown;
  readonly enqueued_at: Date;
  readonly max_attempts: number;
  readonly expired: boolean;
  readonly errors: readonly Record<string, unknown>[] | null;
}

export interface SettledRow {
  readonly id: string;
  readonly outcome: string;
  readonly run_at: Date | null;
}

/** Cursors as a worker keeps them: the highest seq claimed, by lane. */
export type Cursors = Readonly<Record<number, string>>;

/** The SQL functions as any language calls them: text and arrays in, rows out. */
export class Engine {
  readonly #db: Queryable;

  constructor(db: Queryable) {
    this.#db = db;
  }

  async rows<R extends object = Record<string, unknown>>(
    text: string,
    values: readonly unknown[] = [],
  ): Promise<R[]> {
    return (await this.#db.query(text, [...values])).rows as R[];
  }

  /** First column of the first row. */
  async one<T = unknown>(text: string, values: readonly unknown[] = []): Promise<T> {
    return Object.values((await this.rows(text, values))[0] ?? {})[0] as T;
  }

  createQueue(name: string, policy: object = {}): Promise<number> {
    return this.one('select howdah.create_queue($1, $2)', [name, JSON.stringify(policy)]);
  }

  enqueueRows(jobs: unknown, onError = 'raise'): Promise<Record<string, unknown>[]> {
    return this.rows('select * from howdah.enqueue($1::text::jsonb, $2)', [
      JSON.stringify(jobs),
      onError,
    ]);
  }

  /** Enqueues that many jobs with the same options; payloads are 1, 2, 3... Returns their ids. */
  async enqueue(queue: string, count = 1, options: object = {}): Promise<string[]> {
    const jobs = Array.from({ length: count }, (_, i) => ({ queue, payload: i + 1, ...options }));
    return (await this.enqueueRows(jobs)).map(({ id }) => String(id));
  }

  openLease(worker = 'tester', leaseMs = 30_000): Promise<string> {
    return this.one('select howdah.open_lease($1, $2)', [worker, leaseMs]);
  }

  async claim(
    queue: string,
    lease: string,
    limit = 1,
    cursors: Cursors = {},
  ): Promise<ClaimedRow[]> {
    return this.rows<ClaimedRow>('select * from howdah.claim($1, $2, $3, $4, $5)', [
      queue,
      lease,
      limit,
      Object.keys(cursors).map(Number),
      Object.values(cursors),
    ]);
  }

  /** Claims exactly one job. */
  async claimOne(queue: string, lease: string): Promise<ClaimedRow> {
    const [job] = await this.claim(queue, lease);
    if (!job) throw new Error(`nothing to claim in ${queue}`);
    return job;
  }

  settle(lease: string, ...asks: object[]): Promise<SettledRow[]> {
    return this.rows('select * from howdah.settle($1, $2::text::jsonb)', [
      lease,
      JSON.stringify(asks),
    ]);
  }

  /** Ends one attempt; returns what came of it. */
  async end(lease: string, job: ClaimedRow, outcome: string, more: object = {}): Promise<string> {
    const rows = await this.settle(lease, { id: job.id, attempt: job.attempt, outcome, ...more });
    return rows[0]?.outcome ?? 'nothing';
  }

  async complete(lease: string, jobs: readonly ClaimedRow[]): Promise<string[]> {
    const rows = await this.rows<{ stale: string }>(
      'select howdah.complete_many($1::bigint, $2::bigint[], $3::integer[]) as stale',
      [lease, jobs.map(({ id }) => id), jobs.map(({ attempt }) => attempt)],
    );
    return rows.map(({ stale }) => stale);
  }

  closeLease(lease: string): Promise<number> {
    return this.one('select howdah.close_lease($1)', [lease]);
  }

  returnStrays(lease: string, known: string[]): Promise<number | null> {
    return this.one('select howdah.return_strays($1, $2)', [lease, known]);
  }

  /** The lease has ended, as if its worker had died a moment ago. */
  async killLease(lease: string): Promise<void> {
    await this.rows(
      `update howdah._leases l set expires_at = n, due_at = case when due_at is not null then n end
      from (select howdah.clock() - interval '1 ms' as n) n where id = $1`,
      [lease],
    );
  }

  async reap(limit = 1000): Promise<{ leases: number; requeued: number; dead: number }> {
    const [row] = await this.rows('select * from howdah.reap($1)', [limit]);
    return row as { leases: number; requeued: number; dead: number };
  }

  async promote(limit = 1000, after = '-infinity'): Promise<Record<string, unknown>> {
    const [row] = await this.rows(
      'select promoted, next_ms, mark::text from howdah.promote($1, $2)',
      [limit, after],
    );
    return row ?? {};
  }

  /** Upkeep of groups that somebody held when a member ended. */
  foldGroups(): Promise<{ folded: number; is_left: boolean }> {
    return this.rows('select * from howdah._fold_groups()').then(
      ([row]) => row as { folded: number; is_left: boolean },
    );
  }

  cancel(...ids: string[]): Promise<{ id: string; outcome: string }[]> {
    return this.rows('select id, outcome from howdah.cancel($1)', [ids]);
  }

  /** State of a job, or undefined when there is no row of it. */
  async state(id: string): Promise<string | undefined> {
    const rows = await this.rows<{ state: string }>('select state from howdah.jobs where id = $1', [
      id,
    ]);
    expect(rows.length, `rows of job ${id}`).toBeLessThan(2);
    return rows[0]?.state;
  }

  async job(id: string): Promise<Record<string, unknown>> {
    const [row] = await this.rows('select * from howdah.job_states where id = $1', [id]);
    return row ?? {};
  }

  async stats(queue: string): Promise<Record<string, unknown>> {
    const [row] = await this.rows('select * from howdah.queue_stats where queue = $1', [queue]);
    return row ?? {};
  }

  /** From now on the installation's clock is this many milliseconds ahead of the real one. */
  async shiftClock(ms: number): Promise<void> {
    await this.rows(`create or replace function howdah.clock() returns timestamptz
      language sql volatile parallel safe
      as 'select pg_catalog.clock_timestamp() + interval ''${ms} ms'''`);
  }

  /** What must hold at any moment, whatever happened before. */
  async expectTruth(): Promise<void> {
    for (const [what, query] of Object.entries(BOOKS)) {
      expect(await this.rows(query), what).toEqual([]);
    }
  }
}

/** Error of a statement, as other languages see it; fails when there is none. */
export async function sqlError(statement: Promise<unknown>): Promise<{
  code: string;
  message: string;
  hint: string | undefined;
  detail: string | undefined;
}> {
  const error = await statement.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error === undefined) throw new Error('the statement succeeded');
  const { code, message, hint, detail } = error as {
    code: string;
    message: string;
    hint?: string;
    detail?: string;
  };
  return { code, message, hint, detail };
}
