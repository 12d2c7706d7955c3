import { appendFile } from 'node:fs/promises';
import { loadavg } from 'node:os';
import path from 'node:path';
import { Random } from '../random.js';
import { describeMachine, type Line, linesOf, numberOf, print, type Run } from './board.js';
import { Lab } from './lab.js';
import { writePage } from './page.js';
import { SUBJECTS } from './registry.js';
import type { Finding, Subject } from './subject.js';

/** How to run the scoreboard. */
export interface ScoreboardOptions {
  /** The repository. */
  readonly root: string;
  readonly seed: string;
  /** Share of the full size. */
  readonly scale: number;
  /** Ids such as `S1`; undefined: all. */
  readonly only: readonly string[] | undefined;
  /** A line of JSON a figure is added to this file. */
  readonly jsonFile: string | undefined;
  /** Whether the table of docs/reliability.md gets what was measured. */
  readonly writesDocs: boolean;
  readonly log: (line: string) => void;
}

/** Measures, prints and keeps. Returns the exit code: 1 where a target was missed. */
export async function runScoreboard(options: ScoreboardOptions): Promise<number> {
  const { root, seed, scale, jsonFile, writesDocs, log } = options;
  const chosen = choose(options.only);
  const run = { seed, scale, ...(await describe(root)) };
  log(`seed ${seed}, scale ${scale}, version ${run.version}, ${run.machine}`);
  const lines: Line[] = [];
  for (const subject of chosen) {
    const all = await measured(subject, run, log);
    const own = all.filter(({ id }) => options.only?.includes(id) ?? true);
    lines.push(...own);
    for (const line of own) {
      log(print(line));
      if (jsonFile) await appendFile(jsonFile, `${JSON.stringify(line)}\n`);
    }
    if (writesDocs) await writePage(path.join(root, 'docs', 'reliability.md'), own, SUBJECTS);
  }
  log('');
  for (const { id, verdict, faults, figure } of lines.sort(
    (a, b) => numberOf(a.id) - numberOf(b.id),
  ))
    log(`${id.padEnd(4)} ${verdict.padEnd(7)} n = ${String(faults).padEnd(7)} ${figure}`);
  const missed = lines.filter(({ verdict }) => verdict === 'missed');
  const skipped = lines.filter(({ verdict }) => verdict === 'not run');
  log(
    `${lines.length - missed.length - skipped.length} ok, ${missed.length} missed, ${skipped.length} not run`,
  );
  return missed.length === 0 ? 0 : 1;
}

function choose(only: readonly string[] | undefined): readonly Subject[] {
  const ids = SUBJECTS.flatMap(({ figures }) => figures.map(({ id }) => id));
  const unknown = only?.filter((id) => !ids.includes(id)) ?? [];
  if (unknown.length > 0)
    throw new Error(`--only ${unknown.join()}: unknown; known are ${ids.join(', ')}`);
  return SUBJECTS.filter(
    ({ figures }) => only === undefined || figures.some(({ id }) => only.includes(id)),
  );
}

/** Measures one subject; one that breaks off has missed its target. */
export async function measured(
  subject: Subject,
  run: Run,
  log: (line: string) => void,
): Promise<Line[]> {
  const { seed, scale } = run;
  const begun = performance.now();
  const random = new Random(`${seed}/${subject.name}`);
  const lab = new Lab({ random, scale, log });
  log(`  ${subject.name} ...`);
  let findings: readonly Finding[] | string;
  try {
    findings = subject.unable?.() ?? (await subject.measure(lab));
  } catch (error) {
    // it may be ours, or what was to be measured: not a reason to call it not run
    const measured = `broke off: ${error instanceof Error ? error.message : error}`;
    findings = subject.figures.map(() => ({ measured, faults: 0, isMet: false }));
    log(`    ${error instanceof Error ? error.stack : error}`);
  } finally {
    await lab.close();
  }
  const seconds = Math.round((performance.now() - begun) / 1_000);
  return linesOf(subject, findings, { ...run, seconds, load: Math.round(loadavg()[0] ?? 0) });
}

async function describe(root: string): Promise<Pick<Run, 'version' | 'machine' | 'on'>> {
  const { default: manifest } = await import(path.join(root, 'package.json'), {
    with: { type: 'json' },
  });
  return {
    version: manifest.version,
    machine: describeMachine(),
    on: new Date().toISOString().slice(0, 10),
  };
}
