import type pg from 'pg';

/**
 * The application's own tables, in a schema of their own. Each run begins with empty ones.
 * The table of earthquakes takes nothing but earthquakes: the data set also has explosions.
 */
const TABLES = `
  drop schema if exists howdah_example cascade;
  create schema howdah_example;
  create table howdah_example.quakes (
    id          text primary key,
    place       text not null,
    magnitude   real not null,
    kind        text not null constraint quakes_kind_check check (kind = 'earthquake'),
    happened_at timestamptz not null,
    latitude    double precision not null,
    longitude   double precision not null
  );
  create table howdah_example.assessments (
    quake_id    text primary key references howdah_example.quakes (id),
    region      text not null,
    attempt     integer not null,
    assessed_at timestamptz not null default now()
  );
  create table howdah_example.nearest_airports (
    quake_id    text not null references howdah_example.assessments (quake_id),
    rank        integer not null,
    iata        text not null,
    name        text not null,
    km          real not null,
    primary key (quake_id, rank)
  );`;

export async function createTables(pool: pg.Pool): Promise<void> {
  await pool.query(TABLES);
}

/** Runs `work` in a transaction: committed when it returns, rolled back when it throws. */
export async function inTransaction<T>(
  pool: pg.Pool,
  work: (tx: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const tx = await pool.connect();
  let failure: Error | undefined;
  try {
    await tx.query('begin');
    const result = await work(tx);
    await tx.query('commit');
    return result;
  } catch (error) {
    await tx.query('rollback').catch((broken: Error) => {
      failure = broken; // the connection is of no use any more
    });
    throw error;
  } finally {
    tx.release(failure);
  }
}
