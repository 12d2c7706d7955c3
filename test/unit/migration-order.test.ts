import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const DIR = path.join(import.meta.dirname, '../../migrations');

interface Migration {
  readonly file: string;
  /** SQL that creates, without comments and texts. */
  readonly up: string;
}

const migrations: Migration[] = readdirSync(DIR)
  .sort()
  .map((file) => {
    const [up = ''] = readFileSync(path.join(DIR, file), 'utf8').split(/^-- Down Migration$/m);
    const statements = up.split(/^(?=create |insert |alter |do )/m);
    const bare = statements.map((each) =>
      each.replace(/--.*$/gm, '').replace(/'(?:[^']|'')*'/g, "''"),
    );
    return { file, up: bare.join('') };
  });

const CREATED = /^create (?:function|table|view|type|sequence) \{\{schema\}\}\.(\w+)/gm;

/** What is called, or named where a table may stand. */
function uses(sql: string, name: string): boolean {
  return new RegExp(
    `\\b${name}\\(|\\b(?:from|join|into|update|table|references) (?:\\{\\{schema\\}\\}\\.)?${name}\\b|\\{\\{schema\\}\\}\\.${name}\\b`,
  ).test(sql);
}

test('a migration uses what it or an earlier one makes', () => {
  const forward = migrations.flatMap(({ file, up }, at) =>
    migrations
      .slice(at + 1)
      .flatMap((later) =>
        [...later.up.matchAll(CREATED)]
          .filter(([, name = '']) => uses(up, name))
          .map(([, name]) => `${file} uses ${name} of ${later.file}`),
      ),
  );
  // a settle that ends the last job of a batch finishes it, which enqueues
  expect(forward).toEqual([
    expect.stringMatching(/^\d+_batch_counts\.sql uses _fold_batch of \d+_batches\.sql$/),
  ]);
});

test('numbers follow one another, and each file has a name and a subject of its own', () => {
  const numbers = migrations.map(({ file }) => Number(file.slice(0, 4)));
  expect(numbers).toEqual(numbers.map((_, i) => i + 1));
  const names = migrations.map(({ file }) => file.slice(5));
  expect(new Set(names).size).toBe(names.length);
});

test('rights are given at no place here: what is made is taken from everybody as it is read', () => {
  expect(migrations.filter(({ up }) => /^(revoke|grant) /m.test(up))).toEqual([]);
});
