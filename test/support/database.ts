import pg from 'pg';
import { test as base, inject } from 'vitest';
import { withDatabase } from './template.js';

export interface DatabaseFixtures {
  /** URL of a migrated database of this test file. */
  url: string;
  /** Pool on it. */
  pool: pg.Pool;
  /** The schema that was migrated. */
  schema: string;
  /** Makes another database of this file: empty, or a clone of the migrated one. Returns its URL. */
  createDatabase: (kind: 'empty' | 'migrated') => Promise<string>;
}

/** `test` with a database: cloned for each file, so files never meet. */
export const test = base.extend<DatabaseFixtures>({
  createDatabase: [
    // biome-ignore lint/correctness/noEmptyPattern: vitest reads the fixtures' names from it
    async ({}, use) => {
      const made = new DatabaseMaker();
      await use((kind) => made.create(kind));
      await made.dropAll();
    },
    { scope: 'file' },
  ],
  url: [
    async ({ createDatabase }, use) => {
      await use(await createDatabase('migrated'));
    },
    { scope: 'file' },
  ],
  pool: [
    async ({ url }, use) => {
      const pool = new pg.Pool({ connectionString: url });
      pool.on('error', () => undefined);
      await use(pool);
      // a client that a failed test has kept would hold up the whole run
      await Promise.race([pool.end(), new Promise((resolve) => setTimeout(resolve, POOL_END_MS))]);
    },
    { scope: 'file' },
  ],
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads the fixtures' names from it
  schema: async ({}, use) => {
    await use('howdah');
  },
});

const POOL_END_MS = 5_000;

let databasesMade = 0;

class DatabaseMaker {
  readonly #names: string[] = [];

  async create(kind: 'empty' | 'migrated'): Promise<string> {
    databasesMade += 1;
    const name = `${inject('databasePrefix')}_${process.pid}_${databasesMade}`;
    const source = kind === 'migrated' ? await cloneOfTemplate() : 'template template0';
    await asAdmin((client) =>
      retryWhileBusy(() => client.query(`create database ${name} ${source}`)),
    );
    this.#names.push(name);
    return withDatabase(inject('adminUrl'), name);
  }

  async dropAll(): Promise<void> {
    await asAdmin(async (client) => {
      for (const name of this.#names) {
        await client.query(`drop database if exists ${name} with (force)`);
      }
    });
  }
}

/** PostgreSQL 14 knows one way to copy only. */
async function cloneOfTemplate(): Promise<string> {
  const version = await asAdmin(async (client) => {
    const { rows } = await client.query('show server_version_num');
    return Number(rows[0].server_version_num);
  });
  return `template ${inject('template')}${version >= 150_000 ? ' strategy file_copy' : ''}`;
}

async function asAdmin<T>(run: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(inject('adminUrl'));
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
}

/** Two files that clone the template at once get in each other's way. */
async function retryWhileBusy<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await run();
    } catch (error) {
      if ((error as { code?: string }).code !== '55006' || tries > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
