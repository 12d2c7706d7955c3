import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { fight } from '../../torture/battle.js';
import { BUGS } from '../../torture/bugs/registry.js';
import { NEMESES } from '../../torture/nemeses/registry.js';
import { Random } from '../../torture/random.js';

const ROOT = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
/** How long faults go on. It takes as long again to prepare, to settle and to judge. */
const SECONDS = 5;

/** A short part of `npm run torture`, which goes on for as long as one likes. */
test.for([{ seed: 'short-1', names: ['kill-worker', 'terminate', 'lost-reply', 'kill-backend'] }])(
  'seed $seed: nothing is lost, nothing is repeated',
  {
    timeout: 150_000,
  },
  async ({ seed, names }) => {
    const said: string[] = [];
    const { strikes, verdicts } = await fight({
      random: new Random(seed),
      seconds: SECONDS,
      nemeses: NEMESES.filter(({ name }) => names.includes(name)),
      builds: [{ name: 'this one', packageDir: ROOT }],
      log: (line) => said.push(line),
    });
    expect(
      verdicts.filter(({ problems }) => problems.length > 0),
      said.join('\n'),
    ).toEqual([]);
    const hits = strikes.filter(({ evidence }) => evidence !== undefined);
    expect(hits.length, said.join('\n')).toBeGreaterThanOrEqual(strikes.length / 2);
    expect(hits.length).toBeGreaterThan(0);
  },
);

test('every deliberate bug of the torture can still be put into the package', () => {
  const patches = BUGS.flatMap((bug) => bug.patches);
  const lost = patches.filter(({ file, find }) => {
    const text = readFileSync(path.join(ROOT, file), 'utf8');
    return text.split(find).length !== 2;
  });
  expect(lost).toEqual([]);
});
