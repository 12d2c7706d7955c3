import { writeFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Database } from 'howdah';
import { type EmbeddedPostgres, startEmbeddedPostgres } from 'howdah/embedded';
import { describe, expect, onTestFinished } from 'vitest';
import { test } from '../support/database.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { waitFor } from '../support/wait-for.js';

type Options = NonNullable<ConstructorParameters<typeof Database>[0]>;

function open(options: Options): Database {
  const database = new Database(options);
  onTestFinished(() => database.close());
  return database;
}

async function proxyTo(url: string): Promise<FaultProxy> {
  const proxy = await FaultProxy.start(url);
  onTestFinished(() => proxy.stop());
  return proxy;
}

const one = { text: 'select 1 as i' };

describe('a server that does not answer', () => {
  test('is given up on when the time is over, and replaced', async ({ url }) => {
    const proxy = await proxyTo(url);
    const database = open({ url: proxy.url, statementTimeout: '200ms', connectionsMax: 1 });
    await database.query(one);
    proxy.freeze();
    await expect(database.query(one)).rejects.toMatchObject({
      code: 'HOWDAH_TIMEOUT',
      details: { isSent: true },
    });
    proxy.thaw();
    expect(await database.query(one)).toEqual([{ i: 1 }]);
  });

  test('loses a connection of its own, which says so once', async ({ url }) => {
    const proxy = await proxyTo(url);
    const session = await open({ url: proxy.url, statementTimeout: '200ms' }).connect('test');
    const lost: Error[] = [];
    session.onLost((error) => lost.push(error));
    proxy.freeze();
    const results = await Promise.allSettled([session.query(one), session.query(one)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(lost).toMatchObject([{ code: 'HOWDAH_TIMEOUT' }]);
    await expect(session.query(one)).rejects.toMatchObject({ code: 'HOWDAH_TIMEOUT' });
    await session.close();
    await waitFor(() => proxy.connections === 0, { what: 'the connection to be hung up' });
  });

  test('does not hold up closing', async ({ url }) => {
    const proxy = await proxyTo(url);
    const session = await open({ url: proxy.url }).connect('test');
    proxy.freeze();
    const start = performance.now();
    await session.close();
    expect(performance.now() - start).toBeLessThan(5_000);
  });

  test('at connect is an error after the connect time-out', async ({ url }) => {
    const proxy = await proxyTo(url);
    proxy.freeze();
    const database = open({ url: proxy.url, connectTimeout: '200ms' });
    for (const run of [() => database.query(one), () => database.connect('test')]) {
      await expect(run()).rejects.toMatchObject({
        code: 'HOWDAH_DATABASE_UNAVAILABLE',
        isRetryable: true,
      });
    }
  });
});

describe('a connection that breaks', () => {
  test('in a statement is an error, and the next statement works', async ({ url }) => {
    const proxy = await proxyTo(url);
    const database = open({ url: proxy.url, connectionsMax: 1 });
    const broken = database.query({ text: 'select pg_sleep(60)' });
    await waitFor(() => proxy.connections === 1);
    const failure = expect(broken).rejects.toMatchObject({
      code: 'HOWDAH_DATABASE_UNAVAILABLE',
    });
    proxy.cut();
    await failure;
    expect(await database.query(one)).toEqual([{ i: 1 }]);
  });

  test('while idle, in the pool or in a transaction, ends nothing', async ({ url }) => {
    const proxy = await proxyTo(url);
    const database = open({ url: proxy.url });
    await database.query(one);
    proxy.cut();
    await waitFor(() => proxy.connections === 0);
    await expect(
      database.transaction(async (tx) => {
        await tx.query(one);
        proxy.cut();
        await waitFor(() => proxy.connections === 0);
        await tx.query(one);
      }),
    ).rejects.toMatchObject({ code: 'HOWDAH_DATABASE_UNAVAILABLE' });
    expect(await database.query(one)).toEqual([{ i: 1 }]);
  });

  test('is told to the owner of a connection of its own', async ({ url }) => {
    const database = open({ url });
    const session = await database.connect('test');
    const lost = new Promise<Error>((resolve) => session.onLost(resolve));
    await database.query({ text: 'select pg_terminate_backend($1)' }, [session.processId]);
    await expect(lost).resolves.toMatchObject({ code: 'HOWDAH_DATABASE_UNAVAILABLE' });
    await expect(new Promise((resolve) => session.onLost(resolve))).resolves.toBe(await lost);
  });

  test('between COMMIT and its reply leaves the outcome unknown', async ({ url }) => {
    const proxy = await proxyTo(url);
    const database = open({ url: proxy.url });
    await database.query({ text: 'create table kept (i int)' });
    proxy.loseReplyTo('commit');
    await expect(
      database.transaction((tx) => tx.query({ text: 'insert into kept values (1)' })),
    ).rejects.toMatchObject({ code: 'HOWDAH_COMMIT_UNKNOWN', isRetryable: false });
    expect(proxy.repliesLost).toBe(1);
    const rows = () => database.query({ text: 'select i from kept' });
    expect(await waitFor(async () => (await rows()).length === 1 && rows())).toEqual([{ i: 1 }]);
  });

  test('before COMMIT is sent means that nothing was committed', async ({ url }) => {
    const proxy = await proxyTo(url);
    const database = open({ url: proxy.url });
    await expect(
      database.transaction(async (tx) => {
        proxy.cut();
        await tx.query(one).catch(() => undefined);
      }),
    ).rejects.toMatchObject({ code: 'HOWDAH_DATABASE_UNAVAILABLE' });
  });

  test('a server that lets nobody in is unavailable, not fatal', async ({ url }) => {
    const proxy = await proxyTo(url);
    const database = open({ url: proxy.url });
    proxy.refuse();
    await expect(database.query(one)).rejects.toMatchObject({
      code: 'HOWDAH_DATABASE_UNAVAILABLE',
    });
    proxy.refuse(false);
    expect(await database.query(one)).toEqual([{ i: 1 }]);
  });
});

test('a line can lose its notifications only', async ({ url }) => {
  const proxy = await proxyTo(url);
  proxy.dropNotifications();
  const deaf = await open({ url: proxy.url }).connect('deaf');
  const hearing = await open({ url }).connect('hearing');
  const heard: string[] = [];
  await deaf.listen('fault_proxy', (payload) => heard.push(`deaf ${payload}`));
  await hearing.listen('fault_proxy', (payload) => heard.push(`hearing ${payload}`));
  await deaf.query({ text: `select pg_notify('fault_proxy', repeat('x', 7000))` });
  await deaf.query({ text: `notify fault_proxy, 'short'` });
  expect(await deaf.query({ text: `select repeat('y', 100000) as i` })).toEqual([
    { i: 'y'.repeat(100_000) },
  ]);
  await waitFor(() => heard.includes('hearing short'));
  expect(heard.filter((each) => each.startsWith('deaf'))).toEqual([]);
  await Promise.all([deaf.close(), hearing.close()]);
});

describe('several hosts', () => {
  /** The same database behind each proxy. */
  async function behind(url: string, count: number) {
    const proxies = await Promise.all(Array.from({ length: count }, () => proxyTo(url)));
    const several = new URL(url);
    const hosts = proxies.map((each) => new URL(each.url).host).join(',');
    return { proxies, url: several.href.replace(several.host, hosts) };
  }

  test('are tried in turn, by the pool and by connections of their own', async ({ url }) => {
    const several = await behind(url, 3);
    const database = open({ url: several.url, connectionsMax: 1 });
    for (const proxy of several.proxies) {
      for (const each of several.proxies) each.refuse(each !== proxy);
      for (const each of several.proxies) each.cut();
      await waitFor(() => several.proxies.every(({ connections }) => connections === 0));
      expect(await waitFor(() => database.query(one))).toEqual([{ i: 1 }]);
      const session = await database.connect('test');
      expect(proxy.connections).toBe(2);
      await session.close();
    }
    for (const each of several.proxies) each.refuse();
    for (const each of several.proxies) each.cut();
    await waitFor(async () => {
      await expect(database.query(one)).rejects.toMatchObject({ details: {} });
      return true;
    });
    await expect(database.connect('test')).rejects.toMatchObject({
      code: 'HOWDAH_DATABASE_UNAVAILABLE',
    });
  });

  test('of which one is a standby: it is passed over', async () => {
    const primary = new URL((await startServer({})).url);
    const standby = new URL(await startStandby(primary.password));
    const both = primary.href.replace(primary.host, `${standby.host},${primary.host}`);
    const database = open({ url: both });
    const text = 'select pg_is_in_recovery() as i';
    expect(await database.query({ text })).toEqual([{ i: false }]);
    const session = await database.connect('test');
    expect(await session.query({ text })).toEqual([{ i: false }]);
    await session.close();

    const alone = open({ url: standby.href });
    for (const run of [() => alone.query(one), () => alone.connect('test')]) {
      await expect(run()).rejects.toMatchObject({
        code: 'HOWDAH_DATABASE_READ_ONLY',
        isRetryable: true,
      });
    }
  });
});

async function startServer(
  options: NonNullable<Parameters<typeof startEmbeddedPostgres>[0]>,
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres(options);
  onTestFinished(() => server.stop('immediate'));
  return server;
}

async function makeDataDir(): Promise<string> {
  const parent = await mkdtemp(path.join(tmpdir(), 'howdah-faults-'));
  await chmod(parent, 0o755);
  onTestFinished(() => rm(parent, { recursive: true, force: true }));
  return path.join(parent, 'data');
}

/** A server in recovery without a primary: it answers, but takes no writes. Returns its URL. */
async function startStandby(password: string): Promise<string> {
  const dataDir = await makeDataDir();
  const first = await startServer({ dataDir, durable: false });
  await open({ url: first.url }).query({ text: `alter role postgres password '${password}'` });
  await first.stop();
  writeFileSync(path.join(dataDir, 'standby.signal'), '');
  const second = new URL((await startServer({ dataDir, durable: false })).url);
  second.password = password;
  return second.href;
}

describe('a server that restarts', () => {
  test('is found again, and so are its connections', async () => {
    const dataDir = await makeDataDir();
    const server = await startServer({ dataDir });
    const { port, url } = server;
    const database = open({ url });
    const session = await database.connect('test');
    const lost = new Promise<Error>((resolve) => session.onLost(resolve));
    await database.query({ text: 'create table t (i int)' });
    await server.stop('immediate');
    await expect(lost).resolves.toMatchObject({ code: 'HOWDAH_DATABASE_UNAVAILABLE' });
    await expect(database.query(one)).rejects.toMatchObject({ isRetryable: true });
    await startServer({ dataDir, port });
    expect(await waitFor(() => database.query(one))).toEqual([{ i: 1 }]);
    await (await database.connect('test')).close();
  });
});
