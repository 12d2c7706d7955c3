import { createHash } from 'node:crypto';
import { type Handler, queue } from 'howdah';
import type pg from 'pg';
import type { Airport } from './data-set.js';
import { type NearAirport, nearestAirports } from './nearest-airports.js';
import { inTransaction } from './tables.js';

/** Where jobs go that are out of attempts. */
export const deadQueue = queue('earthquakes/dead', { retention: '7d' });

/** What a job is about. */
export interface Assessment {
  readonly quakeId: string;
  readonly place: string;
  readonly latitude: number;
  readonly longitude: number;
}

/** One job an earthquake. The policy is kept in the database, beside the queue. */
export const assessQueue = queue<Assessment>('earthquakes/assess', {
  attempts: 4,
  backoff: { type: 'exponential', delay: '250ms', max: '2s' },
  timeout: '30s',
  deadLetterQueue: deadQueue,
});

/**
 * Finds the airports nearest to an earthquake. What it writes and the completion of its job are one
 * transaction: however often it runs, its effect is there once.
 */
export function assess(pool: pg.Pool, airports: readonly Airport[]): Handler<Assessment> {
  return async ({ payload, attempt }, context) => {
    const nearest = nearestAirports(payload, airports, 3);
    const region = lookUpRegion(payload, attempt);
    await inTransaction(pool, async (tx) => {
      await writeAssessment(tx, payload.quakeId, region, attempt, nearest);
      await context.completeIn(tx, { region, nearest: nearest[0]?.iata ?? null });
    });
  };
}

async function writeAssessment(
  tx: pg.PoolClient,
  quakeId: string,
  region: string,
  attempt: number,
  nearest: readonly NearAirport[],
): Promise<void> {
  await tx.query(
    `with assessed as (
       insert into howdah_example.assessments (quake_id, region, attempt) values ($1, $2, $3)
     )
     insert into howdah_example.nearest_airports (quake_id, rank, iata, name, km)
     select $1, n, a ->> 'iata', a ->> 'name', (a ->> 'km')::real
     from jsonb_array_elements($4::jsonb) with ordinality e (a, n)`,
    [quakeId, region, attempt, JSON.stringify(nearest)],
  );
}

/**
 * Stands in for a web service that now and then does not answer: for about one earthquake in ten the
 * first attempt fails.
 */
function lookUpRegion({ quakeId, place }: Assessment, attempt: number): string {
  if (attempt === 1 && isUnlucky(quakeId)) {
    throw new Error(`the gazetteer did not answer about ${quakeId}`);
  }
  return place.split(', ').at(-1) ?? place;
}

/** Drawn by the id, so that the account at the end can be exact. */
export function isUnlucky(quakeId: string): boolean {
  return createHash('sha256').update(quakeId).digest().readUInt32BE(0) % 10 === 0;
}
