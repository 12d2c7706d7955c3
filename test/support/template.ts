import { migrate } from 'howdah';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import type { TestServer } from './test-server.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of a superuser in the server's own database. */
    adminUrl: string;
    /** Name of a migrated database that is cloned for each test file. */
    template: string;
    /** Tells databases of projects that share a server apart. */
    databasePrefix: string;
  }
}

/** Migrates a template database and tells the tests of it; returns the teardown. */
export async function provideTemplate(
  project: TestProject,
  server: TestServer,
): Promise<() => Promise<void>> {
  const prefix = `howdah_${process.pid}_${project.name.replaceAll('-', '_')}`;
  const template = `${prefix}_template`;
  await run(server.url, [`create database ${template}`]);
  await migrate({ url: withDatabase(server.url, template) });
  await run(server.url, [`alter database ${template} with is_template true`]);
  project.provide('adminUrl', server.url);
  project.provide('template', template);
  project.provide('databasePrefix', prefix);
  console.log(`[tests] project ${project.name}: PostgreSQL from ${server.kind}`);
  return async () => {
    await run(server.url, [
      `alter database ${template} with is_template false`,
      `drop database ${template} with (force)`,
    ]);
    await server.stop();
  };
}

/** The same server, another database. */
export function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
}

async function run(url: string, statements: string[]): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    for (const text of statements) await client.query(text);
  } finally {
    await client.end();
  }
}
