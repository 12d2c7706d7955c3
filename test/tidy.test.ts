import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../src/', import.meta.url));

/** Lowest first. A file imports its own folder and lower layers; folders on a layer never meet. */
const LAYERS: readonly (readonly string[])[] = [
  ['core'],
  ['crypto', 'db'],
  ['telemetry', 'http'],
  ['client', 'worker', 'maintenance'],
  ['runtime'],
  ['testing', 'embedded', 'gateway', 'dashboard'],
  ['cli'],
];

/** Packages, and the only folders that may import them. Types count. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  pg: ['db'],
  kysely: ['db'],
  'node-pg-migrate': ['db'],
  croner: ['core'],
  hono: ['http', 'gateway', 'dashboard'],
  '@hono/node-server': ['http'],
  piscina: ['worker'],
  yargs: ['cli'],
  'yargs/helpers': ['cli'],
  jiti: ['cli'],
  'csv-parse/sync': ['cli'],
};

/** Modules of Node that neither do I/O nor tell the time. */
const PURE_NODE_MODULES: readonly string[] = ['node:async_hooks', 'node:events', 'node:util'];

const FORBIDDEN_NAME = /(^|-)(utils?|commons?|helpers?|misc|types?|interfaces?|managers?)(-|\.|$)/;

const IMPORT = /(?:[\w}*]\s+from\s+|\bimport\s*\(\s*|^\s*import\s+)'([^'\n]+)'/gm;

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((each) => each.endsWith('.ts'))
  .map((each) => each.split(path.sep).join('/'));

interface Import {
  readonly from: string;
  readonly to: string;
}

const imports: Import[] = files.flatMap((from) => {
  const text = readFileSync(path.join(SRC, from), 'utf8');
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return [...code.matchAll(IMPORT)].map(([, to = '']) => ({ from, to }));
});

const own: Import[] = imports
  .filter(({ to }) => to.startsWith('.'))
  .map(({ from, to }) => ({ from, to: target(from, to) }));

function target(from: string, to: string): string {
  return path.posix.join(path.posix.dirname(from), to).replace(/\.js$/, '.ts');
}

function folderOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : '';
}

function layerOf(file: string): number {
  return LAYERS.findIndex((layer) => layer.includes(folderOf(file)));
}

function show({ from, to }: Import): string {
  return `${from} -> ${to}`;
}

describe('layers', () => {
  test('every folder is on a layer', () => {
    const homeless = files.filter((file) => file !== 'index.ts' && layerOf(file) < 0);
    expect(homeless).toEqual([]);
  });

  test('a file imports its own folder and lower layers only', () => {
    const breaches = own.filter(
      ({ from, to }) =>
        from !== 'index.ts' && folderOf(from) !== folderOf(to) && layerOf(to) >= layerOf(from),
    );
    expect(breaches.map(show)).toEqual([]);
  });

  test('nobody imports the public index', () => {
    expect(own.filter(({ to }) => to === 'index.ts').map(show)).toEqual([]);
  });

  test('relative imports name a file that exists', () => {
    expect(own.filter(({ to }) => !files.includes(to)).map(show)).toEqual([]);
  });

  test('a package is imported where it belongs', () => {
    const breaches = imports.filter(({ from, to }) => {
      if (to.startsWith('.') || to.startsWith('node:')) return false;
      return !PACKAGES[to]?.includes(folderOf(from));
    });
    expect(breaches.map(show)).toEqual([]);
  });

  test('core does no input or output', () => {
    const breaches = imports.filter(
      ({ from, to }) =>
        folderOf(from) === 'core' && to.startsWith('node:') && !PURE_NODE_MODULES.includes(to),
    );
    expect(breaches.map(show)).toEqual([]);
  });
});

test('there are no cycles, type imports included', () => {
  expect(findCycle()).toBeUndefined();
});

/** `worker/claim` of `worker/claim/claimer.ts`; none of a file at the root of its folder, which wires the rooms. */
function roomOf(file: string): string | undefined {
  const [folder, room, ...rest] = file.split('/');
  return rest.length > 0 ? `${folder}/${room}` : undefined;
}

test('no two rooms of a folder import each other', () => {
  const arrows = new Map<string, string>(
    own.flatMap((each) => {
      const [from, to] = [roomOf(each.from), roomOf(each.to)];
      const isWithin = folderOf(each.from) === folderOf(each.to) && folderOf(each.from) !== 'core';
      return from && to && from !== to && isWithin ? [[`${from} ${to}`, show(each)] as const] : [];
    }),
  );
  const both = [...arrows.keys()].filter((key) => arrows.has(key.split(' ').reverse().join(' ')));
  expect(both.map((key) => arrows.get(key))).toEqual([]);
});

const ROOT = path.join(SRC, '..');

/** Everything that may read what src exports, by its path from the root. */
const readers: ReadonlyMap<string, string> = new Map(
  ['src', 'test', 'bench', 'torture', 'examples', 'bin'].flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((each) => /\.(ts|js|mjs)$/.test(each) && !each.includes('node_modules'))
      .map((each) => {
        const file = path.posix.join(folder, each.split(path.sep).join('/'));
        return [file, readFileSync(path.join(ROOT, file), 'utf8')] as const;
      }),
  ),
);

const EXPORT =
  /^export (?:declare )?(?:abstract |async )*(?:class|function\*?|const|let|interface|type|enum) (\w+)/gm;
const IMPORT_NAMES =
  /\b(?:import|export)\s+(?:type\s+)?(?:\w+\s*,\s*)?\{([^}]*)\}\s*from\s+'([^'\n]+)'/g;
const WHOLE_FILE = /(?:\bimport\s*\(\s*|\*(?:\s+as\s+\w+)?\s+from\s+)['`]([^'`\n]+)['`]/g;

test('no statement names what is private in SQL, but for the clock of tests', () => {
  const named = files.flatMap((file) =>
    [...readFileSync(path.join(SRC, file), 'utf8').matchAll(/\{\{schema\}\}\."?_\w+/g)].map(
      ([name]) => `${file}: ${name}`,
    ),
  );
  expect(named).toEqual(['db/testing/test-clock.ts: {{schema}}._locks']);
});

test('what is exported has a reader outside its file', () => {
  const read = new Set<string>();
  for (const [file, text] of readers) {
    const targetOf = (to: string) => {
      if (to === 'howdah') return 'src/index.ts';
      const joined = path.posix.join(path.posix.dirname(file), to);
      return joined.replace(/^dist\//, 'src/').replace(/\.js$/, '.ts');
    };
    for (const [, names = '', to = ''] of text.matchAll(IMPORT_NAMES)) {
      for (const each of names.split(',')) {
        const name = each
          .trim()
          .replace(/^type\s+/, '')
          .split(/\s+as\s+/)[0];
        read.add(`${targetOf(to)} ${name}`);
      }
    }
    for (const [, to = ''] of text.matchAll(WHOLE_FILE)) {
      const names = (readers.get(targetOf(to)) ?? '').matchAll(EXPORT);
      for (const [, name = ''] of names) {
        if (new RegExp(`\\b${name}\\b`).test(text)) read.add(`${targetOf(to)} ${name}`);
      }
    }
  }
  // called by piscina, by its name
  read.add('src/worker/isolation/thread.ts load');
  // index.ts and what stands beside it in package.json are read by users
  const isEntry = (file: string) => /^src\/(index|[a-z]+\/index)\.ts$/.test(file);
  const dead = [...readers].flatMap(([file, text]) =>
    file.startsWith('src/') && !isEntry(file)
      ? [...text.matchAll(EXPORT)]
          .map(([, name]) => `${file} ${name}`)
          .filter((each) => !read.has(each))
      : [],
  );
  expect(dead).toEqual([]);
});

test('files are kebab-case and say what they are about', () => {
  const badly = files.filter((file) => {
    const name = path.posix.basename(file, '.ts');
    return !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) || FORBIDDEN_NAME.test(name);
  });
  expect(badly).toEqual([]);
});

/** Depth first; the first cycle found, as a path. */
function findCycle(): string | undefined {
  const edges = new Map<string, Import[]>(files.map((file) => [file, []]));
  for (const each of own) edges.get(each.from)?.push(each);
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]): string | undefined => {
    if (trail.includes(file)) return [...trail.slice(trail.indexOf(file)), file].join(' -> ');
    if (done.has(file)) return undefined;
    for (const { to } of edges.get(file) ?? []) {
      const cycle = visit(to, [...trail, file]);
      if (cycle) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of files) {
    const cycle = visit(file, []);
    if (cycle) return cycle;
  }
  return undefined;
}
