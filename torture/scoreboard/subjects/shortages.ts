import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Disk } from '../../disk.js';
import type { Lab } from '../lab.js';
import type { Site } from '../site.js';
import { Stream } from '../stream.js';
import type { Subject } from '../subject.js';

const DISK_MB = 640;
const RATE = 100;
const CREW = 2;
const IDLE = 300;
const RETRIES_MAX = 1;
/** It stays full for so long: pauses between retries grow. */
const FULL_MS = 20_000;
const EFFECT = { do: 'effect', again: 'effect', ms: 2, isQuiet: true };

export const shortages: Subject = {
  name: 'shortages',
  figures: [
    {
      id: 'S28',
      figure: 'a full disk (20 times), and 300 idle connections',
      target: '0 lost, <= 1 retry a second and worker',
    },
  ],
  async measure(lab) {
    const disk = Disk.make(DISK_MB);
    if (!disk) throw new Error('only root can make a small disk');
    lab.defer(() => disk.remove());
    const site = await lab.site({ max_connections: IDLE + 100, max_wal_size: '64MB' }, disk);
    const queue = await site.queue('shortages');
    const proxy = await site.proxy();
    const options = { queue, url: proxy.url, lease: 10_000, binding: { concurrency: 10 } };
    await site.crew(CREW, options);
    const retries = (): number => proxy.errors + proxy.attempts;
    const idle = await idleConnections(lab, site);
    const stream = Stream.of(site.client(), queue, RATE, EFFECT);
    await sleep(1_000);
    const full = { hits: 0, seconds: 0, retries: 0, ended: 0 };
    for (let n = lab.count(20, 1); n > 0; n -= 1)
      await fill(site, disk, { lab, stream, retries, full });
    const ids = await stream.stop();
    const left = await site.settled();
    const { lost, doubled, missing } = await site.tally(ids);
    await site.dismiss();
    const rate = full.retries / full.seconds / CREW;
    return [
      {
        measured: `${lost + left} lost, ${doubled} double, ${missing} missing effects of ${ids.length} jobs; ${full.hits} full disks (the server ended in ${full.ended}) with ${stream.failures} failed calls; ${rate.toFixed(2)} retries a second and worker, of all its connections and statements; ${idle} idle connections throughout`,
        faults: full.hits,
        isMet: lost + left + doubled + missing === 0 && rate <= RETRIES_MAX && full.hits > 0,
      },
    ];
  },
};

async function idleConnections(lab: Lab, site: Site): Promise<number> {
  const clients = Array.from(
    { length: IDLE },
    () => new pg.Client({ connectionString: site.url, application_name: 'torture idle' }),
  );
  for (const client of clients) {
    client.on('error', () => undefined);
    await client.connect();
  }
  lab.defer(() => Promise.all(clients.map((client) => client.end().catch(() => undefined))));
  return clients.length;
}

interface Full {
  readonly lab: Lab;
  readonly stream: Stream;
  readonly retries: () => number;
  readonly full: { hits: number; seconds: number; retries: number; ended: number };
}

async function fill(site: Site, disk: Disk, { lab, stream, retries, full }: Full): Promise<void> {
  const { failures } = stream;
  disk.fill(lab.random.int(0, 64) * 1_024);
  await site.pool.query('select pg_switch_wal()').catch(() => undefined);
  const hasEnded = await site.cluster.hasEnded(2_000);
  // what was under way has failed by now; what comes is tried again
  const [before, begun] = [retries(), performance.now()];
  await sleep(FULL_MS);
  full.seconds += (performance.now() - begun) / 1_000;
  full.retries += retries() - before;
  disk.free();
  if (hasEnded) await site.cluster.restart();
  await site.cluster.ready();
  if (stream.failures > failures) full.hits += 1;
  if (hasEnded) full.ended += 1;
  const acknowledged = stream.acknowledged.size;
  for (let tries = 0; tries < 200 && stream.acknowledged.size === acknowledged; tries += 1)
    await sleep(50);
}
