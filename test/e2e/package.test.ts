import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { test } from '../support/database.js';
import { readDocBlocks } from '../support/doc-blocks.js';
import { ROOT } from '../support/worker-process.js';

const execute = promisify(execFile);

/** A folder as a user has it: the packed package and what it brings, nothing of ours. */
let folder = '';
let tarball = '';

const env = (more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => {
  const { PATH, HOME, NODE_EXTRA_CA_CERTS, npm_config_registry } = process.env;
  const kept = { PATH, HOME, NODE_EXTRA_CA_CERTS, npm_config_registry };
  return { ...kept, npm_config_prefer_offline: 'true', ...more };
};

async function run(
  command: string,
  args: readonly string[],
  { cwd = folder, more = {} as Readonly<Record<string, string>> } = {},
): Promise<string> {
  const result = await execute(command, args, { cwd, env: env(more), timeout: 240_000 }).catch(
    (error: { stdout: string; stderr: string }) => {
      throw new Error(`${command} ${args.join(' ')}\n${error.stdout}\n${error.stderr}`);
    },
  );
  return result.stdout;
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'howdah-package-'));
  const pack = ['pack', '--ignore-scripts', '--pack-destination', folder, '--json'];
  const [{ filename }] = JSON.parse(await run('npm', pack, { cwd: ROOT }));
  tarball = path.join(folder, filename);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A folder with these files in which the package is installed. */
async function installed(name: string, files: Readonly<Record<string, string>>): Promise<string> {
  const cwd = path.join(folder, name);
  mkdirSync(cwd);
  for (const [file, text] of Object.entries(files)) writeFileSync(path.join(cwd, file), text);
  await run('npm', ['install', '--no-audit', '--no-fund', '--no-save', tarball], { cwd });
  return cwd;
}

test('the README leads from an empty folder to a done job', { timeout: 300_000 }, async () => {
  const cwd = path.join(folder, 'first');
  mkdirSync(cwd);
  const blocks = readDocBlocks('README.md');
  const file = blocks.find(({ fileName }) => fileName === 'first.js');
  writeFileSync(path.join(cwd, 'first.js'), file?.text ?? '');
  const steps = blocks
    .filter(({ language, text }) => language === 'sh' && /^npm init|^node first/.test(text))
    .map(({ text }) => text.replace('npm install howdah ', `npm install ${tarball} `));
  expect(steps).toHaveLength(2);
  const output = await run('bash', ['-euo', 'pipefail', '-c', steps.join('\n')], { cwd });
  expect(output.trimEnd().split('\n').at(-1)).toBe('sent to ann@example.com');
});

describe('types', () => {
  const app = `import { type Client, createClient, createWorker, queue, work } from 'howdah';
    import { startEmbeddedPostgres } from 'howdah/embedded';
    import { createTestDatabase } from 'howdah/testing';
    const mail = queue<{ to: string }, { sent: boolean }>('mail');
    export const client: Client = createClient();
    export const worker = createWorker({ queues: [work(mail, ({ payload }) => ({ sent: payload.to !== '' }))] });
    export const sent: Promise<boolean> = client.enqueue(mail, { to: 'ann' })
      .then((job) => job.result()).then((result) => result.sent);
    export { createTestDatabase, startEmbeddedPostgres };`;
  let cwd = '';
  beforeAll(async () => {
    cwd = await installed('types', { 'package.json': '{"type": "module"}', 'app.ts': app });
  }, 240_000);

  test.for([
    ['node16', 'node16'],
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])('strict, skipLibCheck false, no @types of ours: module %s', async ([module, resolution]) => {
    const config = {
      compilerOptions: {
        module,
        moduleResolution: resolution,
        target: 'es2022',
        lib: ['es2022', 'dom', 'esnext.disposable'],
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        types: [],
        noEmit: true,
      },
      files: ['app.ts'],
    };
    writeFileSync(path.join(cwd, 'tsconfig.json'), JSON.stringify(config));
    const compiler = path.join(ROOT, 'node_modules/typescript/bin/tsc');
    expect(await run('node', [compiler, '-p', '.'], { cwd })).toBe('');
  });

  test('CommonJS code requires it', async () => {
    const code = `const { createClient } = require('howdah'); console.log(typeof createClient);`;
    expect(await run('node', ['--no-warnings', '-e', code], { cwd })).toBe('function\n');
  });

  test('brings docs, whose links lead somewhere', () => {
    const readme = readFileSync(path.join(cwd, 'node_modules/howdah/README.md'), 'utf8');
    const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map(([, to = '']) => to);
    expect(links.length).toBeGreaterThan(10);
    for (const to of links) {
      expect(() => readFileSync(path.join(cwd, 'node_modules/howdah', to)), to).not.toThrow();
    }
  });
});

describe('bundles of esbuild', () => {
  const producer = `import { createClient, queue } from 'howdah';
    async function main() {
      const client = createClient();
      const { id } = await client.enqueue(queue('bundled'), { n: 1 });
      console.log(id, (await client.jobs.list({ queue: 'bundled' })).length);
      await client.close();
    }
    main();`;
  const worker = `import { createWorker, queue, silentLogger, work } from 'howdah';
    async function main() {
      const told = [];
      const worker = createWorker({ logger: silentLogger, queues: [work(queue('bundled'), () => 'ok')] });
      const ended = new Promise((resolve) => worker.on('lease.thread-ended', (event) => {
        told.push(event.reason);
        resolve();
      }));
      const done = new Promise((resolve) => worker.on('job.completed', resolve));
      await worker.start();
      await Promise.all([done, ended]);
      await worker.stop();
      console.log(JSON.stringify(told));
    }
    main();`;
  const banner =
    "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);";
  let cwd = '';
  beforeAll(async () => {
    cwd = await installed('bundles', { 'producer.js': producer, 'worker.js': worker });
  }, 240_000);

  /** Bundled, minified, in a folder without node_modules. */
  async function bundle(name: string, format: 'esm' | 'cjs') {
    const outfile = path.join(folder, `${name}-${format}.${format === 'esm' ? 'mjs' : 'cjs'}`);
    const { metafile } = await build({
      absWorkingDir: cwd,
      entryPoints: [`${name}.js`],
      bundle: true,
      platform: 'node',
      format,
      minify: true,
      metafile: true,
      logLevel: 'silent',
      outfile,
      ...(format === 'esm' && { banner: { js: banner } }),
    });
    const [output] = Object.values(metafile.outputs);
    const inputs = Object.keys(output?.inputs ?? {}).filter(
      (file) => (output?.inputs[file]?.bytesInOutput ?? 0) > 0,
    );
    return { outfile, bytes: output?.bytes ?? 0, inputs };
  }

  test.for(['esm', 'cjs'] as const)(
    '%s: a producer and a worker run',
    {
      timeout: 120_000,
    },
    async (format, { createDatabase }) => {
      const url = await createDatabase('migrated');
      const made = await bundle('producer', format);
      const brought = (name: string) => made.inputs.some((file) => file.includes(`/${name}/`));
      expect(brought('pg')).toBe(true);
      expect(['kysely', 'node-pg-migrate', 'piscina', 'yargs'].filter(brought)).toEqual([]);
      expect(made.bytes).toBeLessThan(290_000);
      const more = { DATABASE_URL: url };
      const [id, listed] = (await run('node', [made.outfile], { more })).trim().split(' ');
      expect(listed).toBe('1');
      const { outfile } = await bundle('worker', format);
      const told = JSON.parse(await run('node', [outfile], { more }));
      expect(told).toEqual([expect.stringContaining('Keep howdah external')]);
      const connection = new pg.Client(url);
      await connection.connect();
      const { rows } = await connection.query('select state from howdah.jobs where id = $1', [id]);
      await connection.end();
      expect(rows).toEqual([{ state: 'completed' }]);
    },
  );
});
