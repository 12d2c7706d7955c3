import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Cluster } from '../cluster.js';
import type { Disk } from '../disk.js';
import type { Random } from '../random.js';
import { Site } from './site.js';

type Settings = Readonly<Record<string, string | number | boolean>>;

/** What a subject works with; everything it has made is gone when it closes. */
export class Lab {
  readonly random: Random;
  readonly #scale: number;
  readonly #log: (line: string) => void;
  readonly #closers: (() => unknown)[] = [];

  constructor(options: { random: Random; scale: number; log: (line: string) => void }) {
    this.random = options.random;
    this.#scale = options.scale;
    this.#log = options.log;
  }

  /** Share of the full size that is run, more than 0 and at most 1. */
  get scale(): number {
    return this.#scale;
  }

  /** So much of the full size, but never less than it takes to show anything. */
  count(full: number, min: number): number {
    return Math.max(min, Math.round(full * this.#scale));
  }

  say(line: string): void {
    this.#log(`    ${line}`);
  }

  /** Done at the end, last one first, whatever happened. */
  defer(close: () => unknown): void {
    this.#closers.push(close);
  }

  async folder(): Promise<string> {
    const dir = await mkdtemp(path.join(tmpdir(), 'howdah-scoreboard-'));
    this.defer(() => rm(dir, { recursive: true, force: true }));
    return dir;
  }

  /** A server of its own, with fsync, whose schema is not there yet. */
  async cluster(settings: Settings = {}, disk?: Disk): Promise<Cluster> {
    const cluster = await Cluster.start(
      { max_connections: 150, shared_buffers: '64MB', max_wal_size: '256MB', ...settings },
      disk,
    );
    this.defer(() => cluster.stop());
    return cluster;
  }

  /** The same, with the schema and the tables in which handlers count what they did. */
  async site(settings: Settings = {}, disk?: Disk): Promise<Site> {
    const cluster = await this.cluster(settings, disk);
    return Site.prepare(this, cluster.url, cluster);
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) {
      try {
        await close();
      } catch (error) {
        this.say(`at the end: ${error instanceof Error ? error.message : error}`);
      }
    }
  }
}
