import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import { type ProcessOptions, spawnCli, type WorkerProcess } from './worker-process.js';

export interface CliOptions extends Omit<ProcessOptions, 'env'> {
  /** Database, given by variable. */
  readonly url?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as JSON lines. */
  readonly json: Record<string, unknown>[];
}

/** Variables of whoever runs the tests must not lead anywhere. */
const CLEAN = Object.fromEntries(
  [
    'DATABASE_URL',
    'HOWDAH_DATABASE_URL',
    'HOWDAH_SCHEMA',
    'PGHOST',
    'PGPORT',
    'PGDATABASE',
    'PGUSER',
  ].map((name) => [name, undefined] as const),
);

/** Starts `howdah ...`. */
export function startCli(args: readonly string[], options: CliOptions = {}): WorkerProcess {
  const { url, env, ...rest } = options;
  return spawnCli(args, { ...rest, env: { ...CLEAN, HOWDAH_DATABASE_URL: url, ...env } });
}

/** Runs `howdah ...` to its end. */
export async function runCli(
  args: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  const cli = startCli(args, options);
  const { code } = await cli.exited;
  const { stdout, stderr } = cli;
  return {
    code,
    stdout,
    stderr,
    get json() {
      return stdout
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line));
    },
  };
}

/** A folder with these files, removed after the test. */
export function makeFolder(files: Readonly<Record<string, string | Buffer>>): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'howdah-cli-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(path.join(folder, name), content);
  }
  return folder;
}
