import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from './wait-for.js';

/** Path of PgBouncer, where it is installed. */
export const PGBOUNCER = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find((each) =>
  existsSync(each),
);
const NOBODY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

/** PgBouncer in transaction mode, in front of one database. */
export class PoolerProcess {
  readonly #dir: string;
  readonly #child: ChildProcess;
  readonly port: number;

  private constructor(dir: string, port: number) {
    this.#dir = dir;
    this.port = port;
    this.#child = spawn(PGBOUNCER ?? '', ['-q', path.join(dir, 'pgbouncer.ini')], {
      ...NOBODY,
      stdio: 'ignore',
    });
    this.#child.once('error', () => undefined);
  }

  /**
   * @param target URL of the database, with the login that everybody gets
   * @param size connections to the server
   */
  static async start(target: string, size: number): Promise<PoolerProcess> {
    const { hostname, port, username, password, pathname } = new URL(target);
    const dir = await mkdtemp(path.join(tmpdir(), 'howdah-pooler-'));
    await chmod(dir, 0o755);
    const listenPort = await freePort();
    const login = `user=${username} password=${password}`;
    await writeFile(
      path.join(dir, 'pgbouncer.ini'),
      `[databases]
* = host=${hostname} port=${port} dbname=${pathname.slice(1)} ${login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = ${size}
`,
    );
    const pooler = new PoolerProcess(dir, listenPort);
    await waitFor(() => canConnect(listenPort), { what: 'PgBouncer' });
    return pooler;
  }

  /** URL of the database through it. */
  get url(): string {
    return `postgres://pooled@127.0.0.1:${this.port}/pooled`;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await rm(this.#dir, { recursive: true, force: true });
  }
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
