import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { print } from '../../torture/scoreboard/board.js';
import { rowsOf, withLines } from '../../torture/scoreboard/page.js';
import { readLines } from '../../torture/scoreboard/read-lines.js';
import { SUBJECTS } from '../../torture/scoreboard/registry.js';
import { measured } from '../../torture/scoreboard/run.js';
import { deaf } from '../../torture/scoreboard/subjects/deaf.js';
import { oneKey } from '../../torture/scoreboard/subjects/one-key.js';
import { reaperAgainstSettle } from '../../torture/scoreboard/subjects/reaper-against-settle.js';
import { ROOT } from '../support/worker-process.js';

const PAGE = readFileSync(`${ROOT}docs/reliability.md`, 'utf8');
const FIGURES = SUBJECTS.flatMap(({ figures }) => figures);
const RUN = { scale: 0.001, seed: 'test', version: '0.0.0', machine: 'here', on: '2026-01-01' };

describe('docs/reliability.md', () => {
  test('has a row for each figure, in order, with its target', () => {
    const rows = rowsOf(PAGE);
    const ids = FIGURES.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const byNumber = ids.toSorted((a, b) => Number(a.slice(1)) - Number(b.slice(1)));
    expect([...rows.keys()]).toEqual(byNumber);
    for (const { id, figure, target } of FIGURES)
      expect(rows.get(id)).toContain(`| ${figure} | ${target} |`);
  });

  test('gets what was measured, and keeps what was not', () => {
    const [first, second] = FIGURES;
    if (!first || !second) throw new Error('there are no figures');
    const line = {
      ...RUN,
      ...first,
      verdict: 'ok',
      measured: 'a | b',
      faults: 7,
      seconds: 1,
      load: 2,
    } as const;
    const page = withLines(PAGE, [line], SUBJECTS);
    expect(rowsOf(page).get(first.id)).toContain(
      '| a \\| b | 7 | scale 0.001, seed test, 2026-01-01, 0.0.0 on here, load 2 | ok |',
    );
    expect(rowsOf(page).get(second.id)).toBe(rowsOf(PAGE).get(second.id));
    expect(withLines(page, [], SUBJECTS)).toBe(page);
  });
});

test.each([oneKey, reaperAgainstSettle])(
  '$name is measured',
  { timeout: 60_000 },
  async (subject) => {
    const said: string[] = [];
    const lines = await measured(subject, RUN, (line) => said.push(line));
    expect(lines.map(({ id }) => id)).toEqual(subject.figures.map(({ id }) => id));
    for (const line of lines) expect(line, print(line)).toMatchObject({ verdict: 'ok' });
    expect(Math.min(...lines.map(({ faults }) => faults)), said.join('\n')).toBeGreaterThan(1_000);
  },
);

test('workers of a figure are processes that start, and are watched', {
  timeout: 120_000,
}, async () => {
  const said: string[] = [];
  const [line] = await measured(deaf, RUN, (text) => said.push(text));
  expect(line?.measured, said.join('\n')).toMatch(
    /^noticed after at most \d+ ms; 6 jobs meanwhile/,
  );
  expect(line?.faults).toBe(2);
});

test('a log is read line by line, whatever the size of the parts; an unfinished line is left', async ({
  onTestFinished,
}) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'howdah-lines-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  const file = path.join(dir, 'log');
  const lines = ['', 'a', 'äöü€', 'x'.repeat(100), ''];
  await writeFile(file, `${lines.join('\n')}\nunfinis`);
  for (const bytes of [1, 2, 3, 7, 64, 4096]) expect([...readLines(file, bytes)]).toEqual(lines);
});
