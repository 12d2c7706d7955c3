import { type Client, createClient, HowdahError } from 'howdah';
import type pg from 'pg';
import { test as base } from './database.js';
import { FaultProxy } from './fault-proxy.js';

/** What the database has of a job. */
export interface StoredJob {
  readonly id: string;
  readonly queue: string;
  readonly payload: unknown;
  readonly state: string;
}

export interface ClientFixtures {
  /** Client of this test on the database of its file. */
  client: Client;
  /** Another client, through a proxy that can make the network fail. */
  faulty: { readonly client: Client; readonly proxy: FaultProxy };
  /** The jobs that are there, oldest first. */
  storedJobs: (queue?: string) => Promise<StoredJob[]>;
}

/** `test` with a client. */
export const test = base.extend<ClientFixtures>({
  client: async ({ url }, use) => {
    const client = createClient({ url });
    await use(client);
    await client.close();
  },
  faulty: async ({ url }, use) => {
    const proxy = await FaultProxy.start(url);
    const client = createClient({ url: proxy.url });
    await use({ client, proxy });
    await client.close();
    await proxy.stop();
  },
  storedJobs: async ({ pool }, use) => {
    await use((queue) => readJobs(pool, queue));
  },
});

async function readJobs(pool: pg.Pool, queue?: string): Promise<StoredJob[]> {
  const { rows } = await pool.query(
    `select id, queue, payload, state from howdah.jobs
    where $1::text is null or queue = $1 order by id`,
    [queue ?? null],
  );
  return rows;
}

/** The error of a call that must fail. */
export async function errorOf(call: Promise<unknown>): Promise<HowdahError> {
  const error = await call.then(
    (value) => new Error(`was not refused: ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  );
  if (error instanceof HowdahError) return error;
  throw error;
}

/** Just the code of it. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  return (await errorOf(call)).code;
}
