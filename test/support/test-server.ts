import { existsSync } from 'node:fs';
import { startEmbeddedPostgres } from 'howdah/embedded';
import { findSystemPostgres } from './system-postgres.js';

/** A server for the tests. */
export interface TestServer {
  readonly url: string;
  readonly kind: string;
  stop(): Promise<void>;
}

/**
 * TEST_DATABASE_URL if given; else a container if Docker answers; else the embedded server.
 * HOWDAH_TEST_PG chooses: `embedded`, or the major version of a Debian PostgreSQL such as `15`.
 */
export async function startTestServer(): Promise<TestServer> {
  const { TEST_DATABASE_URL: url, HOWDAH_TEST_PG: choice } = process.env;
  if (url) return { url, kind: 'TEST_DATABASE_URL', stop: async () => undefined };
  if (choice && choice !== 'embedded') return startSystemServer(choice);
  return (choice ? undefined : await startContainer()) ?? startEmbeddedServer();
}

export async function startSystemServer(version?: string): Promise<TestServer> {
  const binDir = findSystemPostgres(version);
  if (!binDir) throw new Error(`PostgreSQL ${version ?? ''} is not installed on this machine`);
  const server = await startEmbeddedPostgres({ binDir });
  return { url: server.url, kind: binDir, stop: () => server.stop('immediate') };
}

async function startEmbeddedServer(): Promise<TestServer> {
  const server = await startEmbeddedPostgres();
  return { url: server.url, kind: 'embedded', stop: () => server.stop('immediate') };
}

async function startContainer(): Promise<TestServer | undefined> {
  // Loading the library takes longer than the answer that there is no Docker.
  if (!process.env.DOCKER_HOST && !existsSync('/var/run/docker.sock')) return undefined;
  try {
    const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
    const container = await new PostgreSqlContainer('postgres:18-alpine')
      .withCommand(['postgres', '-c', 'fsync=off', '-c', 'max_connections=200'])
      .start();
    const stop = async (): Promise<void> => {
      await container.stop();
    };
    return { url: container.getConnectionUri(), kind: 'testcontainers', stop };
  } catch (error) {
    console.log(`[tests] no container: ${(error as Error).message.slice(0, 80)}`);
    return undefined;
  }
}
