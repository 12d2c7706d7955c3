import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { FaultProxy } from '../../../test/support/fault-proxy.js';
import { PGBOUNCER, PoolerProcess } from '../../../test/support/pooler-process.js';
import type { Lab } from '../lab.js';
import { Stream } from '../stream.js';
import type { Subject } from '../subject.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Their subject is the notification itself. */
const ABOUT_NOTIFICATIONS = ['test/features/wakeups.test.ts', 'test/faults/lost-notify.test.ts'];
/** They assert that somebody is woken at once, which only a notification can do. */
const WOKEN_AT_ONCE: readonly string[] = ['a paused queue rests, a resumed one goes on at once'];
/** Connections to the server behind PgBouncer. */
const POOL_SIZE = 10;
/** Where the whole suite is not run. */
const SAMPLE = ['test/features/worker-basics.test.ts', 'test/features/retries.test.ts'];
const WHOLE = ['test/features', 'test/sql', 'test/races', 'test/conformance'];
const RATE = 100;
const EFFECT = { do: 'effect', again: 'effect', isQuiet: true };

interface Suite {
  readonly passed: number;
  readonly failed: readonly string[];
}

export const noNotifications: Subject = {
  name: 'no-notifications',
  figures: [
    {
      id: 'S16',
      figure: 'all notifications dropped; PgBouncer in transaction mode between',
      target: 'whole suite green',
    },
  ],
  async measure(lab) {
    const suite = await suiteWithout(lab);
    for (const name of suite.failed) lab.say(`failed: ${name}`);
    const pooled = PGBOUNCER ? await throughPooler(lab) : undefined;
    const told = pooled
      ? `${pooled.lost} lost, ${pooled.wrong} wrong effects of ${pooled.jobs} jobs`
      : 'not run, it is not installed';
    return [
      {
        measured: `without notifications: ${suite.passed} tests passed, ${suite.failed.length} failed${lab.scale < 1 ? ' (some files only)' : ''}, those that assert a wake-up left out; through PgBouncer: ${told}`,
        faults: suite.passed + suite.failed.length + (pooled?.jobs ?? 0),
        isMet: suite.failed.length === 0 && suite.passed > 0 && !pooled?.lost && !pooled?.wrong,
      },
    ];
  },
};

/** The tests, on a server whose notifications do not arrive. */
async function suiteWithout(lab: Lab): Promise<Suite> {
  const cluster = await lab.cluster({ max_connections: 250 });
  const proxy = await FaultProxy.start(cluster.url);
  lab.defer(() => proxy.stop());
  proxy.dropNotifications();
  const report = path.join(await lab.folder(), 'report.json');
  const files = lab.scale < 1 ? SAMPLE : WHOLE;
  const child = spawn(
    process.execPath,
    [
      'node_modules/vitest/vitest.mjs',
      'run',
      ...['--config', 'test/vitest.config.ts', '--project', 'postgres'],
      ...['--reporter', 'json', '--outputFile', report],
      ...ABOUT_NOTIFICATIONS.flatMap((file) => ['--exclude', file]),
      ...files,
    ],
    { cwd: ROOT, stdio: 'ignore', env: { ...process.env, TEST_DATABASE_URL: proxy.url } },
  );
  await new Promise((resolve) => child.once('close', resolve));
  const { testResults } = JSON.parse(await readFile(report, 'utf8')) as {
    testResults: { assertionResults: { status: string; fullName: string }[] }[];
  };
  const tests = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ fullName }) => !WOKEN_AT_ONCE.some((name) => fullName.endsWith(name)));
  return {
    passed: tests.filter(({ status }) => status === 'passed').length,
    failed: tests.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
  };
}

/** Worker and producer connect through PgBouncer alone: there is no LISTEN, and no session. */
async function throughPooler(lab: Lab): Promise<{ jobs: number; lost: number; wrong: number }> {
  const site = await lab.site();
  const queue = await site.queue('pooled');
  const pooler = await PoolerProcess.start(site.url, POOL_SIZE);
  lab.defer(() => pooler.kill());
  const { url } = pooler;
  await site.crew(2, { queue, url, binding: { concurrency: 10 } });
  const stream = Stream.of(site.client(url), queue, RATE, EFFECT);
  await new Promise((resolve) => setTimeout(resolve, lab.count(60_000, 5_000)));
  const ids = await stream.stop();
  const left = await site.settled();
  const { lost, doubled, missing } = await site.tally(ids);
  await site.dismiss();
  return { jobs: ids.length, lost: lost + left, wrong: doubled + missing };
}
