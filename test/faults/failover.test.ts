import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { createClient, migrate } from 'howdah';
import type { EmbeddedPostgres } from 'howdah/embedded';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import {
  createCounts,
  startFaultWorker,
  waitForAllCompleted,
  wrongEffects,
} from '../support/fault-worker.js';
import { makeDataDir, startOwnServer } from '../support/own-server.js';
import { Producer } from '../support/producer.js';
import { findSystemPostgres } from '../support/system-postgres.js';
import { waitFor } from '../support/wait-for.js';
import { createQueue } from '../support/workers.js';

/** The embedded server comes without pg_basebackup. */
const binDir = findSystemPostgres();
if (!binDir) console.log('[tests] failover is skipped: no PostgreSQL with pg_basebackup here');

function poolOf(url: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: url });
  pool.on('error', () => undefined);
  onTestFinished(() => pool.end());
  return pool;
}

/** A standby that streams from the primary, and that each commit of the primary waits for. */
async function startStandby(
  bin: string,
  primary: EmbeddedPostgres,
  pool: pg.Pool,
): Promise<EmbeddedPostgres> {
  const dataDir = await makeDataDir();
  const { uid, gid } = statSync(primary.dataDir);
  const { password } = new URL(primary.url);
  const args = ['-h', '127.0.0.1', '-p', String(primary.port), '-U', 'postgres'];
  await promisify(execFile)('mkdir', ['-m', '700', dataDir]);
  await promisify(execFile)('chown', [`${uid}:${gid}`, dataDir]);
  await promisify(execFile)(
    path.join(bin, 'pg_basebackup'),
    [...args, '-D', dataDir, '-R', '-X', 'stream', '-c', 'fast'],
    { env: { ...process.env, PGPASSWORD: password }, uid, gid, cwd: '/' },
  );
  const standby = await startOwnServer({ ...SETTINGS, binDir: bin, dataDir });
  await pool.query("alter system set synchronous_standby_names = '*'");
  await pool.query('select pg_reload_conf()');
  await waitFor(
    async () => {
      const { rows } = await pool.query('select sync_state from pg_stat_replication');
      return rows[0]?.sync_state === 'sync';
    },
    { what: 'the standby to be synchronous' },
  );
  // the checkpointer has the last word on whether commits wait: it has read the setting by now
  await pool.query('checkpoint');
  expect((await pool.query('show synchronous_commit')).rows[0]).toEqual({
    synchronous_commit: 'on',
  });
  return standby;
}

/** Nothing survives a power cut, but a commit waits for the standby. */
const SETTINGS = { durable: false, settings: { synchronous_commit: 'on' } } as const;

test.skipIf(!binDir)(
  'the primary dies, its standby is promoted: worker and producers go over, nothing is lost',
  {
    timeout: 90_000,
  },
  async () => {
    const bin = binDir as string;
    const primary = await startOwnServer({
      ...SETTINGS,
      binDir: bin,
      dataDir: await makeDataDir(),
    });
    await migrate({ url: primary.url });
    const before = poolOf(primary.url);
    await createCounts(before);
    const queue = await createQueue(before, {
      backoff: 'fixed',
      backoff_ms: 50,
      max_attempts: 1_000,
      max_crashes: 1_000,
    });
    const standby = await startStandby(bin, primary, before);
    const after = poolOf(primary.url.replace(`:${primary.port}/`, `:${standby.port}/`));
    // the standby goes first, so that it is met and passed over
    const url = primary.url.replace(
      `127.0.0.1:${primary.port}`,
      `127.0.0.1:${standby.port},127.0.0.1:${primary.port}`,
    );
    const client = createClient({ url });
    onTestFinished(() => client.close());
    const worker = await startFaultWorker({ url, queue, lease: 3_000 });
    const where = "select pid from pg_stat_activity where application_name like 'howdah %'";
    await waitFor(async () => (await before.query(where)).rows.length >= 4, {
      what: 'the worker to be connected to the primary',
    });
    expect((await after.query('select pg_is_in_recovery() as standby')).rows).toEqual([
      { standby: true },
    ]);

    const payload = { do: 'effect', again: 'effect', ms: 20, isQuiet: true };
    const producer = new Producer(client, queue, payload);
    await waitFor(() => producer.acknowledged.length > 50);
    await waitFor(async () => {
      const running = "select 1 from howdah.job_states where state = 'running'";
      return (await before.query(running)).rows.length > 0;
    });
    await primary.stop('immediate');
    await waitFor(() => producer.failures > 0, { what: 'the failover to hit a producer' });
    await worker.heard('connection.lost');
    // Meanwhile there is only a standby, which is asked and refused.
    const failures = producer.failures;
    await waitFor(() => producer.failures > failures + 8, { what: 'the standby to be refused' });
    expect(worker.of('connection.restored')).toEqual([]);

    await after.query('select pg_promote()');
    const promotedAt = Date.now();
    const atReturn = producer.acknowledged.length;
    await waitFor(() => producer.acknowledged.length > atReturn + 20);
    const restored = await worker.heard('connection.restored');
    expect(restored.at - promotedAt).toBeLessThan(10_000);
    const acknowledged = await producer.stop();
    await waitForAllCompleted(after, acknowledged);
    expect(await wrongEffects(after, acknowledged)).toEqual([]);
    expect(worker.process.isRunning).toBe(true);
    expect(worker.process.stderr).toBe('');
  },
);
