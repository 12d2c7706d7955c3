import { createHash } from 'node:crypto';
import { type Handler, queue } from 'howdah';
import type pg from 'pg';
import type { Airport, Quake } from './data-set.js';
import { type NearAirport, nearestAirports } from './nearest-airports.js';
import { inTransaction } from './tables.js';

/** Where jobs go that are out of attempts. */
export const deadQueue = queue('earthquakes/dead', { retention: '7d' });

/** One job an earthquake. The policy is kept in the database, beside the queue. */
export const assessQueue = queue<{ quakeId: string }>('earthquakes/assess', {
  attempts: 4,
  backoff: { type: 'exponential', delay: '250ms', max: '2s' },
  timeout: '30s',
  deadLetterQueue: deadQueue,
});

/**
 * Finds the airports nearest to an earthquake. What it writes and the completion of its job are one
 * transaction: however often it runs, its effect is there once.
 */
export function assess(pool: pg.Pool, airports: readonly Airport[]): Handler<{ quakeId: string }> {
  return async (job, context) => {
    const quake = await readQuake(pool, job.payload.quakeId);
    const nearest = nearestAirports(quake, airports, 3);
    const region = lookUpRegion(quake, job.attempt);
    await inTransaction(pool, async (tx) => {
      await writeAssessment(tx, quake.id, region, job.attempt, nearest);
      await context.completeIn(tx, { region, nearest: nearest[0]?.iata ?? null });
    });
  };
}

async function readQuake(pool: pg.Pool, id: string): Promise<Quake> {
  const { rows } = await pool.query<Quake>(
    'select id, place, latitude, longitude from howdah_example.quakes where id = $1',
    [id],
  );
  if (!rows[0]) throw new Error(`earthquake ${id} is not there`);
  return rows[0];
}

async function writeAssessment(
  tx: pg.PoolClient,
  quakeId: string,
  region: string,
  attempt: number,
  nearest: readonly NearAirport[],
): Promise<void> {
  await tx.query(
    'insert into howdah_example.assessments (quake_id, region, attempt) values ($1, $2, $3)',
    [quakeId, region, attempt],
  );
  await tx.query(
    `insert into howdah_example.nearest_airports (quake_id, rank, iata, name, km)
     select $1, n, a ->> 'iata', a ->> 'name', (a ->> 'km')::real
     from jsonb_array_elements($2::jsonb) with ordinality e (a, n)`,
    [quakeId, JSON.stringify(nearest)],
  );
}

/**
 * Stands in for a web service that now and then does not answer: for about one earthquake in ten the
 * first attempt fails.
 */
function lookUpRegion(quake: Quake, attempt: number): string {
  if (attempt === 1 && isUnlucky(quake.id)) {
    throw new Error(`the gazetteer did not answer about ${quake.id}`);
  }
  return quake.place.split(', ').at(-1) ?? quake.place;
}

/** Drawn by the id, so that the account at the end can be exact. */
export function isUnlucky(quakeId: string): boolean {
  return createHash('sha256').update(quakeId).digest().readUInt32BE(0) % 10 === 0;
}
