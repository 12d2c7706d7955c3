import { setTimeout as sleep } from 'node:timers/promises';
import { PGBOUNCER, PoolerProcess } from '../../test/support/pooler-process.js';
import { type Nemesis, proxiesOf } from './nemesis.js';

/** Enough for every transaction of the actors, which may be held open. */
const CONNECTIONS = 40;

/** Sessions change under everybody's feet, and no notification arrives. In the end the pooler is killed. */
export const pooler: Nemesis = {
  name: 'pooler',
  what: 'PgBouncer in transaction mode comes between, and is killed',
  unable: () => (PGBOUNCER ? undefined : 'PgBouncer is not installed'),
  async strike(field) {
    const { cluster, crowd, random } = field;
    const between = await PoolerProcess.start(cluster.url, CONNECTIONS);
    const before = crowd.acknowledged;
    try {
      for (const proxy of proxiesOf(field)) proxy.redirect(between.url);
      await sleep(random.int(3_000, 6_000));
    } finally {
      await between.kill();
    }
    const meanwhile = crowd.acknowledged - before;
    await sleep(random.int(0, 500));
    for (const proxy of proxiesOf(field)) proxy.redirect(cluster.url);
    return meanwhile > 0 ? `${meanwhile} calls of producers went through it` : undefined;
  },
};
