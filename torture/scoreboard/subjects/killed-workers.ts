import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../../test/support/wait-for.js';
import type { Hand, HandEvent } from '../hand.js';
import type { Lab } from '../lab.js';
import { peakRate, SHARE_OF_PEAK } from '../peak.js';
import type { Site } from '../site.js';
import { percentile, Stream } from '../stream.js';
import type { Subject } from '../subject.js';

const LEASE_MS = 2_000;
const CREW = 4;
const EVERY_MS = 1_000;
const EFFECT = { do: 'effect', again: 'effect', ms: 20, isQuiet: true };

interface Kill {
  readonly at: number;
  readonly held: readonly string[];
}

export const killedWorkers: Subject = {
  name: 'killed-workers',
  figures: [
    {
      id: 'S1',
      figure: 'kill -9 of a random worker every second, 1,200 kills',
      target: '0 lost, 0 double effects, rate >= 95 %',
    },
    { id: 'S2', figure: 'from the kill to the next claim', target: 'p99 <= lease + 2 s' },
  ],
  async measure(lab) {
    // handlers have connections of their own; with fewer they starve, and that is another figure
    const site = await lab.site({ max_connections: 500 });
    const queue = await site.queue('killed');
    const hire = (): Hand => site.hand({ queue, lease: LEASE_MS, binding: { concurrency: 5 } });
    const crew = Array.from({ length: CREW }, hire);
    await Promise.all(crew.map((hand) => hand.heard('worker.started')));
    const peak = await orderlyPeak(site, queue, { lab, crew, hire });
    const rate = Math.round(peak * SHARE_OF_PEAK);
    lab.say(`${Math.round(peak)} jobs a second at most, ${rate} are offered`);
    const stream = Stream.of(site.client(), queue, rate, EFFECT);
    await sleep(3_000);

    const kills: Kill[] = [];
    const begun = performance.now();
    const before = await completed(site, queue);
    const offeredBefore = stream.acknowledged.size;
    for (let n = lab.count(1_200, 5); n > 0; n -= 1) {
      const started = await waitFor(() => startedOf(crew), { timeoutMs: 60_000 });
      const victim = lab.random.pick(started);
      kills.push(await kill(site, victim));
      crew[crew.indexOf(victim)] = hire();
      await sleep(Math.max(0, EVERY_MS * kills.length - (performance.now() - begun)));
    }
    const seconds = (performance.now() - begun) / 1_000;
    const done = (await completed(site, queue)) - before;
    const offered = stream.acknowledged.size - offeredBefore;
    const ids = await stream.stop();
    const left = await site.settled();
    const { lost, doubled, missing } = await site.tally(ids);
    await site.dismiss();
    const share = done / offered;
    const hits = kills.filter(({ held }) => held.length > 0);
    const waits = reclaims(site, kills);
    const p99 = percentile(waits, 0.99);
    return [
      {
        measured: `${lost + left} lost, ${doubled} double, ${missing} missing effects of ${ids.length} jobs; ${Math.round(done / seconds)}/s completed of ${Math.round(offered / seconds)}/s offered: ${(share * 100).toFixed(1)} %; ${Math.round(peak)}/s with as many orderly restarts`,
        faults: hits.length,
        isMet: lost + left + doubled + missing === 0 && share >= 0.95,
      },
      {
        measured: `p50 ${Math.round(percentile(waits, 0.5))} ms, p99 ${Math.round(p99)} ms, longest ${Math.round(percentile(waits, 1))} ms of ${waits.length} jobs that were held; lease ${LEASE_MS} ms`,
        faults: hits.length,
        isMet: waits.length > 0 && p99 <= LEASE_MS + 2_000,
      },
    ];
  },
};

interface Crew {
  readonly lab: Lab;
  readonly crew: Hand[];
  readonly hire: () => Hand;
}

/**
 * What the crew completes while one of it is restarted in order as often as one will be killed: what starting
 * a process costs is left out of what a kill costs.
 */
async function orderlyPeak(site: Site, queue: string, { lab, crew, hire }: Crew): Promise<number> {
  let isOver = false;
  const restart = async (): Promise<void> => {
    while (!isOver) {
      const victim = lab.random.pick(await waitFor(() => startedOf(crew), { timeoutMs: 60_000 }));
      const ended = victim.end('SIGTERM');
      crew[crew.indexOf(victim)] = hire();
      await Promise.all([ended, sleep(EVERY_MS)]);
    }
  };
  const restarting = restart();
  const peak = await peakRate(site, queue, EFFECT);
  isOver = true;
  await restarting;
  return peak;
}

/** Those that can be killed at work; undefined where all are only starting. */
function startedOf(crew: readonly Hand[]): Hand[] | undefined {
  const started = crew.filter((hand) => hand.hasStarted);
  return started.length > 0 ? started : undefined;
}

function completed(site: Site, queue: string): Promise<number> {
  return site.value('select completed::int from howdah.queue_stats where queue = $1', [queue]);
}

async function kill(site: Site, hand: Hand): Promise<Kill> {
  const at = Date.now();
  await hand.end('SIGKILL');
  return { at, held: await site.heldBy(hand) };
}

/**
 * Milliseconds from each kill to the claim that came after it, of each job that was held. A worker that is killed
 * before it could say what it claimed has claimed it at its death at the latest: the database knows that it held it.
 */
function reclaims(site: Site, kills: readonly Kill[]): number[] {
  const claims = new Map<string, number[]>();
  const note = (job: string, at: number) => claims.set(job, [...(claims.get(job) ?? []), at]);
  for (const { job, at } of site.hands.flatMap((hand) => claimsOf(hand))) note(job, at);
  for (const { at, held } of kills) for (const id of held) note(id, at);
  return kills.flatMap(({ at, held }) =>
    held.flatMap((id) => {
      const next = (claims.get(id) ?? []).filter((claim) => claim > at);
      return next.length > 0 ? [Math.min(...next) - at] : [];
    }),
  );
}

function claimsOf(hand: Hand): { job: string; at: number }[] {
  return hand.of('job.claimed').map(({ job, at }: HandEvent) => ({ job: job?.id ?? '', at }));
}
