import type { Cluster } from '../cluster.js';
import type { Crowd } from '../crowd.js';
import type { Fleet } from '../fleet.js';
import type { Operation, WorkerLine } from '../logs.js';
import { BOOKS } from './books.js';

/** A job as the database has it in the end. */
export interface JobRow {
  readonly id: string;
  readonly queue: string;
  readonly state: string;
  readonly attempt: number;
  /** Who had it last. */
  readonly worker: string | null;
  /** Negative: sent by a nemesis. */
  readonly n: number;
  readonly verb: string;
  readonly delay_ms: number | null;
  readonly enqueued_ms: number;
  /** Errors that its handler has thrown, of those that are kept. */
  readonly thrown: number;
}

/** A committed effect of a handler, in the order in which the transactions began to write. */
export interface EffectRow {
  readonly n: number;
  readonly job_id: string;
  readonly attempt: number;
  readonly worker: string;
  readonly at_ms: number;
}

/** Everything that is looked at. */
export interface Evidence {
  /** Per producer. */
  readonly operations: readonly (readonly Operation[])[];
  readonly lines: readonly WorkerLine[];
  readonly jobs: readonly JobRow[];
  readonly effects: readonly EffectRow[];
  readonly orders: ReadonlySet<number>;
  /** Queues whose counters differ from their rows. */
  readonly counters: readonly object[];
  /** What is counted apart from the rows it counts, and differs from them. */
  readonly books: readonly object[];
  readonly deadLetters: number;
}

const JOBS = `select j.id::text as id, j.queue, j.state, j.attempt, j.worker, coalesce((j.payload ->> 'n')::bigint, -j.id)::float8 as n,
    j.payload ->> 'do' as verb, (j.payload ->> 'delayMs')::int as delay_ms,
    extract(epoch from j.enqueued_at)::float8 * 1000 as enqueued_ms,
    (select count(*) from jsonb_array_elements(j.errors) e
      where coalesce(e ->> 'name', '') <> 'LeaseExpired')::int as thrown
  from howdah.jobs j`;

/** Truth is counted from the rows; finished jobs are all kept. Dead ones wait in their dead-letter queue. */
const COUNTERS = `select s.queue, s.waiting, s.waiting_rows, s.dead, s.dead_rows, s.completed, s.completed_rows
  from (
    select q.queue, q.ready + q.scheduled + q.blocked + q.running as waiting, q.dead, q.completed,
      (select count(*) from howdah.job_states j where j.queue = q.queue and (j.state <> 'dead' or j.priority is not null)) as waiting_rows,
      (select count(*) from howdah.job_states j where j.queue = q.queue and j.state = 'dead') as dead_rows,
      (select count(*) from howdah.history h where h.queue = q.queue and h.state = 'completed') as completed_rows
    from howdah.queue_stats q
  ) s where s.waiting <> s.waiting_rows or s.dead <> s.dead_rows or s.completed <> s.completed_rows`;

export async function gather(cluster: Cluster, crowd: Crowd, fleet: Fleet): Promise<Evidence> {
  const { pool } = cluster;
  const rows = async <T extends object>(text: string): Promise<T[]> =>
    (await pool.query(text)).rows as T[];
  return {
    operations: crowd.operations,
    lines: fleet.all.flatMap((member) => fleet.linesOf(member)),
    jobs: await rows<JobRow>(JOBS),
    effects: await rows<EffectRow>(
      `select n::float8 as n, job_id::text as job_id, attempt, worker,
        extract(epoch from at)::float8 * 1000 as at_ms from effects order by seq`,
    ),
    orders: new Set(
      (await rows<{ n: number }>('select n::float8 as n from orders')).map(({ n }) => n),
    ),
    counters: await rows(COUNTERS),
    books: (
      await Promise.all(
        Object.entries(BOOKS).map(async ([what, query]) =>
          (await rows<object>(query)).map((row) => ({ what, ...row })),
        ),
      )
    ).flat(),
    deadLetters: await cluster.value<number>(
      "select count(*)::int from howdah.job_states where state = 'dead'",
    ),
  };
}
