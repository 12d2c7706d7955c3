import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const CHUNK = Buffer.alloc(1024 * 1024);

/** A disk so small that it can be filled: a file system in memory. Only root can make one. */
export class Disk {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** Undefined where the system does not permit it. */
  static make(megabytes: number): Disk | undefined {
    const dir = mkdtempSync(path.join(tmpdir(), 'howdah-torture-disk-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'none', dir], {
        stdio: 'ignore',
      });
      return new Disk(dir);
    } catch {
      rmSync(dir, { recursive: true });
      return undefined;
    }
  }

  /** Leaves room for so many bytes. */
  fill(leaveBytes: number): void {
    const file = openSync(this.#ballast, 'w');
    try {
      while (this.#free() > leaveBytes + CHUNK.length) writeSync(file, CHUNK);
      while (this.#free() > leaveBytes + 4_096) writeSync(file, CHUNK, 0, 4_096);
      fsyncSync(file);
    } catch {
      // full: somebody else was quicker
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(this.#ballast, { force: true });
  }

  remove(): void {
    try {
      execFileSync('umount', ['-l', this.dir], { stdio: 'ignore' });
      rmSync(this.dir, { recursive: true, force: true });
    } catch {
      // left to the system
    }
  }

  get #ballast(): string {
    return path.join(this.dir, 'ballast');
  }

  #free(): number {
    const { bavail, bsize } = statfsSync(this.dir);
    return Number(bavail) * Number(bsize);
  }
}
