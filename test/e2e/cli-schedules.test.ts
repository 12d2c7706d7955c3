import { expect, vi } from 'vitest';
import { runCli } from '../support/cli.js';
import { test } from '../support/database.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 180_000 });

test('schedules from the command line', async ({ url }) => {
  const cli = (...args: string[]) => runCli(['schedules', ...args, '--json'], { url });
  await runCli(['queues', 'set', 'reports'], { url });
  const times = ['--cron', '30 2 * * *', '--zone', 'Europe/Berlin'];
  const put = await cli('put', 'nightly', ...times, '--queue', 'reports', '--payload', '{"n":1}');
  expect(put.json[0]).toMatchObject({
    name: 'nightly',
    cron: '30 2 * * *',
    zone: 'Europe/Berlin',
    missed: 'once',
    payload: { n: 1 },
    owner: null,
  });
  const list = await cli('list');
  expect(list.json).toMatchObject([{ name: 'nightly', queue: 'reports', paused: false }]);
  const preview = await cli('preview', 'nightly', '--count', '3');
  expect(preview.json).toHaveLength(3);
  expect(preview.json[0]?.local).toMatch(/ 0[23]:[03]0:00 GMT\+[12]$/);
  expect((await cli('preview', ...times, '--count', '3')).json).toEqual(preview.json);

  expect((await cli('pause', 'nightly', '--reason', 'audit')).json[0]).toMatchObject({
    paused: true,
    pausedReason: 'audit',
  });
  expect((await cli('resume', 'nightly')).json[0]).toMatchObject({ paused: false });
  const { id } = (await cli('run', 'nightly')).json[0] ?? {};
  const shown = await cli('show', 'nightly');
  expect(shown.json[0]).toMatchObject({ lastJobId: id, lastJobState: 'ready' });
  expect((await cli('show', 'nightly', '--runs', '5')).json).toEqual([]);

  expect((await cli('delete', 'nightly')).json).toEqual([{ name: 'nightly', deleted: true }]);
  for (const action of ['show', 'pause', 'resume', 'run', 'delete', 'preview']) {
    expect((await cli(action, 'nightly')).code, action).toBe(3);
  }
  for (const [code, ...bad] of [
    ['HOWDAH_CRON_INVALID', '--cron', '60 * * * *', '--queue', 'reports'],
    ['HOWDAH_ZONE_INVALID', '--cron', '* * * * *', '--queue', 'reports', '--zone', 'Nowhere'],
    ['HOWDAH_OPTION_INVALID', '--cron', '* * * * *'],
  ] as const) {
    const refused = await cli('put', 'nightly', ...bad);
    expect([refused.code, refused.stderr.includes(code)], refused.stderr).toEqual([2, true]);
  }
  expect((await cli('preview')).code).toBe(2);
});
