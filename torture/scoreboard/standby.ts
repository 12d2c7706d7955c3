import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { type EmbeddedPostgres, startEmbeddedPostgres } from 'howdah/embedded';
import pg from 'pg';
import { findSystemPostgres } from '../../test/support/system-postgres.js';
import { waitFor } from '../../test/support/wait-for.js';
import type { Lab } from './lab.js';

/** A PostgreSQL that brings pg_basebackup: the embedded one does not. */
export const STANDBY_BIN = findSystemPostgres();

/** A primary and its standby; both are gone at the end. */
export interface Pair {
  readonly primary: EmbeddedPostgres;
  readonly standby: EmbeddedPostgres;
  readonly standbyUrl: string;
  /** Of both, the standby first. */
  readonly url: string;
}

const SETTINGS = { synchronous_commit: 'on', max_connections: 150 };

async function server(lab: Lab, dataDir: string): Promise<EmbeddedPostgres> {
  const options = { binDir: STANDBY_BIN as string, dataDir, durable: false, settings: SETTINGS };
  const started = await startEmbeddedPostgres(options);
  lab.defer(() => started.stop('immediate'));
  return started;
}

async function dataDir(lab: Lab): Promise<string> {
  const dir = await lab.folder();
  await chmod(dir, 0o755);
  return path.join(dir, 'data');
}

/** @param prepare done on the primary before the standby is copied from it */
export async function startPair(
  lab: Lab,
  isSynchronous: boolean,
  prepare: (url: string) => Promise<void>,
): Promise<Pair> {
  const primary = await server(lab, await dataDir(lab));
  await prepare(primary.url);
  const copy = await dataDir(lab);
  await copyOf(primary, copy);
  const standby = await server(lab, copy);
  const hosts = `127.0.0.1:${standby.port},127.0.0.1:${primary.port}`;
  await streaming(primary.url, isSynchronous);
  return {
    primary,
    standby,
    standbyUrl: primary.url.replace(`:${primary.port}/`, `:${standby.port}/`),
    url: primary.url.replace(`127.0.0.1:${primary.port}`, hosts),
  };
}

async function copyOf(primary: EmbeddedPostgres, target: string): Promise<void> {
  const { uid, gid } = statSync(primary.dataDir);
  const run = promisify(execFile);
  await run('mkdir', ['-m', '700', target]);
  await run('chown', [`${uid}:${gid}`, target]);
  const { password } = new URL(primary.url);
  const args = ['-h', '127.0.0.1', '-p', String(primary.port), '-U', 'postgres'];
  await run(
    path.join(STANDBY_BIN as string, 'pg_basebackup'),
    [...args, '-D', target, '-R', '-X', 'stream', '-c', 'fast'],
    { env: { ...process.env, PGPASSWORD: password }, uid, gid, cwd: '/' },
  );
}

/** Waits until the standby is as near as it is to be. */
async function streaming(url: string, isSynchronous: boolean): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  if (isSynchronous) await client.query("alter system set synchronous_standby_names = '*'");
  await client.query('select pg_reload_conf()');
  await waitFor(
    async () => {
      const { rows } = await client.query('select state, sync_state from pg_stat_replication');
      const [row] = rows;
      return row?.state === 'streaming' && row.sync_state === (isSynchronous ? 'sync' : 'async');
    },
    { timeoutMs: 30_000, what: 'the standby to stream' },
  );
  // the checkpointer has the last word on whether commits wait: it has read the setting by now
  await client.query('checkpoint');
  await client.end();
}
