import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Database, migrate } from 'howdah';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { waitFor } from '../support/wait-for.js';

const PGBOUNCER = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find((each) => existsSync(each));
const NOBODY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** Starts PgBouncer in transaction mode with one server connection; returns a URL through it. */
async function startPooler(target: string): Promise<string> {
  const { hostname, port, username, password, pathname } = new URL(target);
  const dir = await mkdtemp(path.join(tmpdir(), 'howdah-pooler-'));
  await chmod(dir, 0o755);
  const listenPort = await freePort();
  const login = `user=${username} password=${password}`;
  await writeFile(
    path.join(dir, 'pgbouncer.ini'),
    `[databases]
pooled = host=${hostname} port=${port} dbname=${pathname.slice(1)} ${login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
`,
  );
  const child = spawn(PGBOUNCER ?? '', ['-q', path.join(dir, 'pgbouncer.ini')], {
    ...NOBODY,
    stdio: 'ignore',
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await rm(dir, { recursive: true });
  });
  await waitFor(() => canConnect(listenPort), { what: 'PgBouncer' });
  return `postgres://pooled@127.0.0.1:${listenPort}/pooled`;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function open(options: ConstructorParameters<typeof Database>[0]): Database {
  const database = new Database(options);
  onTestFinished(() => database.close());
  return database;
}

describe.runIf(PGBOUNCER)('through PgBouncer in transaction mode', () => {
  test('statements and transactions work', async ({ url }) => {
    const database = open({ url: await startPooler(url) });
    await database.assertVersion();
    const statement = database.statement('one', 'select $1::int as i');
    const rows = await Promise.all(
      Array.from({ length: 50 }, (_, i) => database.query(statement, [i])),
    );
    expect(rows.flat()).toEqual(Array.from({ length: 50 }, (_, i) => ({ i })));
    expect(await database.transaction((tx) => tx.query(statement, [7]))).toEqual([{ i: 7 }]);
  });

  test('a connection of its own knows, and changes nothing for others', async ({ url }) => {
    const pooled = await startPooler(url);
    const database = open({ url: pooled });
    const sessions = await Promise.all(
      [1, 2].map(() => database.connect('test', { asyncCommit: true })),
    );
    expect(sessions.map(({ isPooled }) => isPooled)).toEqual([true, true]);
    const text = `select count(*)::int as changed from pg_settings
      where name in ('synchronous_commit', 'statement_timeout') and source = 'session'`;
    for (const each of [database, ...sessions]) {
      expect(await each.query({ text })).toEqual([{ changed: 0 }]);
    }
    for (const each of sessions) await each.close();

    const direct = await open({ url: pooled, directUrl: url }).connect('test');
    expect(direct.isPooled).toBe(false);
    await direct.close();
  });

  test('migrations ask for the direct URL', async ({ createDatabase }) => {
    const directUrl = await createDatabase('empty');
    const url = await startPooler(directUrl);
    await expect(migrate({ url })).rejects.toMatchObject({
      code: 'HOWDAH_OPTION_INVALID',
      details: { option: 'directUrl' },
    });
    expect((await migrate({ url, directUrl })).applied.length).toBeGreaterThan(0);
  });
});
