import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type BattleReport, fight } from './battle.js';
import { proveChecker } from './bugs/prove.js';
import { BUGS } from './bugs/registry.js';
import { type Build, buildOf } from './build.js';
import { NEMESES } from './nemeses/registry.js';
import { Random } from './random.js';
import { printReport, printSummary } from './report.js';
import { SCOREBOARD_OPTIONS, SCOREBOARD_USAGE, scoreboard } from './scoreboard/command.js';

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

const USAGE = `npm run torture -- [options]
  --seed <text>      what is done, and in which order; default: a new one, which is printed
  --seconds <n>      how long faults go on, 5 to 86400; default 60
  --rounds <n>       so many runs, each with a seed of its own; default 1
  --only <names>     these nemeses, comma-separated; default: all, mixed
  --each             one run a nemesis, alone
  --beside <ref>     another version, from the history of this repository, runs beside this one; its
                     schema must have the same version
  --prove            builds with deliberate bugs must be caught (or --bug <name> for one)
  --list             nemeses and bugs
${SCOREBOARD_USAGE}`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: process.argv.slice(2),
    options: {
      seed: { type: 'string' },
      seconds: { type: 'string', default: '60' },
      rounds: { type: 'string', default: '1' },
      only: { type: 'string' },
      beside: { type: 'string' },
      each: { type: 'boolean', default: false },
      prove: { type: 'boolean', default: false },
      bug: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      ...SCOREBOARD_OPTIONS,
    },
  });
  if (values.help) return say(USAGE);
  if (values.list) {
    for (const { name, what } of [...NEMESES, ...BUGS]) say(`${name.padEnd(20)} ${what}`);
    return 0;
  }
  const seconds = whole('--seconds', values.seconds, 5, 86_400);
  const rounds = whole('--rounds', values.rounds, 1, 10_000);
  const seed = values.seed ?? Math.random().toString(36).slice(2, 8);
  if (values.scoreboard || values.soak) return scoreboard(ROOT, seed, values, say);
  if (values.prove || values.bug)
    return proveChecker({ root: ROOT, seed, bug: values.bug, log: say });
  const chosen = chooseNemeses(values.only);
  const sets = values.each ? chosen.map((nemesis) => [nemesis]) : [chosen];
  const own: Build = { name: 'this one', packageDir: ROOT };
  const others = values.beside === undefined ? [] : [await buildOf(ROOT, values.beside)];
  const reports: BattleReport[] = [];
  let failed = 0;
  for (let round = 1; round <= rounds; round += 1) {
    for (const nemeses of sets) {
      const name = rounds > 1 ? `${seed}-${round}` : seed;
      say(`seed ${name}, ${seconds} s, ${nemeses.map(({ name }) => name).join(' ')}`);
      const report = await fight({
        random: new Random(name),
        seconds,
        nemeses,
        builds: [own, ...others],
        log: say,
      });
      reports.push(report);
      const isGood = printReport(report, say);
      // alone, one that cannot act here is left out, as it is from the mixed ones
      if (!isGood && !(values.each && isSkipped(report))) failed += 1;
    }
  }
  if (reports.length > 1) printSummary(reports, say);
  return failed === 0 ? 0 : 1;
}

function isSkipped({ strikes, verdicts }: BattleReport): boolean {
  return strikes.length === 0 && verdicts.every(({ problems }) => problems.length === 0);
}

function chooseNemeses(only: string | undefined) {
  if (only === undefined) return NEMESES;
  const names = only.split(',');
  const unknown = names.filter((name) => !NEMESES.some((each) => each.name === name));
  if (unknown.length > 0) throw new Error(`--only ${unknown.join()}: unknown; see --list`);
  return NEMESES.filter(({ name }) => names.includes(name));
}

function whole(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new Error(`${option} ${text}: use a whole number from ${min} to ${max}`);
  }
  return value;
}

function say(line: string): 0 {
  process.stdout.write(`${line}\n`);
  return 0;
}

// what is temporary goes at an exit
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(130));
}
process.exit(
  await main().catch((error) => {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    return 2;
  }),
);
