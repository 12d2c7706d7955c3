import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { WORKLOADS } from '../workloads/registry.js';
import { SUITES } from './arguments.js';
import { formatRan, mergePages, readPage } from './page.js';
import { plotWorkload } from './plot.js';
import { judge, RESULTS, tabulate } from './report.js';

const DOCS = path.join(import.meta.dirname, '../../docs');
const TITLES = { peers: 'Beside its peers', semantics: 'What delivery promises cost and keep' };
const INTRODUCTION = `# Benchmarks

Figures that \`npm run bench\` printed, and \`npm run bench -- --write-docs\` put here. How it measures is written in
[bench/README.md](../bench/README.md), and with which versions and settings [below](#what-ran). A cell is the median with the least and the greatest run; compare within a table:
ratios hold where absolute figures depend on the machine and the hour. Each job was counted by its handler: a run
that lost or repeated one has failed.
`;

/**
 * Writes docs/benchmarks.md and a plot a workload from results files (default: the newest). Where several
 * have a workload, the last given counts; what none of them has stays as it was. Returns what was written.
 */
export function writeDocs(files = [newest()]) {
  const parts = new Map();
  for (const file of files) {
    for (const [name, part] of readResults(file)) parts.set(name, part);
  }
  const plots = path.join(DOCS, 'benchmarks');
  mkdirSync(plots, { recursive: true });
  const written = [path.join(DOCS, 'benchmarks.md')];
  const measured = { goals: new Map(), sections: new Map(), ran: whatRan(parts) };
  for (const workload of WORKLOADS) {
    const part = parts.get(workload.name);
    if (!part) continue;
    const plot = plotWorkload(workload, part.runs);
    if (plot) written.push(writePlot(plots, workload, plot));
    measured.goals.set(workload.name, goalsOf(workload, part.runs));
    measured.sections.set(workload.name, formatSection(workload, part, plot !== null));
  }
  const [page] = written;
  const older = readPage(existsSync(page) ? readFileSync(page, 'utf8') : '');
  const names = WORKLOADS.map(({ name }) => name);
  const text = formatPage(mergePages(older, measured, names));
  writeFileSync(page, text);
  for (const file of readdirSync(plots)) {
    if (!text.includes(`(benchmarks/${file})`)) rmSync(path.join(plots, file));
  }
  return written;
}

function formatPage({ goals, sections, ran }) {
  const text = [INTRODUCTION, ...listGoals([...goals.values()].flat())];
  for (const suite of SUITES) {
    const own = WORKLOADS.filter(
      ({ name, suite: its = SUITES[0] }) => its === suite && sections.has(name),
    );
    if (own.length > 0) text.push(`## ${TITLES[suite]}\n`);
    text.push(...own.map(({ name }) => sections.get(name)));
  }
  return `${[...text, formatRan(ran)].join('\n').trimEnd()}\n`;
}

function newest() {
  const names = existsSync(RESULTS) ? readdirSync(RESULTS) : [];
  const last = names
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .at(-1);
  if (last) return path.join(RESULTS, last);
  console.error('--write-docs: there are no results yet: run npm run bench first');
  process.exit(2);
}

/** By workload: its runs by contender, its failures, and the environment it was measured in. */
function readResults(file) {
  const parts = new Map();
  let environment;
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const { type, ...entry } = JSON.parse(line);
    if (type === 'environment') environment = entry;
    if (!entry.workload) continue;
    const part = parts.get(entry.workload) ?? { environment, runs: {}, failures: [] };
    parts.set(entry.workload, part);
    if (type === 'run') {
      part.runs[entry.contender] ??= [];
      part.runs[entry.contender].push(entry.metrics);
    }
    if (type === 'failure') part.failures.push(`${entry.contender}: ${entry.error}`);
  }
  return parts;
}

/** What was aimed at and what was reached, missed or not: a row a goal. */
function goalsOf(workload, runs) {
  const { summaries } = tabulate(workload, runs);
  return (workload.goals ?? []).flatMap((goal) => {
    const judged = judge(goal, summaries);
    if (!judged?.bound) return [];
    const { text, figure, bound, isReached } = judged;
    const cells = [`[${workload.name}](#${workload.name})`, text, figure, bound];
    return [`| ${cells.join(' | ')} | ${isReached ? 'reached' : '**missed**'} |`];
  });
}

/** These rows, before all tables. */
function listGoals(rows) {
  if (rows.length === 0) return [];
  const words = `Goals were set before anything was measured. Why one is missed, and what was tried, is told in
[bench/TUNING.md](../bench/TUNING.md).`;
  const head = ['| workload | figure | measured | goal | |', '|---|---|--:|--:|---|'];
  return ['## The goals\n', `${words}\n`, `${[...head, ...rows].join('\n')}\n`];
}

/** What ran where, and when. */
function whatRan(parts) {
  const ran = new Map();
  for (const { environment } of parts.values()) {
    for (const words of describe(environment)) {
      ran.set(words, new Set(ran.get(words)).add(environment.at));
    }
  }
  return ran;
}

function describe({ mode, cpu, memoryGiB, node, postgres, redis, contenders }) {
  const settings = JSON.stringify(postgres?.settings);
  return [
    `${cpu}, ${memoryGiB} GiB, Node ${node} (${mode})`,
    ...(postgres ? [`PostgreSQL ${postgres.version} \`${settings}\``] : []),
    ...(redis ? [`Redis ${redis}, append-only file`] : []),
    ...Object.entries(contenders).map(([name, words]) => `${name}: ${words}`),
  ];
}

function formatSection(workload, { environment, runs, failures }, hasPlot) {
  const { rows, goals } = tabulate(workload, runs);
  const rounds = Math.max(0, ...Object.values(runs).map(({ length }) => length));
  const lines = [
    `### ${workload.name}`,
    '',
    `${capital(workload.title)}. Rounds: ${rounds}; measured ${environment.at}.`,
    '',
  ];
  if (workload.settings) lines.push(`Settings: \`${JSON.stringify(workload.settings)}\``, '');
  if (hasPlot) lines.push(`![${workload.title}](benchmarks/${workload.name}.svg)`, '');
  const [head, ...body] = rows.map((row) => `| ${row.join(' | ')} |`);
  lines.push(
    head,
    `|---|${rows[0]
      .slice(1)
      .map(() => '--:|')
      .join('')}`,
    ...body,
    '',
  );
  for (const failure of failures) lines.push(`- FAILED ${failure.split('\n')[0]}`);
  for (const goal of goals) lines.push(`- ${goal.replace(/\s+/g, ' ')}`);
  return `${lines.join('\n').trimEnd()}\n`;
}

function writePlot(folder, { name }, plot) {
  const file = path.join(folder, `${name}.svg`);
  writeFileSync(file, plot);
  return file;
}

const capital = (words) => words[0].toUpperCase() + words.slice(1);
