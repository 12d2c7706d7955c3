import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { type EmbeddedPostgres, startEmbeddedPostgres } from 'howdah/embedded';
import type pg from 'pg';
import { waitFor } from '../test/support/wait-for.js';

const SLOT = 'torture';
const run = promisify(execFile);

/**
 * Starts a standby that streams from the primary, and that each of its commits waits for from now on. The
 * copy is made as pg_basebackup does it, which the embedded server comes without.
 */
export async function startStandby({
  primary,
  client,
  dataDir,
  settings,
}: {
  readonly primary: EmbeddedPostgres;
  readonly client: pg.Client;
  readonly dataDir: string;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
}): Promise<EmbeddedPostgres> {
  await client.query('select pg_create_physical_replication_slot($1, true)', [SLOT]);
  await client.query("select pg_backup_start('torture', true)");
  await copyData(primary.dataDir, dataDir);
  const { rows } = await client.query('select labelfile from pg_backup_stop(false)');
  await writeFile(path.join(dataDir, 'backup_label'), rows[0].labelfile);
  await writeFile(path.join(dataDir, 'standby.signal'), '');
  await ownAs(primary.dataDir, dataDir);
  const { username, password } = new URL(primary.url);
  const standby = await startEmbeddedPostgres({
    dataDir,
    durable: true,
    settings: {
      ...settings,
      primary_conninfo: `host=127.0.0.1 port=${primary.port} user=${username} password=${password}`,
      primary_slot_name: SLOT,
      wal_retrieve_retry_interval: '100ms',
    },
  });
  await client.query("alter system set synchronous_standby_names = '*'");
  await client.query('select pg_reload_conf()');
  await waitFor(
    async () => {
      const found = await client.query('select sync_state from pg_stat_replication');
      return found.rows[0]?.sync_state === 'sync';
    },
    { timeoutMs: 30_000, what: 'the standby to be synchronous' },
  );
  // the checkpointer has the last word on whether commits wait: it has read the setting by now
  await client.query('checkpoint');
  return standby;
}

/**
 * Copies files that are being written to: what is torn is mended from the log. That some are gone when their
 * turn comes is in order too, so the exit code says nothing.
 */
async function copyData(from: string, to: string): Promise<void> {
  await run('cp', ['-a', from, to]).catch(() => undefined);
  for (const folder of ['pg_wal', 'pg_replslot']) {
    const dir = path.join(to, folder);
    for (const entry of await readdir(dir)) await rm(path.join(dir, entry), { recursive: true });
  }
  for (const file of ['postmaster.pid', 'postmaster.opts']) {
    await rm(path.join(to, file), { force: true });
  }
}

/** PostgreSQL does not run as root, and wants its files to be its own. */
async function ownAs(example: string, dir: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(example);
  await run('chown', ['-R', `${uid}:${gid}`, dir]);
}
