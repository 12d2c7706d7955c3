import type { BattleReport } from './battle.js';
import type { Strike } from './strikes.js';

const PROBLEMS_SHOWN = 5;

/** Prints facts, faults and verdicts. Returns whether all is well and each nemesis hit, and one acted. */
export function printReport(report: BattleReport, say: (line: string) => void): boolean {
  for (const [fact, value] of Object.entries(report.facts))
    say(`  ${String(value).padStart(8)}  ${fact}`);
  const isHit = printStrikes(report, say);
  let isGood = true;
  for (const { check, problems } of report.verdicts) {
    say(`  ${problems.length === 0 ? 'ok    ' : 'FAILED'}  ${check}`);
    for (const problem of problems.slice(0, PROBLEMS_SHOWN)) say(`            ${problem}`);
    if (problems.length > PROBLEMS_SHOWN)
      say(`            and ${problems.length - PROBLEMS_SHOWN} more`);
    isGood &&= problems.length === 0;
  }
  say(isGood && isHit ? 'nothing lost, nothing repeated' : 'FAILED');
  return isGood && isHit;
}

/** A nemesis that never hit has shown nothing. */
function printStrikes({ strikes }: BattleReport, say: (line: string) => void): boolean {
  const tally = tallyOf(strikes);
  if (tally.size === 0) say('  nothing was tried: no nemesis can act here');
  for (const [name, { hits, all }] of tally) say(`  ${hits} of ${all} hit  ${name}`);
  return tally.size > 0 && [...tally.values()].every(({ hits }) => hits > 0);
}

/** All runs: how often each nemesis hit, and what the checks say. */
export function printSummary(reports: readonly BattleReport[], say: (line: string) => void): void {
  say('\n| nemesis | strikes that hit | problems found |\n|---|---|---|');
  const problems = new Map<string, number>();
  for (const { strikes, verdicts } of reports) {
    const count = verdicts.reduce((sum, each) => sum + each.problems.length, 0);
    for (const { nemesis } of new Map(strikes.map((each) => [each.nemesis, each])).values()) {
      problems.set(nemesis, (problems.get(nemesis) ?? 0) + count);
    }
  }
  for (const [name, { hits, all }] of tallyOf(reports.flatMap(({ strikes }) => strikes))) {
    say(`| ${name} | ${hits} of ${all} | ${problems.get(name) ?? 0} |`);
  }
}

function tallyOf(strikes: readonly Strike[]): Map<string, { hits: number; all: number }> {
  const tally = new Map<string, { hits: number; all: number }>();
  for (const { nemesis, evidence } of strikes) {
    const { hits, all } = tally.get(nemesis) ?? { hits: 0, all: 0 };
    tally.set(nemesis, { hits: hits + (evidence === undefined ? 0 : 1), all: all + 1 });
  }
  return new Map([...tally].sort(([a], [b]) => (a < b ? -1 : 1)));
}
