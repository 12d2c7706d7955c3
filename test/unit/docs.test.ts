import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ERROR_CODES } from '../../src/core/errors.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');

const migrations = readdirSync(path.join(ROOT, 'migrations')).map((file) =>
  read(`migrations/${file}`),
);
const views = migrations
  .flatMap((migration) => [...migration.matchAll(/create view {{schema}}\.(\w+)/g)])
  .map(([, name = '']) => name)
  .sort();

test('docs/errors.md has every code as the code has it', () => {
  const expected = Object.entries(ERROR_CODES).map(([code, entry]) => {
    const cells = [code, entry.sqlstate ?? '', entry.isRetryable ? 'yes' : '', entry.summary];
    return `|${cells.map((cell) => (cell === '' ? ' |' : ` ${cell} |`)).join('')}`;
  });
  const rows = read('docs/errors.md')
    .split('\n')
    .filter((line) => line.startsWith('| HOWDAH_'));
  expect(rows).toEqual(expected);
});

describe('docs/sql.md', () => {
  const text = read('docs/sql.md');

  test('names every policy key with its default', () => {
    const table = /create table {{schema}}\._queues \(([\s\S]*?)-- operator/.exec(
      migrations[1] ?? '',
    )?.[1];
    const columns = [...(table ?? '').matchAll(/^ {2}(\w+) +\w+.*?(?:default ('?)(.+?)\2)?,$/gm)]
      .map(([, name = '', , value]) => [name.replace(/_id$/, ''), value ?? 'null'] as const)
      .filter(([name]) => name !== '' && name !== 'id' && name !== 'name');
    expect(columns.length).toBe(27);
    for (const [name, value] of columns) {
      const row = text.split('\n').findLast((line) => line.startsWith(`| \`${name}\` |`));
      const byDefault = row?.split('|').at(-2)?.replaceAll('`', '').trim();
      expect(byDefault, name).toBe(name === 'dead_letter_queue' ? 'dead-letters' : value);
    }
  });

  const created = migrations.flatMap((migration) => [
    ...migration.matchAll(/create function {{schema}}\.(\w+)\(([^)]*)\)/g),
  ]);
  const rows = text.split('\n');

  test('shows the parameters of every function that is not private', () => {
    expect(created.length).toBeGreaterThan(200);
    const missing = created.flatMap(([, name = '', list = '']) => {
      if (name.startsWith('_')) return [];
      const parameters = [...list.matchAll(/\bp_\w+/g)].map(([parameter]) => parameter);
      const isShown = rows.some(
        (row) => row.includes(`\`${name}(`) && parameters.every((each) => row.includes(each)),
      );
      return isShown ? [] : [`${name}(${parameters.join(', ')})`];
    });
    expect(missing).toEqual([]);
  });

  test('shows no function that is private, and none that is not there', () => {
    const names = new Set(created.map(([, name]) => name));
    const shown = [...text.matchAll(/`(\w+)\(/g)].map(([, name = '']) => name);
    expect(shown.length).toBeGreaterThan(80);
    const others = shown.filter((name) => name.startsWith('_') || !names.has(name));
    expect(others).toEqual(['pg_current_xact_id']);
  });

  test('grants every view that is not private to an operator', () => {
    const grants = /grant select on ([^;]*) to app_operator;/.exec(text)?.[1] ?? '';
    const granted = [...grants.matchAll(/howdah\.(\w+)/g)].map(([, name]) => name);
    expect(granted.sort()).toEqual(views);
  });
});

test('docs/operations.md has every view, and no table', () => {
  const table = /## Views\n([\s\S]*?)\n## /.exec(`${read('docs/operations.md')}\n## `)?.[1] ?? '';
  const shown = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  expect(shown.sort()).toEqual(views);
});

test('docs/worker.md has every event', () => {
  const source = read('src/core/events.ts');
  const events = [...source.matchAll(/^ {2}'([a-z.-]+)': /gm)].map(([, name = '']) => name);
  expect(events.length).toBeGreaterThan(20);
  const text = read('docs/worker.md');
  expect(events.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
});

test('links between the documents lead somewhere', () => {
  const docs = readdirSync(path.join(ROOT, 'docs')).filter((file) => file.endsWith('.md'));
  const files = [
    'README.md',
    'src/README.md',
    'CHANGELOG.md',
    ...docs.map((file) => `docs/${file}`),
  ];
  const broken = files.flatMap((file) =>
    [...read(file).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
      .map(([, target = '']) => path.posix.join(path.posix.dirname(file), target))
      .filter((target) => !existsSync(path.join(ROOT, target)))
      .map((target) => `${file} → ${target}`),
  );
  expect(broken).toEqual([]);
});

describe('src/README.md', () => {
  const text = read('src/README.md');

  test('is short', () => {
    expect(text.split('\n').length).toBeLessThanOrEqual(200);
  });

  test('names only paths that exist', () => {
    const existing = new Set(
      ['src', 'migrations', 'test', 'bin', 'bench', 'examples', 'docs'].flatMap((folder) => [
        `${folder}/`,
        ...readdirSync(path.join(ROOT, folder), { recursive: true, withFileTypes: true })
          .filter((entry) => !entry.parentPath.includes('node_modules'))
          .map((entry) => {
            const name = path.relative(ROOT, path.join(entry.parentPath, entry.name));
            return entry.isDirectory() ? `${name}/` : name;
          }),
      ]),
    );
    const named = [...text.matchAll(/`([a-z0-9_./-]+(?:\/|\.(?:ts|js|sql|md)))`/g)].map(
      ([, name = '']) => name,
    );
    expect(named.length).toBeGreaterThan(40);
    const missing = named.filter((name) => !existing.has(name) && !existing.has(`src/${name}`));
    expect(missing).toEqual([]);
  });

  test('names every folder and every migration', () => {
    const folders = readdirSync(path.join(ROOT, 'src'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `\`${name}/\``);
    const files = readdirSync(path.join(ROOT, 'migrations')).map(
      (file) => `\`migrations/${file}\``,
    );
    expect([...folders, ...files].filter((name) => !text.includes(name))).toEqual([]);
  });
});
