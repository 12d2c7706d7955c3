import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { migrate, migrationStatus } from 'howdah';
import pg from 'pg';
import type { Cluster } from '../../cluster.js';
import type { Lab } from '../lab.js';
import type { Subject } from '../subject.js';

const CLI = fileURLToPath(new URL('../../../bin/howdah.js', import.meta.url));
const AT_ONCE = 8;

export const migrations: Subject = {
  name: 'migrations',
  figures: [
    {
      id: 'S25',
      figure: '8 migrate at once (20 times); kill -9 in mid-migration (50 times)',
      target: '1 runs, 7 wait, 0 errors; a rerun heals',
    },
  ],
  async measure(lab) {
    const cluster = await lab.cluster();
    const rounds = lab.count(20, 1);
    let [workers, errors] = [0, 0];
    for (let round = 0; round < rounds; round += 1) {
      const url = await database(cluster, `at_once_${round}`);
      const results = await Promise.allSettled(
        Array.from({ length: AT_ONCE }, () => migrate({ url })),
      );
      errors += results.filter(({ status }) => status === 'rejected').length;
      workers += results.filter(
        (each) => each.status === 'fulfilled' && each.value.applied.length > 0,
      ).length;
    }
    const kills = await killAll(lab, cluster, lab.count(50, 2));
    return [
      {
        measured: `${rounds} rounds of ${AT_ONCE}: ${workers} did the work, ${errors} errors; ${kills.amid} of ${kills.total} killed while a migration ran, ${kills.healed} healed by the next run. Old and new workers together: not run, there is no earlier version`,
        faults: rounds + kills.amid,
        isMet: workers === rounds && errors === 0 && kills.amid > 0 && kills.healed === kills.total,
      },
    ];
  },
};

async function database(cluster: Cluster, name: string): Promise<string> {
  await cluster.pool.query(`create database ${name}`);
  const url = new URL(cluster.url);
  url.pathname = name;
  return url.href;
}

interface Kills {
  readonly total: number;
  /** Its session was in the middle of a transaction. */
  readonly amid: number;
  readonly healed: number;
}

async function killAll(lab: Lab, cluster: Cluster, total: number): Promise<Kills> {
  let [amid, healed] = [0, 0];
  for (let n = 0; n < total; n += 1) {
    const url = await database(cluster, `killed_${n}`);
    const child = spawn(process.execPath, [CLI, 'migrate', '--url', url], { stdio: 'ignore' });
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    if (await reachedMigration(cluster, `killed_${n}`, child)) {
      await sleep(lab.random.int(0, 150));
      const isAmid = child.exitCode === null && (await inTransaction(cluster, `killed_${n}`));
      child.kill('SIGKILL');
      if (isAmid) amid += 1;
    }
    await ended;
    healed += await heals(url);
  }
  return { total, amid, healed };
}

async function reachedMigration(cluster: Cluster, name: string, child: ChildProcess) {
  while (child.exitCode === null) {
    if (await inTransaction(cluster, name)) return true;
    await sleep(5);
  }
  return false;
}

function inTransaction(cluster: Cluster, name: string): Promise<boolean> {
  return cluster.value<boolean>(
    `select exists (select from pg_stat_activity where datname = $1 and xact_start is not null
      and backend_type = 'client backend')`,
    [name],
  );
}

/** 1 where the next run ends well and leaves a schema that works. */
async function heals(url: string): Promise<number> {
  try {
    await migrate({ url });
    const { pending } = await migrationStatus({ url });
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query("select howdah.create_queue('healed', '{}')");
    await client.query(`select id from howdah.enqueue('{"queue": "healed", "payload": 1}')`);
    await client.end();
    return pending.length === 0 ? 1 : 0;
  } catch {
    return 0;
  }
}
