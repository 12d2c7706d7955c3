import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { waitFor } from '../../../test/support/wait-for.js';
import type { Lab } from '../lab.js';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

const CREW = 4;
const HELD = 50;
const PAUSE_LEASE_MS = 4_000;
const POOL_LEASE_MS = 3_000;
/** Runs until its worker is killed. */
const HOLD = { do: 'neverSettles' };
const LONG = { timeout_ms: 3_600_000 };

interface Held {
  readonly what: string;
  readonly jobs: number;
  /** Taken from workers that were alive. */
  readonly reaped: number;
}

export const liveHolders: Subject = {
  name: 'live-holders',
  figures: [
    {
      id: 'S4',
      figure:
        'jobs of living workers: paused for 0.9 lease, busy for 3 leases (30 s each), out of connections',
      target: '0 of 1,000 reaped',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const all = [await paused(lab, site), await busy(lab, site), await fullPool(site)];
    const jobs = all.reduce((sum, each) => sum + each.jobs, 0);
    const reaped = all.reduce((sum, each) => sum + each.reaped, 0);
    return [
      {
        measured: all
          .map((each) => `${each.what}: ${each.reaped} of ${each.jobs} reaped`)
          .join('; '),
        faults: jobs,
        isMet: reaped === 0 && all.every((each) => each.jobs > 0),
      },
    ];
  },
};

/** Jobs that have lost a lease since they were begun. */
function reapedOf(site: Site, ids: readonly string[]): Promise<number> {
  return site.value(
    `select count(*)::int from howdah.jobs
    where id = any ($1) and (attempt > 1 or errors @> '[{"name": "LeaseExpired"}]')`,
    [ids],
  );
}

async function killAll(site: Site): Promise<void> {
  await Promise.all(site.hands.map((hand) => (hand.isRunning ? hand.end('SIGKILL') : undefined)));
}

/** A bystander reaps all the time, as the elected worker would. */
async function reaping<T>(site: Site, during: () => Promise<T>): Promise<T> {
  let isOver = false;
  const reaper = (async () => {
    while (!isOver) {
      await site.pool.query('select * from howdah.reap(1000)');
      await sleep(50);
    }
  })();
  const result = await during();
  isOver = true;
  await reaper;
  return result;
}

/** SIGSTOP for 0.9 lease at any moment between two heartbeats, which come every 100 ms. */
async function paused(lab: Lab, site: Site): Promise<Held> {
  const queue = await site.queue('paused', LONG);
  const crew = await site.crew(CREW, {
    queue,
    lease: PAUSE_LEASE_MS,
    heartbeat: 100,
    maintain: false,
    binding: { concurrency: HELD },
  });
  const ids = await site.enqueue(
    queue,
    Array.from({ length: CREW * HELD }, () => HOLD),
  );
  await waitFor(async () => (await site.runs(ids)) === ids.length, { timeoutMs: 30_000 });
  const rounds = lab.count(5, 1);
  await reaping(site, async () => {
    for (let round = 0; round < rounds; round += 1) {
      await sleep(lab.random.int(1_000, 1_500));
      for (const hand of crew) hand.kill('SIGSTOP');
      await sleep(PAUSE_LEASE_MS * 0.9);
      for (const hand of crew) hand.kill('SIGCONT');
    }
    await sleep(1_000);
  });
  const reaped = await reapedOf(site, ids);
  await killAll(site);
  return { what: 'paused', jobs: ids.length * rounds, reaped };
}

/** Its event loop does not turn for three leases; what it holds besides stays its own as well. */
async function busy(lab: Lab, site: Site): Promise<Held> {
  const leaseMs = lab.count(30_000, 2_000);
  const queue = await site.queue('busy', LONG);
  const hand = site.hand({
    queue,
    lease: leaseMs,
    maintain: false,
    binding: { concurrency: HELD },
  });
  await hand.heard('worker.started');
  const ids = await site.enqueue(
    queue,
    Array.from({ length: HELD - 1 }, () => HOLD),
  );
  await waitFor(async () => (await site.runs(ids)) === ids.length);
  const blocked = await site.enqueue(queue, [{ do: 'block', ms: leaseMs * 3 }]);
  await hand.heard('blocking');
  await reaping(site, () => sleep(leaseMs * 3));
  const all = [...ids, ...blocked];
  const reaped = await reapedOf(site, all);
  await killAll(site);
  return { what: `busy for ${leaseMs * 3} ms`, jobs: all.length, reaped };
}

/** Nobody gets another connection, and the worker's pool is used up, for three leases. */
async function fullPool(site: Site): Promise<Held> {
  const queue = await site.queue('pool', LONG);
  const hand = site.hand({
    queue,
    lease: POOL_LEASE_MS,
    maintain: false,
    connectionsMax: 1,
    binding: { concurrency: HELD },
  });
  await hand.heard('worker.started');
  const ids = await site.enqueue(
    queue,
    Array.from({ length: HELD }, () => HOLD),
  );
  await waitFor(async () => (await site.runs(ids)) === ids.length);
  const taken: pg.Client[] = [];
  await reaping(site, async () => {
    for (let isFull = false; !isFull; ) {
      const client = new pg.Client({ connectionString: site.url, application_name: 'torture' });
      client.on('error', () => undefined);
      isFull = await client.connect().then(
        () => taken.push(client) > 1_000,
        () => true,
      );
    }
    await sleep(POOL_LEASE_MS * 3);
    await Promise.all(taken.map((client) => client.end()));
  });
  const reaped = await reapedOf(site, ids);
  await killAll(site);
  return { what: `no connection left (${taken.length} taken)`, jobs: ids.length, reaped };
}
