import { execFile } from 'node:child_process';
import { symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { makeScratch } from './scratch.js';

const run = promisify(execFile);
const ARCHIVE_MAX_BYTES = 256 * 1_048_576;

/** A built package: its `dist`, `migrations` and `node_modules`. */
export interface Build {
  readonly name: string;
  readonly packageDir: string;
}

/**
 * Builds another version from the history of this repository, to run beside this one.
 * @param ref a commit, branch or tag
 * @throws Error when there is no such version, it does not build, or its schema is another
 */
export async function buildOf(root: string, ref: string): Promise<Build> {
  const commit = await commitOf(root, ref);
  const dir = makeScratch('beside');
  const { stdout } = await run(
    'git',
    ['archive', '--format=tar', commit, 'src', 'migrations', 'package.json', 'tsconfig.json'],
    { cwd: root, encoding: 'buffer', maxBuffer: ARCHIVE_MAX_BYTES },
  );
  const tar = path.join(dir, 'archive.tar');
  await writeFile(tar, stdout);
  await run('tar', ['-xf', tar, '-C', dir]);
  await symlink(path.join(root, 'node_modules'), path.join(dir, 'node_modules'));
  const compiler = path.join('node_modules', 'typescript', 'bin', 'tsc');
  await run(process.execPath, [compiler, '-p', 'tsconfig.json'], { cwd: dir });
  const [own, other] = await Promise.all([schemaOf(root), schemaOf(dir)]);
  if (own !== other) {
    throw new Error(
      `--beside ${ref}: its schema is version ${other}, ours ${own}; use a version of the same schema`,
    );
  }
  return { name: commit.slice(0, 7), packageDir: dir };
}

async function commitOf(root: string, ref: string): Promise<string> {
  try {
    const { stdout } = await run(
      'git',
      ['rev-parse', '--verify', '--end-of-options', `${ref}^{commit}`],
      {
        cwd: root,
      },
    );
    return stdout.trim();
  } catch {
    throw new Error(`--beside ${ref}: no such commit in the history of this folder`);
  }
}

/** @returns the number of the migration that a built package works with */
async function schemaOf(packageDir: string): Promise<number> {
  const file = path.join(packageDir, 'dist', 'db', 'version.js');
  const { SCHEMA_VERSION } = (await import(pathToFileURL(file).href)) as { SCHEMA_VERSION: number };
  return SCHEMA_VERSION;
}
