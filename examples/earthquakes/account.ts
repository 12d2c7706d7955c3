import type pg from 'pg';
import { isUnlucky } from './assess.js';
import type { ImportReport } from './import-quakes.js';

/** One line of the account: what the database says, and what it must be. */
interface Entry {
  readonly label: string;
  readonly count: number;
  readonly expected: number;
}

/** What the run was given. */
export interface RunFacts extends ImportReport {
  readonly records: number;
  /** The record that can never be assessed. */
  readonly poisonId: string;
  readonly attemptsMax: number;
  /** When the run began, on the clock of the database. */
  readonly startedAt: Date;
}

/** Prints the account. @returns whether every line adds up */
export async function printAccount(pool: pg.Pool, facts: RunFacts): Promise<boolean> {
  const entries = await accountOf(pool, facts);
  console.log('\nAccount, counted in the database');
  for (const { label, count, expected } of entries) {
    const verdict = count === expected ? 'ok' : `WRONG, must be ${expected}`;
    console.log(`  ${String(count).padStart(5)}  ${label.padEnd(66)} ${verdict}`);
  }
  return entries.every(({ count, expected }) => count === expected);
}

async function accountOf(pool: pg.Pool, facts: RunFacts): Promise<Entry[]> {
  const { records, committed, rolledBack, poisonId, attemptsMax } = facts;
  const counts = await countAll(pool, facts);
  const good = committed.length - 1;
  const retried = committed.filter((id) => id !== poisonId && isUnlucky(id)).length;
  return [
    entry('records read = committed + rolled back', committed.length + rolledBack.length, records),
    entry('earthquakes in the table = committed', counts.quakes, committed.length),
    entry('jobs enqueued = committed', counts.enqueued, committed.length),
    entry('rows and jobs of transactions that were rolled back', counts.ghosts, 0),
    entry('jobs completed = enqueued - 1', counts.completed, good),
    entry('completed jobs in the history', counts.history, good),
    entry('assessments written, once a completed job', counts.assessments, good),
    entry('airports written, three an assessment', counts.airports, 3 * good),
    entry('assessments that took a second attempt', counts.second, retried),
    entry(
      'attempts failed = those + all of the poisonous job',
      counts.failed,
      retried + attemptsMax,
    ),
    entry('jobs in the dead-letter queue', counts.dead, 1),
    entry('errors kept of the dead job', counts.errors, attemptsMax),
    entry('jobs still waiting or running', counts.unfinished, 0),
  ];
}

function entry(label: string, count: number, expected: number): Entry {
  return { label, count, expected };
}

type Counts = Record<
  | 'quakes'
  | 'ghosts'
  | 'assessments'
  | 'airports'
  | 'second'
  | 'history'
  | 'errors'
  | 'enqueued'
  | 'completed'
  | 'failed'
  | 'dead'
  | 'unfinished',
  number
>;

async function countAll(pool: pg.Pool, facts: RunFacts): Promise<Counts> {
  const { rows } = await pool.query<Counts>(
    `select s.enqueued::int, s.completed::int, s.failed_attempts::int as failed, s.buried::int as dead,
       (s.ready + s.scheduled + s.running)::int as unfinished,
       (select count(*)::int from howdah_example.quakes) as quakes,
       (select count(*)::int from howdah_example.assessments) as assessments,
       (select count(*)::int from howdah_example.assessments where attempt = 2) as second,
       (select count(*)::int from howdah_example.nearest_airports) as airports,
       (select count(*)::int from howdah_example.quakes where id = any ($1))
         + (select count(*)::int from howdah.jobs
            where enqueued_at >= $2 and payload ->> 'quakeId' = any ($1)) as ghosts,
       (select count(*)::int from howdah.history
        where queue = s.queue and state = 'completed' and enqueued_at >= $2) as history,
       (select coalesce(sum(errors_count), 0)::int from howdah.dead_letters
        where queue = s.queue and payload ->> 'quakeId' = $3) as errors
     from howdah.queue_stats s where s.queue = 'earthquakes/assess'`,
    [facts.rolledBack, facts.startedAt, facts.poisonId],
  );
  return rows[0] as Counts;
}
