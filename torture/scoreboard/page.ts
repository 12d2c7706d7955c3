import { readFile, writeFile } from 'node:fs/promises';
import { type Line, numberOf } from './board.js';
import type { Subject } from './subject.js';

const BEGIN = '<!-- scoreboard begins -->';
const END = '<!-- scoreboard ends -->';
const HEAD = ['| id | figure | target | measured | n | run | |', '|---|---|---|---|---|---|---|'];

/** Rows of a page's table, by id. */
export function rowsOf(page: string): Map<string, string> {
  const [, table = ''] = page.split(BEGIN);
  const rows = (table.split(END)[0] ?? '').split('\n').filter((row) => /^\| S\d+ /.test(row));
  return new Map(rows.map((row) => [row.slice(2, row.indexOf(' |', 2)), row]));
}

/** Puts what was measured into the table; rows that this run did not measure stay as they are. */
export function withLines(
  page: string,
  lines: readonly Line[],
  subjects: readonly Subject[],
): string {
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined)
    throw new Error(`the page has no table between ${BEGIN} and ${END}`);
  const rows = rowsOf(page);
  for (const { id, figure, target } of subjects.flatMap(({ figures }) => figures))
    if (!rows.has(id)) rows.set(id, row([id, figure, target, 'not run yet', '', '', 'not run']));
  for (const line of lines) rows.set(line.id, rowOf(line));
  const known = new Set(subjects.flatMap(({ figures }) => figures.map(({ id }) => id)));
  const table = [...rows]
    .filter(([id]) => known.has(id))
    .sort(([a], [b]) => numberOf(a) - numberOf(b))
    .map(([, text]) => text);
  return `${before}${BEGIN}\n\n${[...HEAD, ...table].join('\n')}\n\n${END}${after}`;
}

/** Writes them into the file. */
export async function writePage(
  file: string,
  lines: readonly Line[],
  subjects: readonly Subject[],
): Promise<void> {
  await writeFile(file, withLines(await readFile(file, 'utf8'), lines, subjects));
}

function rowOf(line: Line): string {
  const { id, figure, target, measured, faults, verdict } = line;
  const { scale, seed, on, version, machine, load } = line;
  const how =
    verdict === 'not run'
      ? ''
      : `scale ${scale}, seed ${seed}, ${on}, ${version} on ${machine}, load ${load}`;
  return row([id, figure, target, measured, String(faults), how, verdict]);
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
}
