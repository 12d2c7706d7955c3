import { setTimeout as sleep } from 'node:timers/promises';
import type { Hand } from '../hand.js';
import type { Site } from '../site.js';
import { percentile, Stream } from '../stream.js';
import type { Subject } from '../subject.js';

const CREW = 4;
const RATE = 40;
const SLOW_RATE = 4;
const LATEST_MS = 1_000;
const QUICK = { do: 'effect', again: 'effect', ms: 20, isQuiet: true };
/** Longer than the grace and the second that an aborted handler gets: these are given back. */
const SLOW = { ...QUICK, ms: 3_000 };

export const restarts: Subject = {
  name: 'restarts',
  figures: [
    {
      id: 'S12',
      figure: 'SIGTERM and rolling restarts, 200 of them',
      target: '0 attempts burnt, next claim <= 1 s',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const queue = await site.queue('restarts');
    const hire = (): Hand => site.hand({ queue, grace: 20, binding: { concurrency: 8 } });
    const crew = Array.from({ length: CREW }, hire);
    await Promise.all(crew.map((hand) => hand.heard('worker.started')));
    const client = site.client();
    const streams = [
      Stream.of(client, queue, RATE, QUICK),
      Stream.of(client, queue, SLOW_RATE, SLOW),
    ];
    await sleep(1_000);
    let unclean = 0;
    for (let n = 0, total = lab.count(200, 4); n < total; n += 1) {
      const old = crew[n % CREW] as Hand;
      crew[n % CREW] = hire();
      await (crew[n % CREW] as Hand).heard('worker.started');
      await old.end('SIGTERM');
      if (old.exitCode !== 0) unclean += 1;
    }
    const ids = (await Promise.all(streams.map((each) => each.stop()))).flat();
    const left = await site.settled();
    await site.dismiss();
    const burnt = await site.value<number>(
      'select count(*)::int from howdah.jobs where id = any ($1) and attempt > 1',
      [ids],
    );
    for (const why of await reasons(site, ids)) lab.say(why);
    const { lost, doubled, missing } = await site.tally(ids);
    const waits = reclaims(site);
    const p99 = percentile(waits, 0.99);
    return [
      {
        measured: `${burnt} attempts burnt, ${lost + left} lost, ${doubled + missing} wrong effects of ${ids.length} jobs; ${waits.length} given back, claimed again after p50 ${Math.round(percentile(waits, 0.5))} ms, p99 ${Math.round(p99)} ms, at most ${Math.round(percentile(waits, 1))} ms; ${unclean} unclean exits`,
        faults: site.hands.filter((hand) => hand.of('job.released').length > 0).length,
        isMet:
          burnt + lost + left + doubled + missing + unclean === 0 &&
          waits.length > 0 &&
          p99 <= LATEST_MS,
      },
    ];
  },
};

/** What those say that were tried more than once. */
async function reasons(site: Site, ids: readonly string[]): Promise<string[]> {
  const { rows } = await site.pool.query<{ why: string }>(
    `select count(*) || ' burnt: ' || coalesce(errors -> 0 ->> 'message', 'no error') as why
    from howdah.jobs where id = any ($1) and attempt > 1
    group by coalesce(errors -> 0 ->> 'message', 'no error')`,
    [ids],
  );
  return rows.map(({ why }) => why);
}

/** Milliseconds from each release to the next claim of the job. */
function reclaims(site: Site): number[] {
  const released = new Map<string, number>();
  const waits: number[] = [];
  for (const { type, at, job } of site.events) {
    if (!job) continue;
    if (type === 'job.released') released.set(job.id, at);
    const since = released.get(job.id);
    if (type !== 'job.claimed' || since === undefined) continue;
    waits.push(at - since);
    released.delete(job.id);
  }
  return waits;
}
