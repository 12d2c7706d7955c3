import type { BattleReport } from './battle.js';

const PROBLEMS_SHOWN = 5;

/** Prints facts, faults and verdicts. Returns whether all is well and each nemesis hit. */
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
  const names = [...new Set(strikes.map(({ nemesis }) => nemesis))].sort();
  let isHit = true;
  for (const name of names) {
    const own = strikes.filter(({ nemesis }) => nemesis === name);
    const hits = own.filter(({ evidence }) => evidence !== undefined).length;
    if (hits === 0) isHit = false;
    say(`  ${hits} of ${own.length} hit  ${name}`);
  }
  return isHit && names.length > 0;
}
