import { mkdirSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { pairedRatios, summarise } from './statistics.js';

export const RESULTS = path.join(import.meta.dirname, '../results');

/** One JSON line per environment, run and summary, in bench/results/; plots lie beside it. */
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

  /** Where the plot of a workload belongs. */
  plotPath(workload) {
    return this.path.replace(/jsonl$/, `${workload}.svg`);
  }
}

/** Medians with their spread, a row a contender, then each goal with what was reached. */
export function tabulate(workload, runsByName) {
  const summaries = Object.fromEntries(
    Object.entries(runsByName)
      .filter(([, runs]) => runs.length > 0)
      .map(([name, runs]) => [name, summarise(runs)]),
  );
  const columns = workload.columns.filter(({ key }) =>
    Object.values(summaries).some((summary) => key in summary),
  );
  columns.push({ key: 'foreignLoad', label: 'others, cores', digits: 2 });
  const rows = [['', ...columns.map((column) => column.label)]];
  for (const [name, summary] of Object.entries(summaries)) {
    rows.push([name, ...columns.map((column) => cell(summary[column.key], column.digits ?? 0))]);
  }
  const goals = (workload.goals ?? []).map((goal) => formatGoal(goal, summaries)).filter(Boolean);
  return { summaries, rows, goals: [...goals, ...formatAgainst(columns, runsByName)] };
}

/** The table and the goals as text. */
export function formatWorkload(workload, runsByName) {
  const { summaries, rows, goals } = tabulate(workload, runsByName);
  return { summaries, text: [...align(rows), ...goals.map((goal) => `  ${goal}`)].join('\n') };
}

/**
 * A goal is judged on medians: `measure` gives the figure, `least` or `most` the bound. Without a bound
 * it is a figure to know, and `isReached` undefined. Null where it was not measured.
 */
export function judge({ text, measure, least, most, digits = 2 }, summaries) {
  const value = measure((name, key) => summaries[name]?.[key]?.median ?? Number.NaN);
  if (!Number.isFinite(value)) return null;
  const figure = format(value, digits);
  if (least === undefined && most === undefined) return { text, figure };
  const isReached = least === undefined ? value <= most : value >= least;
  return { text, figure, bound: least === undefined ? `<= ${most}` : `>= ${least}`, isReached };
}

function formatGoal(goal, summaries) {
  const judged = judge(goal, summaries);
  if (!judged) return null;
  const { text, figure, bound, isReached } = judged;
  if (!bound) return `figure   ${text}: ${figure}`;
  return `${isReached ? 'reached' : 'MISSED '}  ${text}: ${figure} (goal ${bound})`;
}

/** Round by round, what this commit does of what the other did. */
function formatAgainst(columns, { howdah = [], against = [] }) {
  const ratios = pairedRatios(howdah, against);
  return columns
    .filter(({ key }) => key in ratios && key !== 'foreignLoad')
    .map(({ key, label }) => `ratio    ${label}, times --against: ${cell(ratios[key], 3)}`);
}

function cell(statistic, digits) {
  if (!statistic) return '-';
  const { median, min, max } = statistic;
  if (min === max) return format(median, digits);
  return `${format(median, digits)} (${format(min, digits)}-${format(max, digits)})`;
}

export const format = (value, digits) =>
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
