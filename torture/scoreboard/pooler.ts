import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { waitFor } from '../../test/support/wait-for.js';
import type { Lab } from './lab.js';

/** Path of PgBouncer, where it is installed. */
export const PGBOUNCER = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find((each) =>
  existsSync(each),
);
const NOBODY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** PgBouncer in transaction mode in front of a server; returns the URL through it. */
export async function startPooler(lab: Lab, target: string): Promise<string> {
  const { hostname, port, username, password, pathname } = new URL(target);
  const dir = await lab.folder();
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
default_pool_size = 10
`,
  );
  const child = spawn(PGBOUNCER ?? '', ['-q', path.join(dir, 'pgbouncer.ini')], {
    ...NOBODY,
    stdio: 'ignore',
  });
  lab.defer(() => child.kill('SIGKILL'));
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
