import { mkdirSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { summarise } from './statistics.js';

const RESULTS = path.join(import.meta.dirname, '../results');

/** One JSON line per environment, run and summary, in bench/results/. */
export class ResultsFile {
  #file;

  constructor() {
    mkdirSync(RESULTS, { recursive: true });
    this.path = path.join(RESULTS, `${new Date().toISOString().replaceAll(/[:.]/g, '-')}.jsonl`);
    this.#file = openSync(this.path, 'a');
  }

  write(type, fields) {
    writeSync(this.#file, `${JSON.stringify({ type, ...fields })}\n`);
  }
}

/** A table of medians with their spread, then each goal with what was reached. */
export function formatWorkload(workload, runsByName) {
  const summaries = Object.fromEntries(
    Object.entries(runsByName).map(([name, runs]) => [name, summarise(runs)]),
  );
  const columns = workload.columns.filter(({ key }) =>
    Object.values(summaries).some((summary) => key in summary),
  );
  columns.push({ key: 'foreignLoad', label: 'others, cores', digits: 2 });
  const rows = [['', ...columns.map((column) => column.label)]];
  for (const [name, summary] of Object.entries(summaries)) {
    rows.push([name, ...columns.map((column) => cell(summary[column.key], column.digits ?? 0))]);
  }
  const goals = (workload.goals ?? []).map((goal) => formatGoal(goal, summaries));
  return { summaries, text: [...align(rows), ...goals.filter(Boolean)].join('\n') };
}

/** A goal is judged on medians: `measure` gives the figure, `least` or `most` the bound. */
function formatGoal({ text, measure, least, most, digits = 2 }, summaries) {
  const value = measure((name, key) => summaries[name]?.[key]?.median ?? Number.NaN);
  if (!Number.isFinite(value)) return null;
  const isReached = least === undefined ? value <= most : value >= least;
  const bound = least === undefined ? `<= ${most}` : `>= ${least}`;
  return `  ${isReached ? 'reached' : 'MISSED '}  ${text}: ${format(value, digits)} (goal ${bound})`;
}

function cell(statistic, digits) {
  if (!statistic) return '-';
  const { median, min, max } = statistic;
  if (min === max) return format(median, digits);
  return `${format(median, digits)} (${format(min, digits)}-${format(max, digits)})`;
}

const format = (value, digits) =>
  value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });

function align(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    row
      .map((text, i) => (i === 0 ? text.padEnd(widths[i]) : text.padStart(widths[i])))
      .join('  ')
      .trimEnd(),
  );
}
