import { userInfo } from 'node:os';
import { expect } from 'vitest';
import { test } from '../support/database.js';
import { ROOT, WorkerProcess } from '../support/worker-process.js';

const BOOTSTRAP = `${ROOT}bin/bootstrap.js`;
const RIGHT = /Account, counted in the database\n(?: +\d+ {2}.* ok\n)+$/;

test('npm start, on a PostgreSQL of its own', { timeout: 300_000 }, async () => {
  const start = new WorkerProcess([BOOTSTRAP, 'start'], {
    env: { DATABASE_URL: undefined, HOWDAH_DATABASE_URL: undefined },
  });
  const { code } = await start.exited;
  expect(code, start.output).toBe(0);
  expect(start.stdout).toMatch(RIGHT);
  expect(start.stdout).toContain('1679 transactions committed, 28 rolled back');
  expect(start.stderr).toBe('');
});

test('twice on one database, the second time kept until it is told', { timeout: 300_000 }, async ({
  createDatabase,
}) => {
  const env = { DATABASE_URL: await createDatabase('empty'), HOWDAH_DATABASE_URL: undefined };
  const first = new WorkerProcess([BOOTSTRAP, 'start'], { env });
  expect((await first.exited).code, first.output).toBe(0);
  expect(first.stdout).toMatch(RIGHT);

  const second = new WorkerProcess([BOOTSTRAP, 'start', '--keep'], { env });
  await second.waitForOutput('Ctrl-C', 150_000);
  const third = new WorkerProcess([BOOTSTRAP, 'start'], { env });
  expect((await third.exited).code).toBe(1);
  expect(third.output).toContain('runs already');
  second.kill('SIGTERM');
  expect((await second.exited).code, second.output).toBe(0);
  expect(second.stdout).not.toContain('WRONG');
});

test.skipIf(userInfo().uid !== 0)('npm start as a plain user', { timeout: 300_000 }, async () => {
  const start = new WorkerProcess([BOOTSTRAP, 'start'], {
    env: { DATABASE_URL: undefined, HOWDAH_DATABASE_URL: undefined, HOME: '/tmp' },
    uid: 65_534,
    gid: 65_534,
  });
  const { code } = await start.exited;
  expect(code, start.output).toBe(0);
  expect(start.stdout).toMatch(RIGHT);
});

test('an interrupted run leaves no server behind', { timeout: 120_000 }, async () => {
  const start = new WorkerProcess([BOOTSTRAP, 'start'], {
    env: { DATABASE_URL: undefined, HOWDAH_DATABASE_URL: undefined },
  });
  await start.waitForOutput('Importing', 60_000);
  start.kill('SIGINT');
  expect((await start.exited).code, start.output).toBe(130);
});
