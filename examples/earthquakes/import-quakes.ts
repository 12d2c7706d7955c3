import type { Client } from 'howdah';
import type pg from 'pg';
import { assessQueue } from './assess.js';
import type { Quake } from './data-set.js';
import { inTransaction } from './tables.js';

/** Transactions at once. */
const LANES = 4;
const CHECK_VIOLATION = '23514';

/** What became of the records. */
export interface ImportReport {
  readonly committed: readonly string[];
  readonly rolledBack: readonly string[];
}

/**
 * Writes each record and enqueues its job in one transaction. Where the table refuses the record the
 * transaction rolls back, and the job that was enqueued in it a moment before has never been there.
 */
export async function importQuakes(
  pool: pg.Pool,
  client: Client,
  quakes: readonly Quake[],
  signal: AbortSignal,
): Promise<ImportReport> {
  const committed: string[] = [];
  const rolledBack: string[] = [];
  const rest = quakes.values();
  const lane = async (): Promise<void> => {
    for (const quake of rest) {
      if (signal.aborted) return;
      const isCommitted = await importOne(pool, client, quake);
      (isCommitted ? committed : rolledBack).push(quake.id);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return { committed, rolledBack };
}

async function importOne(pool: pg.Pool, client: Client, quake: Quake): Promise<boolean> {
  const { id: quakeId, place, latitude, longitude } = quake;
  try {
    await inTransaction(pool, async (tx) => {
      await client.enqueue(assessQueue, { quakeId, place, latitude, longitude }, { tx });
      await insertQuake(tx, quake);
    });
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === CHECK_VIOLATION) return false;
    throw error;
  }
}

async function insertQuake(tx: pg.PoolClient, quake: Quake): Promise<void> {
  const { id, place, magnitude, kind, happenedAt, latitude, longitude } = quake;
  await tx.query(
    `insert into howdah_example.quakes
       (id, place, magnitude, kind, happened_at, latitude, longitude)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [id, place, magnitude, kind, happenedAt, latitude, longitude],
  );
}
