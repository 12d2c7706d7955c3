import type pg from 'pg';
import { expect } from 'vitest';

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
      `update howdah.leases set expires_at = howdah.clock() - interval '1 ms'
      where id = $1`,
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
    return this.rows('select * from howdah.fold_groups()').then(
      ([row]) => row as { folded: number; is_left: boolean },
    );
  }

  cancel(...ids: string[]): Promise<{ id: string; outcome: string }[]> {
    return this.rows('select id, outcome from howdah.cancel($1)', [ids]);
  }

  /** State of a job, or undefined when there is no row of it. */
  async state(id: string): Promise<string | undefined> {
    const rows = await this.rows<{ state: string }>(
      'select state from howdah.jobs_all where id = $1',
      [id],
    );
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
    expect(await this.rows('select * from howdah.check_groups()'), 'books of groups').toEqual([]);
    expect(await this.rows(COUNTERS_OFF), 'counters that differ from the rows').toEqual([]);
    expect(await this.rows(ORPHANS), 'running jobs that no lease covers').toEqual([]);
    expect(await this.rows(TWICE), 'jobs that are there twice').toEqual([]);
    expect(await this.rows(PERMITS_OFF), 'limits that differ from what runs').toEqual([]);
    expect(await this.rows(PERMITS_LEFT), 'waiting jobs that hold a permit').toEqual([]);
    expect(await this.rows(BATCHES_OFF), 'batches that differ from their jobs').toEqual([]);
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

const COUNTERS_OFF = `
  with truth as (
    select queue_id, count(*) filter (where seq is not null and lease_id is null) as ready,
      count(*) filter (where seq is null and group_seq is null) as scheduled,
      count(group_seq) as blocked,
      count(*) filter (where lease_id is not null) as running, count(dead_at) as dead,
      sum(bytes) filter (where lease_id is null) as bytes
    from howdah.jobs group by queue_id
  ), counted as (
    select queue_id, sum(ready) as ready, sum(scheduled) as scheduled, sum(running) as running,
      sum(dead) as dead, sum(blocked) as blocked, sum(bytes) as bytes
    from (
      select queue_id, ready, scheduled, running, dead, blocked, bytes from howdah.counters
      union all select queue_id, ready, scheduled, running, dead, blocked, bytes from howdah.counter_deltas
    ) c group by queue_id
  )
  select queue_id, to_json(t) as rows, to_json(c) as counters
  from truth t full join counted c using (queue_id)
  where (coalesce(t.ready, 0), coalesce(t.scheduled, 0), coalesce(t.running, 0), coalesce(t.dead, 0), coalesce(t.blocked, 0),
      coalesce(t.bytes, 0))
    is distinct from
    (coalesce(c.ready, 0), coalesce(c.scheduled, 0), coalesce(c.running, 0), coalesce(c.dead, 0), coalesce(c.blocked, 0),
      coalesce(c.bytes, 0))`;

const ORPHANS = `
  select j.id from howdah.jobs j where j.lease_id is not null and not exists (
    select from howdah.leases l join howdah.lease_marks m on m.lease_id = l.id
    where l.id = j.lease_id and m.queue_id = j.queue_id and m.lane = j.lane
      and j.seq between m.low_seq and m.high_seq)`;

/** What limits and what settles have given back since, against the permits that jobs hold. */
const PERMITS_OFF = `
  with held as (select queue_id, sum(permit) as permits from howdah.jobs group by queue_id),
  counted as (
    select queue_id, sum(running) as permits from (
      select queue_id, running from howdah.limits
      union all select queue_id, -permits from howdah.limit_deltas
    ) c group by queue_id
  )
  select queue_id, h.permits as held, c.permits as counted
  from held h full join counted c using (queue_id)
  where coalesce(h.permits, 0) <> coalesce(c.permits, 0)`;

const PERMITS_LEFT = 'select id from howdah.jobs where permit is not null and lease_id is null';

/** What has not ended of a batch, against its books. */
const BATCHES_OFF = `
  with pending as (
    select batch_id, count(*) as jobs from howdah.jobs
    where batch_id is not null and dead_at is null group by batch_id
  )
  select id, jobs, pending from pending p full join howdah.batch_states b on b.id = p.batch_id
  where coalesce(jobs, 0) <> coalesce(pending, 0)
    or (coalesce(jobs, 0) > 0 and state in ('completed', 'failed'))`;

const TWICE = `
  select id from (select id from howdah.jobs union all select id from howdah.history) x
  group by id having count(*) > 1`;
