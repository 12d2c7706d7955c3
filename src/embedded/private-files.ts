import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { HowdahError } from '../core/errors.js';
import type { Account } from './account.js';

// Folders of the server belong to the account it runs under. What root does there by a path could be led
// elsewhere by a link that a process of this account has planted; so it acts on what it has opened, or as
// that account.

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
/** Undefined on Windows, where nobody is root. */
const NO_LINKS = O_NOFOLLOW ?? 0;
const SECRET_BYTES_MAX = 1_024;

/** Makes a file that nobody else can read; what is there already, a link too, is left alone. */
export function writeSecret(file: string, text: string, account: Account | undefined): void {
  const fd = openSync(file, O_WRONLY | O_CREAT | O_EXCL | NO_LINKS, 0o600);
  try {
    writeSync(fd, text);
    if (account) fchownSync(fd, account.uid, account.gid);
  } finally {
    closeSync(fd);
  }
}

/** The same with no more than the rights of the account, in a folder that is the account's. */
export function writeSecretAs(account: Account | undefined, file: string, text: string): void {
  if (!account) {
    writeSecret(file, text, undefined);
    return;
  }
  const script = 'umask 077; set -C; cat > "$1"';
  const stdio: ['pipe', 'ignore', 'pipe'] = ['pipe', 'ignore', 'pipe'];
  execFileSync('/bin/sh', ['-c', script, 'sh', file], { ...account, input: text, stdio, cwd: '/' });
}

/** What {@link writeSecret} wrote, of this account or of ours; undefined where there is no file. */
export function readSecret(file: string, account: Account | undefined): string | undefined {
  if (!lstatSync(file, { throwIfNoEntry: false })) return undefined;
  const fd = openUnlinked(file);
  try {
    const { uid, size } = fstatSync(fd);
    const isOurs = account === undefined || uid === account.uid || uid === process.getuid?.();
    if (!fstatSync(fd).isFile() || !isOurs || size > SECRET_BYTES_MAX) throw foreign(file);
    const bytes = Buffer.alloc(SECRET_BYTES_MAX);
    return bytes.toString('utf8', 0, readSync(fd, bytes)).trim();
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes the folder, which then is the account's.
 * @returns false where it is there already
 */
export function makeFolderOf(account: Account | undefined, folder: string): boolean {
  mkdirSync(path.dirname(folder), { recursive: true });
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
  if (account) giveAway(folder, account);
  return true;
}

/** Hands a folder that we have made to the account: what stands at its path must still be ours. */
export function giveAway(folder: string, { uid, gid }: Account): void {
  const fd = openSync(folder, O_RDONLY | O_DIRECTORY | NO_LINKS);
  try {
    if (fstatSync(fd).uid !== process.getuid?.()) throw foreign(folder);
    fchownSync(fd, uid, gid);
    fchmodSync(fd, 0o700);
  } finally {
    closeSync(fd);
  }
}

function openUnlinked(file: string): number {
  try {
    // not to wait for the other end, were it a pipe
    return openSync(file, O_RDONLY | NO_LINKS | (O_NONBLOCK ?? 0));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ELOOP') throw foreign(file);
    throw error;
  }
}

function foreign(file: string): HowdahError {
  return new HowdahError('HOWDAH_EMBEDDED_FAILED', `${file} is not what Howdah has put there.`, {
    details: { file },
    remedy: 'Look who can write to this folder, and remove it or choose another data directory.',
  });
}
