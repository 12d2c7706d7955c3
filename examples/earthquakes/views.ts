import type pg from 'pg';

interface View {
  readonly title: string;
  readonly sql: string;
}

/** What an operator would type in psql. */
export const VIEWS: readonly View[] = [
  {
    title: 'Queues',
    sql: `select queue, ready, scheduled, running, completed, failed_attempts, buried, dead
from howdah.queue_stats where queue like 'earthquakes/%'`,
  },
  {
    title: 'Dead letters, with the error of each attempt',
    sql: `select d.id, d.queue, d.reason, e ->> 'attempt' as attempt, e ->> 'message' as error
from howdah.dead_letters d, jsonb_array_elements(d.errors) e
where d.queue = 'earthquakes/assess'`,
  },
  {
    title: 'Workers',
    sql: `select worker, alive, leads, lease_ms, info -> 'queues' as queues
from howdah.workers where alive`,
  },
  {
    title: 'Results: the strongest earthquakes within 100 km of an airport',
    sql: `select q.magnitude as mag, q.place, a.attempt, n.iata, n.name as airport, n.km
from howdah_example.quakes q
join howdah_example.assessments a on a.quake_id = q.id
join howdah_example.nearest_airports n on n.quake_id = q.id and n.rank = 1
where n.km < 100 order by q.magnitude desc, q.id limit 5`,
  },
];

/** Prints the rows of each view, under the SQL that gave them. */
export async function printViews(pool: pg.Pool): Promise<void> {
  for (const { title, sql } of VIEWS) {
    const { rows, fields } = await pool.query<Record<string, unknown>>(sql);
    console.log(`\n${title}\n${sql.replace(/^/gm, '  > ')}\n`);
    console.log(
      tableOf(
        fields.map(({ name }) => name),
        rows,
      ).replace(/^/gm, '  '),
    );
  }
}

const CELL_CHARS_MAX = 64;

function tableOf(columns: readonly string[], rows: readonly Record<string, unknown>[]): string {
  const body = rows.map((row) => columns.map((column) => cellOf(row[column])));
  const widths = columns.map((column, i) =>
    Math.max(column.length, ...body.map((cells) => (cells[i] as string).length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] as number))
      .join('  ')
      .trimEnd();
  return [line(columns), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join(
    '\n',
  );
}

function cellOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  return text.length > CELL_CHARS_MAX ? `${text.slice(0, CELL_CHARS_MAX - 1)}…` : text;
}
