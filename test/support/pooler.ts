import { onTestFinished } from 'vitest';
import { PoolerProcess } from './pooler-process.js';

export { PGBOUNCER } from './pooler-process.js';

/** Starts PgBouncer in transaction mode with two server connections; returns a URL through it. */
export async function startPooler(target: string): Promise<string> {
  const pooler = await PoolerProcess.start(target, 2);
  onTestFinished(() => pooler.kill());
  return pooler.url;
}
