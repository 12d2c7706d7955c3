import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../support/worker-process.js';

const run = promisify(execFile);
const BENCH = `${ROOT}bench/`;
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
/** Else `bench/run.js` says which Node it needs: npm has one for Linux only. */
const hasNode = process.platform === 'linux' || major > 22 || (major === 22 && minor >= 18);
/** One of each kind: a drain, enqueues, latencies, statements that are counted, who waits, what grows. */
const WORKLOADS = ['drain', 'enqueue-bulk', 'idle-latency', 'refusal', 'cancel', 'costs'];

describe.skipIf(!hasNode)('npm run bench', () => {
  test('measures beside bare SQL, counts each job, and judges', { timeout: 300_000 }, async () => {
    const only = ['--only', WORKLOADS.join(), '--peers', 'howdah,raw'];
    const { stdout } = await run(process.execPath, [`${BENCH}run.js`, '--quick', ...only], {
      maxBuffer: 1 << 24,
    });
    for (const name of WORKLOADS) expect(stdout).toMatch(new RegExp(`^${name}: `, 'm'));
    expect(stdout.match(/^howdah +\d/gm)).toHaveLength(WORKLOADS.length);
    expect(stdout.match(/^raw +\d/gm)?.length).toBeGreaterThan(1);
    expect(stdout).toMatch(/(reached|MISSED) +dead rows by refusals: 0/);
    // what it says of so few jobs is not held against it: test/sql/costs.test.ts is what demands
    expect(stdout).toMatch(/(reached|MISSED) +growth of pages/);
  });

  test('its own counting, printing and drawing', { timeout: 120_000 }, async () => {
    const node = `${BENCH}node_modules/node-${process.platform}-${process.arch}/bin/node`;
    const { stdout } = await run(existsSync(node) ? node : process.execPath, ['--test'], {
      cwd: `${BENCH}harness`,
    });
    expect(stdout).toMatch(/^(#|ℹ) fail 0$/m);
    expect(Number(stdout.match(/^(?:#|ℹ) pass (\d+)$/m)?.[1])).toBeGreaterThan(10);
  });
});
