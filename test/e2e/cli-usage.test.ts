import { describe, expect, vi } from 'vitest';
import { runCli } from '../support/cli.js';
import { test } from '../support/database.js';

// Each call is a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

describe('help', () => {
  test('and the version', async () => {
    const { code, stdout } = await runCli(['--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('howdah enqueue <queue> [payload]');
    expect((await runCli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('wrong usage', () => {
  test.for([
    { args: [], says: 'Name a command.' },
    { args: ['nonsense'], says: 'Unknown argument: nonsense' },
    {
      args: ['jobs'],
      says: 'Name an action: list, show, retry, cancel, edit, result, watch, complete, fail, release or extend.',
    },
    { args: ['jobz'], says: 'Unknown command: jobz. Did you mean jobs?' },
    { args: ['jobs', 'lst'], says: 'Unknown command: lst. Did you mean list?' },
    { args: ['jobs', 'list', '--quue=x'], says: 'Unknown option: --quue' },
    { args: ['status', '--nonsense'], says: 'Unknown option: --nonsense' },
    { args: ['status', '--url', 'a', '--url', 'b'], says: 'given more than once' },
    { args: ['enqueue', 'q'], says: 'Give either a payload or --from.' },
    { args: ['enqueue', 'q', '{', '--url', 'postgres://x'], says: 'The payload is not JSON' },
    { args: ['enqueue', 'q', '1', '--on-error', 'guess'], says: 'Choices: "stop", "skip"' },
    { args: ['migrate', '--check', '--print'], says: '--check and --print exclude each other.' },
    { args: ['dead-letters', 'discard'], says: 'Neither ids nor a filter' },
    { args: ['dead-letters', 'redrive'], says: 'Neither ids nor a filter' },
    { args: ['dead-letters', 'discard', '--since', 'soon'], says: 'is not a time' },
    { args: ['status', '--url', 'mysql://u:topsecret@h/d'], says: 'Option url' },
    { args: ['status', '--schema', 'Not Good'], says: 'Option schema' },
  ])('$args: exit code 2 and one line', async ({ args, says }) => {
    const { code, stdout, stderr } = await runCli(args);
    expect(stderr).toContain(says);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error HOWDAH_[A-Z_]+: .*\n( {2}.*\n)?$/);
    expect(stderr).not.toContain('topsecret');
  });
});

describe('the database', () => {
  const nowhere = 'postgres://user:topsecret@127.0.0.1:1/db';

  test('that is out of reach is an error without a stack and without the password', async () => {
    const { code, stderr } = await runCli(['status', '--url', nowhere]);
    expect(code).toBe(1);
    expect(stderr).toContain('error HOWDAH_DATABASE_UNAVAILABLE: ');
    expect(stderr).not.toContain('    at ');
    const verbose = await runCli(['status', '--verbose', '--url', nowhere]);
    expect(verbose.stderr).toContain('    at ');
    expect(stderr + verbose.stderr).not.toContain('topsecret');
  });

  test('that nobody named: says how to name one', async () => {
    const { code, stderr } = await runCli(['status'], { env: { PGPORT: undefined } });
    expect(code).toBe(1);
    expect(stderr).toContain('--url or HOWDAH_DATABASE_URL');
  });

  test('--url goes before HOWDAH_DATABASE_URL before DATABASE_URL before PG*', async ({ url }) => {
    const { hostname, port, username, password, pathname } = new URL(url);
    const pg = {
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: username,
      PGPASSWORD: decodeURIComponent(password),
      PGDATABASE: pathname.slice(1),
    };
    const wrongPg = { ...pg, PGPORT: '1' };
    const codes = await Promise.all([
      runCli(['status', '--url', url], {
        url: nowhere,
        env: { DATABASE_URL: nowhere, ...wrongPg },
      }),
      runCli(['status'], { url, env: { DATABASE_URL: nowhere, ...wrongPg } }),
    ]);
    const more = await Promise.all([
      runCli(['status'], { env: { DATABASE_URL: url, ...wrongPg } }),
      runCli(['status'], { env: pg }),
    ]);
    expect([...codes, ...more].map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  });

  test('without the schema says what to run', async ({ createDatabase }) => {
    const { code, stderr } = await runCli(['status'], { url: await createDatabase('empty') });
    expect(code).toBe(1);
    expect(stderr).toMatch(/error HOWDAH_SCHEMA_MISSING: .*\n {2}Run `howdah migrate`\.\n/);
  });
});
