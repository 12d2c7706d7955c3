import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type EmbeddedPostgres, startEmbeddedPostgres } from 'howdah/embedded';
import pg from 'pg';
import { waitFor } from '../test/support/wait-for.js';
import type { Disk } from './disk.js';

/** The server that is tortured, and a way to it past all proxies. */
export class Cluster {
  readonly #dir: string;
  readonly #settings: Readonly<Record<string, string | number | boolean>>;
  readonly #port: number;
  readonly pool: pg.Pool;
  readonly url: string;
  #server: EmbeddedPostgres;

  private constructor(
    dir: string,
    server: EmbeddedPostgres,
    settings: Readonly<Record<string, string | number | boolean>>,
  ) {
    this.#dir = dir;
    this.#server = server;
    this.#settings = settings;
    this.#port = server.port;
    this.url = server.url;
    this.pool = new pg.Pool({
      connectionString: server.url,
      max: 4,
      application_name: 'torture',
      connectionTimeoutMillis: 5_000,
    });
    this.pool.on('error', () => undefined);
    this.pool.on('connect', (client) => client.on('error', () => undefined));
  }

  /** @param disk where its files are to be; default: a temporary folder */
  static async start(
    settings: Readonly<Record<string, string | number | boolean>>,
    disk?: Disk,
  ): Promise<Cluster> {
    const dir = disk?.dir ?? (await mkdtemp(path.join(tmpdir(), 'howdah-torture-')));
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
    const { dataDir } = this.#server;
    this.#server = await waitFor(
      () =>
        startEmbeddedPostgres({
          dataDir,
          port: this.#port,
          durable: true,
          settings: this.#settings,
        }),
      { timeoutMs: 60_000, intervalMs: 100, what: 'the server to start again' },
    );
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
    const client = new pg.Client({ connectionString: this.url, application_name: 'torture' });
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
    await this.pool.end().catch(() => undefined);
    await this.#server.stop('immediate').catch(() => undefined);
    await rm(path.join(this.#dir, 'data'), { recursive: true, force: true });
    await rm(this.#dir, { recursive: true, force: true }).catch(() => undefined);
  }
}
