import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from 'howdah/embedded';
import { onTestFinished } from 'vitest';
import { waitFor } from './wait-for.js';

/** Starts a server of a test's own; stopped at its end. */
export async function startOwnServer(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres(options);
  onTestFinished(() => server.stop('immediate'));
  return server;
}

/** Where a data directory may be made that the server's account can reach. Removed at the end. */
export async function makeDataDir(): Promise<string> {
  const parent = await mkdtemp(path.join(tmpdir(), 'howdah-faults-'));
  await chmod(parent, 0o755);
  onTestFinished(() => rm(parent, { recursive: true, force: true }));
  return path.join(parent, 'data');
}

/** Starts it again as it was: orphans of a killed server may hold its memory for a moment. */
export function restartServer(
  { dataDir, port }: EmbeddedPostgres,
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  return waitFor(() => startOwnServer({ ...options, dataDir, port }), { timeoutMs: 20_000 });
}
