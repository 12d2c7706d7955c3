// `npm start` and `npm test` of a fresh clone: installs and builds what is missing, then runs.
// Only what Node itself brings may be imported here.
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const BUILD_STAMP = path.join(ROOT, 'dist', '.howdah-build');

/** Runs a command to its end, as if it had been typed; the exit code of ours follows a failure. */
function run(command, args) {
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    shell: process.platform === 'win32',
  });
  if (error) console.error(String(error));
  return status ?? 1;
}

function must(command, args) {
  const status = run(command, args);
  if (status !== 0) process.exit(status);
}

function read(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** npm leaves a copy of the lock file inside; a folder it did not finish has none. */
function isInstalled() {
  const installed = packagesOf(path.join('node_modules', '.package-lock.json'));
  return Object.entries(packagesOf('package-lock.json')).every(
    ([name, { version, optional }]) =>
      name === '' || installed[name]?.version === version || (optional && !installed[name]),
  );
}

function packagesOf(lockFile) {
  const text = read(path.join(ROOT, lockFile));
  return text === '' ? {} : JSON.parse(text).packages;
}

function installIfNeeded() {
  if (isInstalled()) return;
  console.log('Installing dependencies ...');
  must('npm', ['ci', '--no-audit', '--no-fund']);
}

/** Names and times of all sources: a clone, a pull and an edit all change it. */
function digestOf(sources) {
  return [...sources, 'tsconfig.json', 'package-lock.json']
    .map((each) => `${each} ${statSync(path.join(ROOT, each)).mtimeMs}`)
    .join('\n');
}

function filesIn(folder, pattern) {
  const root = path.join(ROOT, folder);
  if (!existsSync(root)) return [];
  return readdirSync(root, { recursive: true })
    .filter((each) => pattern.test(each))
    .map((each) => path.join(folder, each))
    .sort();
}

function buildIfNeeded() {
  const sources = filesIn('src', /\.ts$/);
  const digest = digestOf(sources);
  if (read(BUILD_STAMP) === digest) return;
  console.log('Building ...');
  removeOrphans(sources);
  const compiler = path.join('node_modules', 'typescript', 'bin', 'tsc');
  must(process.execPath, [compiler, '-p', 'tsconfig.json']);
  writeFileSync(BUILD_STAMP, digest);
}

/** What was built from a source that is gone. */
function removeOrphans(sources) {
  const built = new Set(sources.map((each) => each.slice('src/'.length, -'.ts'.length)));
  for (const file of filesIn('dist', /\.(js|js\.map|d\.ts)$/)) {
    const name = file.slice('dist/'.length).replace(/\.(js|js\.map|d\.ts)$/, '');
    if (!built.has(name)) rmSync(path.join(ROOT, file));
  }
}

/** A script in TypeScript, in this process: signals and the terminal are its own. */
async function runScript(script, args) {
  process.argv = [process.execPath, script, ...args];
  const loader = path.join(ROOT, 'node_modules', 'jiti', 'lib', 'jiti.mjs');
  const { createJiti } = await import(pathToFileURL(loader).href);
  // no cache: it could lie in a folder that others may write to
  await createJiti(script, { fsCache: false }).import(script);
}

/** Style and types first, unless only some tests were asked for. The last line counts everything. */
async function test(args) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  if (args.length === 0) {
    for (const [label, ...command] of [
      ['style', 'node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'],
      ['types of the tests', 'node_modules/typescript/bin/tsc', '-p', 'test/tsconfig.json'],
    ]) {
      const isGood = run(process.execPath, command) === 0;
      console.log(`${isGood ? 'ok' : 'FAILED'}: ${label}`);
      counts[isGood ? 'passed' : 'failed'] += 1;
    }
  }
  const folder = mkdtempSync(path.join(tmpdir(), 'howdah-test-'));
  const summary = path.join(folder, 'summary.json');
  const status = await runVitest(args, summary);
  const ran = existsSync(summary)
    ? JSON.parse(read(summary))
    : { passed: 0, failed: 1, skipped: 0 };
  rmSync(folder, { recursive: true, force: true });
  for (const key of Object.keys(counts)) counts[key] += ran[key];
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  const { passed, failed, skipped } = counts;
  console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  process.exitCode = failed > 0 ? 1 : 0;
}

function runVitest(args, summary) {
  const child = spawn(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/vitest.config.ts', ...args],
    { cwd: ROOT, stdio: 'inherit', env: { ...process.env, HOWDAH_TEST_SUMMARY: summary } },
  );
  // Ctrl-C reaches vitest too, which needs the time to stop its server.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => {
    child.once('error', (error) => {
      console.error(String(error));
      resolve(1);
    });
    child.once('close', (code) => resolve(code ?? 1));
  });
}

function clean() {
  rmSync(path.join(ROOT, 'dist'), { recursive: true, force: true });
}

const [, , target, ...args] = process.argv;
if (target === 'clean') clean();
else {
  installIfNeeded();
  buildIfNeeded();
  if (target === 'start')
    await runScript(path.join(ROOT, 'examples', 'earthquakes', 'main.ts'), args);
  else if (target === 'torture') await runScript(path.join(ROOT, 'torture', 'main.ts'), args);
  else if (target === 'test') await test(args);
  else if (target !== 'build') throw new Error(`unknown target ${target}`);
}
