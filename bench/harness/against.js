import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '../..');

/**
 * Builds another commit of this repository in a folder of its own, with the packages of this one. The
 * contender `against`, in whatever process, finds it by the environment. Resolves to what removes it.
 */
export function buildCommit(ref) {
  const commit = run('git', ['rev-parse', '--verify', `${ref}^{commit}`], ROOT).trim();
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-against-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const archive = path.join(folder, 'commit.tar');
    const source = path.join(folder, 'source');
    mkdirSync(source);
    run('git', ['archive', '--output', archive, commit], ROOT);
    run('tar', ['-xf', archive, '-C', source], ROOT);
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(source, 'node_modules'), 'junction');
    run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], source);
    process.env.BENCH_AGAINST = source;
    process.env.BENCH_AGAINST_COMMIT = commit.slice(0, 12);
  } catch (error) {
    remove();
    throw error;
  }
  return remove;
}

function run(command, words, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, words, { cwd, encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`--against: ${command} ${words.join(' ')}: ${error?.message ?? stderr + stdout}`);
}
