import { chmod, rm } from 'node:fs/promises';
import path from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from 'howdah/embedded';
import pg from 'pg';
import { waitFor } from '../test/support/wait-for.js';
import type { Disk } from './disk.js';
import { makeScratch, removeScratch } from './scratch.js';
import { startStandby } from './standby.js';

/** What a nemesis may set for the whole database, and these connections depend on. */
const PINNED = [
  'search_path=public',
  'default_transaction_isolation=read\\ committed',
  'standard_conforming_strings=on',
  'datestyle=ISO',
  'timezone=UTC',
  'extra_float_digits=1',
  'idle_session_timeout=0',
  'idle_in_transaction_session_timeout=0',
  'client_min_messages=notice',
]
  .map((each) => `-c ${each}`)
  .join(' ');

/** The server that is tortured, and a way to it past all proxies. */
export class Cluster {
  readonly #dir: string;
  readonly #settings: Readonly<Record<string, string | number | boolean>>;
  #server: EmbeddedPostgres;
  #pool: pg.Pool;
  #standbys = 0;

  private constructor(
    dir: string,
    server: EmbeddedPostgres,
    settings: Readonly<Record<string, string | number | boolean>>,
  ) {
    this.#dir = dir;
    this.#server = server;
    this.#settings = settings;
    this.#pool = openPool(server.url);
  }

  /** Another one after each {@link goOver}, as the pool. */
  get url(): string {
    return this.#server.url;
  }

  get pool(): pg.Pool {
    return this.#pool;
  }

  /** @param disk where its files are to be; default: a temporary folder */
  static async start(
    settings: Readonly<Record<string, string | number | boolean>>,
    disk?: Disk,
  ): Promise<Cluster> {
    const dir = disk?.dir ?? makeScratch('server');
    await chmod(dir, 0o755);
    const dataDir = path.join(dir, 'data');
    const server = await startEmbeddedPostgres({ dataDir, durable: true, settings });
    return new Cluster(dir, server, settings);
  }

  get isRunning(): Promise<boolean> {
    return this.pool.query('select 1').then(
      () => true,
      () => false,
    );
  }

  /** Ends the server the hard way; resolves when it is gone. */
  async crash(how: 'kill -9' | 'immediate'): Promise<void> {
    if (how === 'immediate') return this.#server.stop('immediate');
    process.kill(this.#server.pid, 'SIGKILL');
    await this.#server.stopped;
  }

  /** Starts it again on the same files: orphans of a killed server may hold them for a moment. */
  async restart(): Promise<void> {
    const { dataDir, port } = this.#server;
    this.#server = await waitFor(
      () =>
        startEmbeddedPostgres({
          dataDir,
          port,
          durable: true,
          settings: this.#settings,
        }),
      { timeoutMs: 60_000, intervalMs: 100, what: 'the server to start again' },
    );
  }

  /** A standby that each commit waits for, beside the server. */
  async makeStandby(): Promise<EmbeddedPostgres> {
    this.#standbys += 1;
    const dataDir = path.join(this.#dir, `standby-${this.#standbys}`);
    const client = await this.connect();
    try {
      return await startStandby({
        primary: this.#server,
        client,
        dataDir,
        settings: this.#settings,
      });
    } finally {
      await client.end();
    }
  }

  /** Commits wait for no standby any more. */
  async forgetStandby(): Promise<void> {
    await this.#pool.query('alter system reset synchronous_standby_names');
    await this.#pool.query('select pg_reload_conf()');
  }

  /** Makes the standby the server, which was lost: it is promoted, and the files of the old one go. */
  async goOver(standby: EmbeddedPostgres): Promise<void> {
    const { dataDir } = this.#server;
    await this.#pool.end();
    this.#server = standby;
    this.#pool = openPool(standby.url);
    await this.value('select pg_promote()');
    await rm(dataDir, { recursive: true, force: true });
  }

  /** Whether the server has ended by itself. */
  async hasEnded(withinMs: number): Promise<boolean> {
    return Promise.race([
      this.#server.stopped.then(() => true),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(false), withinMs)),
    ]);
  }

  /** Waits until it answers. */
  async ready(timeoutMs = 30_000): Promise<void> {
    await waitFor(() => this.isRunning, { timeoutMs, what: 'the server to answer' });
  }

  /** A connection of its own, to hold locks with; who breaks it is not told. */
  async connect(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.url,
      application_name: 'torture',
      options: PINNED,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** The first value of the first row. */
  async value<T>(text: string, values: unknown[] = []): Promise<T> {
    const { rows } = await this.pool.query({ text, values, rowMode: 'array' });
    return rows[0]?.[0] as T;
  }

  async stop(): Promise<void> {
    await this.#pool.end().catch(() => undefined);
    await this.#server.stop('immediate').catch(() => undefined);
    await rm(this.#server.dataDir, { recursive: true, force: true });
    removeScratch(this.#dir);
  }
}

function openPool(url: string): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max: 4,
    application_name: 'torture',
    options: PINNED,
    connectionTimeoutMillis: 5_000,
  });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}
