import { failuresOf, type Nemesis, seen } from './nemesis.js';

/** Nothing can be written until somebody makes room; PostgreSQL may end over it. */
export const fullDisk: Nemesis = {
  name: 'full-disk',
  what: 'the disk is full, then room is made',
  unable: ({ disk }) => (disk ? undefined : 'only root can make a small disk'),
  async strike(field) {
    const { cluster, disk, random } = field;
    if (!disk) return undefined;
    let hasEnded = false;
    const failures = await failuresOf(field, async () => {
      disk.fill(random.int(0, 64) * 1_024);
      // what fits into files that are there already goes on: a new log file does not
      await cluster.pool.query('select pg_switch_wal()').catch(() => undefined);
      hasEnded = await cluster.hasEnded(random.int(1_500, 3_000));
      disk.free();
      // its recovery may end over it too, also when there is room again
      const isUp = await seen(async () => {
        hasEnded ||= await cluster.hasEnded(100);
        return hasEnded || (await cluster.isRunning) || undefined;
      }, 30_000);
      if (hasEnded) await cluster.restart();
      else if (!isUp) throw new Error('the server neither answers nor ends');
      await cluster.ready();
    });
    if (failures === 0) return undefined;
    return `${failures} calls of producers failed${hasEnded ? ', the server ended' : ''}`;
  },
};
