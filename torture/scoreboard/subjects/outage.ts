import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../../test/support/wait-for.js';
import type { Lab } from '../lab.js';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

const CREW = 4;
const LATEST_MS = 5_000;

interface Outage {
  readonly seconds: number;
  /** Of each worker: from the return to its first job. */
  readonly firstMs: readonly number[];
  readonly alive: number;
}

export const outage: Subject = {
  name: 'outage',
  figures: [
    {
      id: 'S10',
      figure: 'the database is out of reach for 5 s, 30 s, 15 min',
      target: 'the process stays, its first job <= 5 s after the return',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const lengths = lab.scale >= 1 ? [5, 30, 900] : lab.scale >= 0.02 ? [5, 30] : [2];
    const outages: Outage[] = [];
    for (const seconds of lengths) outages.push(await suffer(lab, site, seconds));
    const longest = Math.max(...outages.flatMap(({ firstMs }) => firstMs));
    const isAlive = outages.every(({ alive }) => alive === CREW);
    const told = outages.map(
      ({ seconds, firstMs }) => `${seconds} s: ${Math.round(Math.max(...firstMs))} ms`,
    );
    return [
      {
        measured: `latest first job after an outage of ${told.join(', ')}; ${isAlive ? 'all' : 'not all'} of ${CREW} workers stayed`,
        faults: outages.length * CREW,
        isMet: isAlive && longest <= LATEST_MS,
      },
    ];
  },
};

/** Each worker has a queue of its own, so that each has to come back by itself. */
async function suffer(lab: Lab, site: Site, seconds: number): Promise<Outage> {
  const proxy = await site.proxy();
  const queues = await Promise.all(
    Array.from({ length: CREW }, (_, i) => site.queue(`outage-${seconds}-${i}`)),
  );
  const crew = queues.map((queue) => site.hand({ queue, url: proxy.url, maintain: false }));
  await Promise.all(crew.map((hand) => hand.heard('worker.started')));
  proxy.refuse();
  proxy.cut();
  await Promise.all(crew.map((hand) => hand.heard('connection.lost')));
  await sleep(seconds * 1_000);
  const jobs = await Promise.all(queues.map((queue) => site.enqueue(queue, [{ do: 'done' }])));
  const returned = performance.now();
  proxy.refuse(false);
  const firstMs = await Promise.all(
    jobs.map(async (ids) => {
      await waitFor(async () => (await site.runs(ids)) > 0, { timeoutMs: 60_000 }).catch(
        () => undefined,
      );
      return performance.now() - returned;
    }),
  );
  const alive = crew.filter((hand) => hand.isRunning).length;
  lab.say(`${seconds} s: ${firstMs.map(Math.round).join(', ')} ms`);
  await site.dismiss();
  return { seconds, firstMs, alive };
}
