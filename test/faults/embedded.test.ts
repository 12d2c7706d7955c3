import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from 'howdah/embedded';
import pg from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { waitFor } from '../support/wait-for.js';
import { ROOT, spawnScript, type WorkerProcess } from '../support/worker-process.js';

const HOST = `${ROOT}test/support/scripts/embedded-host.mjs`;
const IS_ROOT = process.getuid?.() === 0;
const NOBODY = { uid: 65_534, gid: 65_534 };
/** Root can play a plain user, if that user may read this folder. */
const CAN_BE_NOBODY = IS_ROOT && spawnSync('test', ['-r', HOST], NOBODY).status === 0;

interface Hosted {
  readonly url: string;
  readonly pid: number;
  readonly workspace: string;
}

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

async function start(
  options?: Parameters<typeof startEmbeddedPostgres>[0],
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres(options);
  onTestFinished(() => server.stop('immediate'));
  return server;
}

/** Where `start` puts a new data directory: reachable for the server's account. */
async function makeParent(): Promise<string> {
  const parent = await mkdtemp(path.join(tmpdir(), 'howdah-test-'));
  if (IS_ROOT) execFileSync('chmod', ['755', parent]);
  onTestFinished(() => rm(parent, { recursive: true, force: true }));
  return parent;
}

async function hosted(child: WorkerProcess): Promise<Hosted> {
  await child.waitForOutput('workspace');
  return JSON.parse(child.stdout.split('\n')[0] ?? '') as Hosted;
}

function isAlive(pid: number): boolean {
  try {
    // A zombie has been killed and only awaits its parent.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function expectGone({ pid, workspace }: Hosted): Promise<void> {
  await waitFor(() => !isAlive(pid) && !existsSync(workspace), {
    what: `server ${pid} and ${workspace} to go`,
  });
}

describe('an embedded server', () => {
  test('takes connections with its password only, and its settings', async () => {
    const server = await start({ settings: { work_mem: '7MB' } });
    expect(await query(server.url, 'show work_mem')).toEqual([{ work_mem: '7MB' }]);
    expect(await query(server.url, 'show fsync')).toEqual([{ fsync: 'off' }]);
    const open = new URL(server.url);
    open.password = 'wrong';
    await expect(query(open.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
  });

  test('leaves nothing behind when stopped, also twice', async () => {
    const server = await startEmbeddedPostgres();
    const { pid, dataDir } = server;
    expect(isAlive(pid)).toBe(true);
    await Promise.all([server.stop(), server.stop('immediate')]);
    await server.stop();
    await server.stopped;
    expect(isAlive(pid)).toBe(false);
    expect(existsSync(path.dirname(dataDir))).toBe(false);
  });

  test('keeps a data directory that was given, with fsync, and uses it again', async () => {
    const dataDir = path.join(await makeParent(), 'data');
    const first = await startEmbeddedPostgres({ dataDir });
    await query(first.url, 'create table kept as select 7 as i');
    expect(await query(first.url, 'show fsync')).toEqual([{ fsync: 'on' }]);
    await first.stop();
    const second = await start({ dataDir, port: first.port });
    expect(second.url).toBe(first.url);
    expect(await query(second.url, 'select i from kept')).toEqual([{ i: 7 }]);
  });

  test('says why it does not start', async () => {
    const holder = net.createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void holder.close());
    const { port } = holder.address() as net.AddressInfo;
    await expect(startEmbeddedPostgres({ port })).rejects.toMatchObject({
      code: 'HOWDAH_EMBEDDED_FAILED',
      message: expect.stringContaining('could not create any TCP/IP sockets'),
    });
    await expect(startEmbeddedPostgres({ settings: { nonsense: 1 } })).rejects.toMatchObject({
      code: 'HOWDAH_EMBEDDED_FAILED',
      message: expect.stringContaining('nonsense'),
    });
  });

  test('finds a port of its own when several start at once', async () => {
    const servers = await Promise.all([start(), start(), start()]);
    expect(new Set(servers.map(({ port }) => port)).size).toBe(3);
  });

  test('that is killed is noticed and cleaned up', async () => {
    const server = await start();
    process.kill(server.pid, 'SIGKILL');
    await server.stopped;
    expect(existsSync(path.dirname(server.dataDir))).toBe(false);
  });

  test.runIf(IS_ROOT)('writes and reads its password as root through no planted link', async () => {
    const parent = await makeParent();
    const secret = path.join(await mkdtemp(path.join(tmpdir(), 'howdah-secret-')), 'secret');
    onTestFinished(() => rm(path.dirname(secret), { recursive: true, force: true }));
    writeFileSync(secret, 'root:x:hash', { mode: 0o600 });
    const dataDir = path.join(parent, 'data');
    const link = path.join(dataDir, 'howdah.password');
    // while initdb works, as a process of the server's account could
    const planted = waitFor(() => existsSync(path.join(dataDir, 'PG_VERSION')), {
      what: 'initdb',
    }).then(() => symlinkSync(secret, link));
    const starting = startEmbeddedPostgres({ dataDir });
    const refused = expect(starting).rejects.toMatchObject({ code: 'HOWDAH_EMBEDDED_FAILED' });
    await planted;
    await refused;
    expect(readFileSync(secret, 'utf8')).toBe('root:x:hash');
    // and as what it has kept: the secret would go to whoever listens as that server
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toMatchObject({
      code: 'HOWDAH_EMBEDDED_FAILED',
      message: expect.stringContaining('howdah.password'),
    });
  });

  test('survives kill -9 of the server with what was committed', async () => {
    const dataDir = path.join(await makeParent(), 'data');
    const first = await startEmbeddedPostgres({ dataDir });
    await query(first.url, 'create table kept as select 8 as i');
    process.kill(first.pid, 'SIGKILL');
    await first.stopped;
    const second = await start({ dataDir });
    expect(await query(second.url, 'select i from kept')).toEqual([{ i: 8 }]);
  });

  test('goes with its keeper', async () => {
    const server = await start();
    const keeper = Number(
      /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1],
    );
    process.kill(keeper, 'SIGKILL');
    await server.stopped;
    await expectGone({ ...server, workspace: path.dirname(server.dataDir) });
  });
});

describe('an application that ends without stopping its server takes it along', () => {
  test.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)('by %s', async (signal) => {
    // To the whole group, as a terminal does.
    const child = spawnScript(HOST, ['wait'], { isGroup: true });
    const server = await hosted(child);
    expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    child.kill(signal);
    expect(await child.exited).toMatchObject({ signal });
    await expectGone(server);
  });

  test.each([
    ['throw', 1],
    ['exit', 3],
    ['return', 0],
  ])('by %s', async (how, code) => {
    const child = spawnScript(HOST, [how]);
    const server = await hosted(child);
    expect((await child.exited).code).toBe(code);
    await expectGone(server);
  });

  test('killed while the server still starts', async () => {
    const TMPDIR = await makeParent();
    const child = spawnScript(HOST, ['wait'], { isGroup: true, env: { TMPDIR } });
    const keeper = await waitFor(() => childOf(child.pid, 'keeper.js'), { what: 'the keeper' });
    await waitFor(() => childOf(keeper, 'initdb'), { what: 'initdb' });
    child.kill('SIGKILL');
    await waitFor(() => !isAlive(keeper) && readdirSync(TMPDIR).length === 0, {
      what: 'the keeper and its folder to go',
    });
  });

  test.runIf(CAN_BE_NOBODY)('as a plain user', async () => {
    const child = spawnScript(HOST, ['wait'], { ...NOBODY, env: { HOME: '/' } });
    const server = await hosted(child);
    expect(await query(server.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    child.kill('SIGKILL');
    await expectGone(server);
  });
});

/** Process id of a child whose command line contains the text. */
function childOf(pid: number, text: string): number | undefined {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  const found = children.find(
    (each) => each !== '' && readFileSync(`/proc/${each}/cmdline`, 'utf8').includes(text),
  );
  return found === undefined ? undefined : Number(found);
}
