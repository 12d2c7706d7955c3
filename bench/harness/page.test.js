// What becomes of docs/benchmarks.md: node --test bench/harness
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatRan, mergePages, readPage } from './page.js';

const section = (name, at, figure) => `### ${name}

Jobs of ${name}. Rounds: 3; measured ${at}.

|  | jobs/s |
|---|--:|
| howdah | ${figure} |
`;
const goal = (name, figure) => `| [${name}](#${name}) | jobs/s | ${figure} | >= 1 | reached |`;
const MONDAY = '2026-11-23T10:00:00.000Z';
const TUESDAY = '2026-11-24T10:00:00.000Z';
const FRIDAY = '2026-11-27T10:00:00.000Z';
const PAGE = `# Benchmarks

## The goals

| workload | figure | measured | goal | |
|---|---|--:|--:|---|
${goal('drain', 10)}
${goal('idle', 20)}

## Beside its peers

${section('drain', MONDAY, 10)}
${section('idle', TUESDAY, 20)}
## What it costs

${section('gone', TUESDAY, 30)}
## What ran

- 2 x AMD EPYC (normal)
- PostgreSQL 18.4 \`{"a":"b (c)"}\`
- howdah: howdah 0.1.0 (${MONDAY})
- howdah: howdah 0.1.1 (defaults) (${TUESDAY})
`;

test('a page is read into its parts', () => {
  const { goals, sections, ran } = readPage(PAGE);
  assert.deepEqual(goals.get('drain'), [goal('drain', 10)]);
  assert.equal(sections.get('idle'), section('idle', TUESDAY, 20));
  assert.equal(sections.get('gone'), section('gone', TUESDAY, 30));
  assert.deepEqual([...ran.get('2 x AMD EPYC (normal)')], [MONDAY, TUESDAY]);
  assert.deepEqual([...ran.get('howdah: howdah 0.1.1 (defaults)')], [TUESDAY]);
  assert.ok(PAGE.endsWith(formatRan(ran)));
  assert.equal(readPage('').sections.size, 0);
});

test('what is measured again replaces what it was, and the rest stays', () => {
  const newer = {
    goals: new Map([['drain', [goal('drain', 11)]]]),
    sections: new Map([['drain', section('drain', FRIDAY, 11)]]),
    ran: new Map([
      ['2 x AMD EPYC (normal)', new Set([FRIDAY])],
      ['howdah: howdah 0.2.0', new Set([FRIDAY])],
    ]),
  };
  const { goals, sections, ran } = mergePages(readPage(PAGE), newer, ['drain', 'idle', 'new']);
  assert.deepEqual([...goals.values()].flat(), [goal('drain', 11), goal('idle', 20)]);
  assert.deepEqual(
    [...sections.values()],
    [section('drain', FRIDAY, 11), section('idle', TUESDAY, 20)],
  );
  assert.equal(
    formatRan(ran),
    `## What ran

- 2 x AMD EPYC (normal)
- PostgreSQL 18.4 \`{"a":"b (c)"}\`
- howdah: howdah 0.1.1 (defaults) (${TUESDAY})
- howdah: howdah 0.2.0 (${FRIDAY})
`,
  );
});
