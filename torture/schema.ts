import { entryOf } from './child.js';
import type { Cluster } from './cluster.js';

type Package = typeof import('howdah');

const QUEUES = {
  effects: {},
  notes: {},
  groups: {},
  poison: { max_attempts: 3 },
};

/** Tables of the application without any constraint that would hide a fault, and the queues. */
export async function prepare(cluster: Cluster, packageDir: string): Promise<void> {
  const { migrate } = (await import(entryOf(packageDir))) as Package;
  await migrate({ url: cluster.url });
  await cluster.pool.query('create table orders (n bigint)');
  await cluster.pool.query(
    `create table effects (n bigint, job_id bigint, attempt integer, worker text,
      at timestamptz default clock_timestamp(), seq bigserial)`,
  );
  for (const [name, policy] of Object.entries(QUEUES)) {
    await cluster.pool.query('select howdah.create_queue($1, $2)', [
      name,
      {
        backoff: 'fixed',
        backoff_ms: 100,
        max_attempts: 1_000,
        max_crashes: 1_000,
        retention_ms: 7 * 86_400_000,
        ...policy,
      },
    ]);
  }
}
