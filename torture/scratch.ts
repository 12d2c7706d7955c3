import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const folders = new Set<string>();
process.once('exit', () => {
  for (const dir of folders) rmSync(dir, { recursive: true, force: true });
});

/** A temporary folder. It goes with this process at the latest, unless that is killed. */
export function makeScratch(name: string): string {
  const dir = mkdtempSync(path.join(tmpdir(), `howdah-torture-${name}-`));
  folders.add(dir);
  return dir;
}

/** Does nothing to a folder that is not from here. */
export function removeScratch(dir: string): void {
  if (!folders.has(dir)) return;
  rmSync(dir, { recursive: true, force: true });
  folders.delete(dir);
}
