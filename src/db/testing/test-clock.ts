import { HowdahError } from '../../core/errors.js';
import type { Database } from '../database.js';
import type { Executor } from '../executor.js';
import { withPlainTimes } from '../times.js';

/** Comment of a clock() that may be moved: only a schema made for tests has it. */
const PERMIT = 'howdah: a test may move this clock';

/** What a test asks of the clock. */
type ClockMove =
  | { readonly verb: 'travel'; readonly ms: number }
  | { readonly verb: 'set'; readonly at: Date }
  | { readonly verb: 'freeze'; readonly at: Date | undefined }
  | { readonly verb: 'resume' }
  | { readonly verb: 'reset' };

/** Lets tests move the clock of this schema, from now on. Needs the owner of the schema. */
export async function permitMoves(database: Database): Promise<void> {
  await database.query({
    text: database.sql(`comment on function {{schema}}.clock() is '${PERMIT}'`),
  });
}

/**
 * Moves the clock of a schema by replacing the body of clock(), for every session at once.
 * @returns the time now
 * @throws HowdahError HOWDAH_CLOCK_FIXED where the schema was not made for tests
 */
export function moveClock(database: Database, move: ClockMove): Promise<Date> {
  return database.transaction(async (tx) => {
    await lockClock(tx, database);
    const isFrozen = await readClock(tx, database);
    const expression = await expressionOf(tx, database, move, isFrozen);
    await tx.query({
      text: database.sql(`create or replace function {{schema}}.clock() returns timestamptz
        language sql volatile parallel safe as $clock$select ${expression}$clock$`),
    });
    return readNow(tx, database);
  });
}

/** Whether tests may move the clock of this schema. */
export async function isMovable(database: Database): Promise<boolean> {
  const text = `select obj_description(to_regprocedure($1), 'pg_proc') as comment`;
  const [row] = await database.query<{ comment: string | null }>({ text }, [
    `"${database.schema}".clock()`,
  ]);
  return row?.comment === PERMIT;
}

/** The time of the schema. */
export async function readNow(executor: Executor, database: Database): Promise<Date> {
  const [row] = await executor.query<{ now: Date }>({
    text: database.sql(withPlainTimes('select {{schema}}.clock() as now')),
  });
  return (row as { now: Date }).now;
}

/** Two that replace a function at once get in each other's way. */
async function lockClock(tx: Executor, database: Database): Promise<void> {
  await tx.query({
    text: database.sql('select id from {{schema}}._locks where id = 65 for update'),
  });
}

/** @returns whether time stands still */
async function readClock(tx: Executor, database: Database): Promise<boolean> {
  const { schema } = database;
  const text = `select obj_description(oid, 'pg_proc') as comment, prosrc as body
    from pg_proc where oid = to_regprocedure($1)`;
  const [row] = await tx.query<{ comment: string | null; body: string }>({ text }, [
    `"${schema}".clock()`,
  ]);
  if (!row) {
    throw new HowdahError('HOWDAH_SCHEMA_MISSING', `Schema ${schema} is not installed.`, {
      details: { schema },
      remedy: 'Make the database with createTestDatabase().',
    });
  }
  if (row.comment !== PERMIT) {
    throw new HowdahError('HOWDAH_CLOCK_FIXED', `The clock of schema ${schema} is not a test's.`, {
      details: { schema },
      remedy: 'Make the database with createTestDatabase(), or call permitTimeTravel() for it.',
    });
  }
  return !row.body.includes('clock_timestamp');
}

/** The body of clock() after the move: the true time, that and a distance, or a constant. */
async function expressionOf(
  tx: Executor,
  database: Database,
  move: ClockMove,
  isFrozen: boolean,
): Promise<string> {
  if (move.verb === 'reset') return 'pg_catalog.clock_timestamp()';
  const [target, values] = targetOf(move);
  const staysFrozen = move.verb === 'freeze' || (isFrozen && move.verb !== 'resume');
  const text = staysFrozen
    ? `select format('timestamptz %L', to_char((${target}) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"')) as body`
    : `select format('pg_catalog.clock_timestamp() + interval %L',
        extract(epoch from ${target} - clock_timestamp()) || ' seconds') as body`;
  const [row] = await tx.query<{ body: string }>({ text: database.sql(text) }, values);
  return (row as { body: string }).body;
}

function targetOf(move: Exclude<ClockMove, { verb: 'reset' }>): [string, unknown[]] {
  if (move.verb === 'travel') {
    return [`{{schema}}.clock() + $1::float8 * interval '1 millisecond'`, [move.ms]];
  }
  if (move.verb === 'resume' || move.at === undefined) return ['{{schema}}.clock()', []];
  return ['$1::timestamptz', [move.at.toISOString()]];
}
