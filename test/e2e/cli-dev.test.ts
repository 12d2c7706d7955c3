import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { makeFolder, runCli, startCli } from '../support/cli.js';
import { waitFor } from '../support/wait-for.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const CONFIG = `
import { defineConfig, work } from 'howdah';
export default defineConfig({ queues: [work('mails', (job) => console.log('mail', job.payload))] });
`;

describe('howdah dev', () => {
  test('without a URL: server, schema, queues and worker; ends without a trace', async () => {
    const cwd = makeFolder({ 'howdah.config.ts': CONFIG });
    const dev = startCli(['dev'], { cwd });
    await dev.waitForOutput(/Worker .* works mails/, 60_000);
    const url = /export HOWDAH_DATABASE_URL=(.*)/.exec(dev.stdout)?.[1] ?? '';
    const enqueued = await runCli(['enqueue', 'mails', '{"to":"ada"}'], { url });
    expect(enqueued.code).toBe(0);
    await dev.waitForOutput("mail { to: 'ada' }");
    await dev.waitForOutput(`job ${enqueued.stdout.trim()} of mails: completed`);
    dev.kill('SIGINT');
    expect((await dev.exited).code).toBe(0);
    expect(dev.stdout).toMatch(/stopped \(SIGINT\): .*\nsince its start: 1 completed, 0 failed\n$/);
    await waitFor(async () => (await runCli(['status'], { url })).code === 1);
  });

  test('--data keeps the data; without handlers it is a server', async () => {
    // the server's account must be able to enter
    const cwd = makeFolder({});
    const { chmodSync } = await import('node:fs');
    chmodSync(cwd, 0o755);
    const first = startCli(['dev', '--data', '--json'], { cwd });
    await first.waitForOutput('"event":"ready"', 60_000);
    expect(existsSync(path.join(cwd, '.howdah', 'PG_VERSION'))).toBe(true);
    const { url } = JSON.parse(first.stdout) as { url: string };
    expect((await runCli(['queues', 'set', 'kept'], { url })).code).toBe(0);
    first.kill('SIGTERM');
    expect((await first.exited).code).toBe(0);

    const second = startCli(['dev', '--data', '--json'], { cwd });
    await second.waitForOutput('"event":"ready"', 60_000);
    const again = JSON.parse(second.stdout) as { url: string };
    const { stdout } = await runCli(['queues', 'list'], { url: again.url });
    expect(stdout).toContain('\nkept\t');
    second.kill('SIGTERM');
    expect((await second.exited).code).toBe(0);
  });
});
