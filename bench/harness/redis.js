import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';

/** True where the system has a Redis server. */
export const isRedisInstalled = () => spawnSync('redis-server', ['--version']).status === 0;

/** A Redis with an append-only file, so that its promise is comparable: fsync each second or always. */
export class RedisServer {
  static async start(appendfsync) {
    const directory = await mkdtemp(path.join(tmpdir(), 'bench-redis-'));
    const port = await freePort();
    const words = ['--port', port, '--bind', '127.0.0.1', '--dir', directory, '--save', ''];
    words.push('--appendonly', 'yes', '--appendfsync', appendfsync);
    words.push('--maxmemory-policy', 'noeviction');
    const child = spawn('redis-server', words.map(String), { stdio: 'ignore' });
    const server = new RedisServer(child, directory, port);
    await server.#command((redis) => redis.ping());
    return server;
  }

  #child;
  #directory;

  constructor(child, directory, port) {
    this.#child = child;
    this.#directory = directory;
    this.url = `redis://127.0.0.1:${port}/0`;
  }

  get pid() {
    return this.#child.pid;
  }

  async describe() {
    const info = await this.#command((redis) => redis.info('server'));
    return /redis_version:(\S+)/.exec(info)?.[1];
  }

  empty() {
    return this.#command((redis) => redis.flushall());
  }

  async stop() {
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    // an interrupt of the whole process group may have ended it already
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM');
      await exited;
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #command(run) {
    const redis = new Redis(this.url, { retryStrategy: () => 50, maxRetriesPerRequest: 100 });
    redis.on('error', () => {}); // not up yet: it tries again
    try {
      return await run(redis);
    } finally {
      redis.disconnect();
    }
  }
}

function freePort() {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
