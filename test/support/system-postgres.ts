import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';

const DEBIAN_ROOT = '/usr/lib/postgresql';

/** Folder with `initdb` and `postgres` of a Debian package: of one version, or of the newest. */
export function findSystemPostgres(version?: string): string | undefined {
  if (!existsSync(DEBIAN_ROOT)) return undefined;
  const versions = version ? [version] : readdirSync(DEBIAN_ROOT).sort((a, b) => +b - +a);
  return versions
    .map((each) => path.join(DEBIAN_ROOT, each, 'bin'))
    .find((bin) => existsSync(path.join(bin, 'initdb')) && existsSync(path.join(bin, 'postgres')));
}
