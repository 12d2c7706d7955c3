import { HowdahError } from '../../core/errors.js';
import type { Connection } from '../connect/connection.js';

/** Which schema the functions were made for, and whether its tables are there. */
const LOOK = `select pg_catalog.to_regclass('"' || $1 || '"._queues') is not null as "hasTables",
  (select pg_catalog.substring(s.setting, '^search_path="?([^",]+)')
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    cross join lateral pg_catalog.unnest(p.proconfig) s (setting)
    where n.nspname = $1 and p.proname = 'create_queue' and s.setting like 'search_path=%' limit 1) as "madeFor"`;

/**
 * Refuses what looks installed, or like nothing, and is neither: restored without its rows, or renamed.
 * @param recorded names of the migrations that the schema says it has
 * @throws HowdahError HOWDAH_MIGRATION_FAILED
 */
export async function assertWhole(
  connection: Connection,
  schema: string,
  recorded: readonly string[],
): Promise<void> {
  const { rows } = await connection.query<{ hasTables: boolean; madeFor: string | null }>(LOOK, [
    schema,
  ]);
  const { hasTables = false, madeFor = null } = rows[0] ?? {};
  if (hasTables && recorded.length === 0) {
    throw new HowdahError(
      'HOWDAH_MIGRATION_FAILED',
      `Schema ${schema} has tables, but its record of migrations is empty: it was restored without its rows.`,
      {
        details: { schema },
        remedy: `Restore it with its rows; where nothing is lost by it, run DROP SCHEMA "${schema}" CASCADE and \`howdah migrate\`.`,
      },
    );
  }
  if (madeFor !== null && madeFor !== schema) {
    throw new HowdahError(
      'HOWDAH_MIGRATION_FAILED',
      `Schema ${schema} was renamed: its functions look for schema ${madeFor}.`,
      {
        details: { schema, madeFor },
        remedy: `Run ALTER SCHEMA "${schema}" RENAME TO "${madeFor}", and give the option schema that name.`,
      },
    );
  }
}

/** Mends what a restore has left behind. @returns what that was */
export async function mend(connection: Connection, schema: string): Promise<readonly string[]> {
  const { rows } = await connection.query<{ mended: string[] }>(
    `select pg_catalog.to_json("${schema}".mend()) as mended`,
  );
  // of the transaction that holds the lock, where no migration has ended it
  await connection.query('commit');
  return rows[0]?.mended ?? [];
}
