import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type BattleReport, fight } from '../battle.js';
import { Random } from '../random.js';
import { makeScratch, removeScratch } from '../scratch.js';
import { BUGS, type Bug, type Patch } from './registry.js';

/** A busy machine brings a bug out later: so many runs, each with a seed of its own, until it is caught. */
const RUNS_MAX = 3;
/** How long faults go on. */
const SECONDS = 20;
/** What does not move for so long is lost. */
const STALL_SECONDS = 12;

/** A checker that finds nothing proves nothing: each bug must make a run fail. */
export async function proveChecker(options: {
  readonly root: string;
  readonly seed: string;
  readonly bug: string | undefined;
  readonly log: (line: string) => void;
}): Promise<number> {
  const { root, seed, bug: only, log } = options;
  const chosen = BUGS.filter(({ name }) => only === undefined || name === only);
  if (chosen.length === 0) throw new Error(`--bug ${only}: unknown; see --list`);
  let escaped = 0;
  for (const bug of chosen) {
    log(`bug ${bug.name}: ${bug.what}`);
    const begun = performance.now();
    let found: string[] = [];
    let runs = 0;
    while (found.length === 0 && runs < RUNS_MAX) {
      runs += 1;
      found = await foundIn(bug, { root, seed: `${seed}-${runs}`, log });
    }
    const seconds = Math.round((performance.now() - begun) / 1_000);
    if (found.length === 0) escaped += 1;
    log(`  ${found.length > 0 ? 'caught' : 'ESCAPED'} after ${seconds} s, in run ${runs}`);
    for (const problem of found.slice(0, 4)) log(`    ${problem}`);
  }
  log(`${chosen.length - escaped} of ${chosen.length} bugs caught`);
  return escaped === 0 ? 0 : 1;
}

async function foundIn(
  bug: Bug,
  { root, seed, log }: { root: string; seed: string; log: (line: string) => void },
): Promise<string[]> {
  const packageDir = await patchedCopy(root, bug.patches);
  try {
    const { nemeses } = bug;
    const random = new Random(`${seed}/${bug.name}`);
    const report = await fight({
      random,
      seconds: SECONDS,
      stallSeconds: STALL_SECONDS,
      nemeses,
      builds: [{ name: bug.name, packageDir }],
      log,
    });
    return problemsOf(report);
  } finally {
    removeScratch(packageDir);
  }
}

function problemsOf({ verdicts }: BattleReport): string[] {
  return verdicts
    .filter(({ problems }) => problems.length > 0)
    .map(({ check, problems }) => `${check}: ${problems.length}, ${problems[0]}`);
}

async function patchedCopy(root: string, patches: readonly Patch[]): Promise<string> {
  const dir = makeScratch('bug');
  for (const part of ['dist', 'migrations', 'package.json']) {
    await cp(path.join(root, part), path.join(dir, part), { recursive: true });
  }
  await symlink(path.join(root, 'node_modules'), path.join(dir, 'node_modules'));
  for (const { file, find, put } of patches) {
    const target = path.join(dir, file);
    const text = await readFile(target, 'utf8');
    const [before, after, ...more] = text.split(find);
    if (before === undefined || after === undefined || more.length > 0) {
      throw new Error(`${file} does not contain this exactly once: ${find}`);
    }
    await writeFile(target, before + put + after);
  }
  return dir;
}
