import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultProxy } from '../../../test/support/fault-proxy.js';
import { waitFor } from '../../../test/support/wait-for.js';
import type { Lab } from '../lab.js';
import type { Site } from '../site.js';
import { Stream } from '../stream.js';
import type { Subject } from '../subject.js';

const LANES = 4;
const RATE = 40;
/** A job of which nothing is heard for so long, several leases, is stuck. */
const STUCK_MS = 20_000;
const EFFECT = { do: 'effect', again: 'effect', isQuiet: true };

export const lostReplies: Subject = {
  name: 'lost-replies',
  figures: [
    {
      id: 'S11',
      figure: 'cut between COMMIT and its reply: 1,000 enqueues with a key, 1,000 completions',
      target: '0 lost, 0 twice',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const enqueues = await loseEnqueues(lab, site);
    const completions = await loseCompletions(lab, site);
    const claims = await loseClaims(lab, site);
    return [
      {
        measured: `enqueues: ${enqueues.lost} lost, ${enqueues.twice} twice of ${enqueues.cuts} cut; completions: ${completions.lost} lost, ${completions.twice} twice of ${completions.jobs} jobs, ${completions.cuts} replies cut; claims: ${claims.lost} jobs stuck, ${claims.twice} twice, ${claims.cuts} replies cut`,
        faults: enqueues.cuts + completions.cuts + claims.cuts,
        isMet: [enqueues, completions, claims].every(
          ({ cuts, lost, twice }) => cuts > 0 && lost + twice === 0,
        ),
      },
    ];
  },
};

interface Losses {
  readonly cuts: number;
  readonly lost: number;
  readonly twice: number;
}

/** Every call is done, and its reply is lost; the caller asks again with the same key. */
async function loseEnqueues(lab: Lab, site: Site): Promise<Losses> {
  const queue = await site.queue('keys');
  const total = lab.count(1_000, 20);
  let [next, cuts, lost] = [0, 0, 0];
  const lane = async (): Promise<void> => {
    const proxy = await site.proxy();
    const client = site.client(proxy.url);
    while (next < total) {
      next += 1;
      const key = `key-${next}`;
      const before = proxy.repliesLost;
      proxy.loseReplyTo(key);
      const id = await insist(() => client.enqueue(queue, null, { dedupe: { key, window: '1h' } }));
      cuts += proxy.repliesLost - before;
      const there = await site.value('select count(*)::int from howdah._jobs where id = $1', [id]);
      if (there !== 1) lost += 1;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const jobs = await site.value<number>(
    'select count(*)::int from howdah.job_states where queue = $1',
    [queue],
  );
  await site.pool.query('select howdah.delete_queue($1, true)', [queue]);
  return { cuts, lost, twice: Math.max(0, jobs - total) };
}

/** Until it is told the id: what a caller has to do who does not know. */
async function insist(call: () => Promise<{ readonly id: string }>): Promise<string> {
  for (let tries = 0; ; tries += 1) {
    try {
      return (await call()).id;
    } catch (error) {
      if (tries > 200) throw error;
      await sleep(20);
    }
  }
}

/** Replies to settles and to commits of completeIn(), one after another, until there were enough. */
async function loseCompletions(lab: Lab, site: Site): Promise<Losses & { jobs: number }> {
  const queue = await site.queue('completions');
  const noted = await site.queue('noted');
  const total = lab.count(1_000, 20);
  const proxies = await Promise.all(Array.from({ length: LANES }, () => site.proxy()));
  for (const proxy of proxies)
    site.hand({
      queue,
      url: proxy.url,
      effectsUrl: proxy.url,
      lease: 10_000,
      binding: { concurrency: 4 },
      extraQueues: [noted],
    });
  await Promise.all(site.hands.map((hand) => hand.heard('worker.started')));
  const client = site.client();
  const effects = Stream.of(client, queue, RATE, EFFECT);
  const notes = Stream.of(client, noted, RATE, { do: 'done', isQuiet: true });
  const cuts = (): number => proxies.reduce((sum, { repliesLost }) => sum + repliesLost, 0);
  while (cuts() < total) {
    for (const proxy of proxies) arm(proxy, lab);
    await sleep(100);
  }
  for (const proxy of proxies) proxy.loseReplyTo('never sent');
  const [ids, others] = [await effects.stop(), await notes.stop()];
  const left = await site.settled();
  const all = await site.tally(ids);
  const rest = await site.tally(others, false);
  const twice = completedTwice(site);
  await site.dismiss();
  return {
    cuts: cuts(),
    lost: all.lost + all.missing + rest.lost + left,
    twice: all.doubled + twice,
    jobs: ids.length + others.length,
  };
}

/** Replies to claims: the job is this worker's, which does not know. */
async function loseClaims(lab: Lab, site: Site): Promise<Losses> {
  const queue = await site.queue('claims');
  const proxy = await site.proxy();
  const hand = site.hand({ queue, url: proxy.url, lease: 5_000, binding: { concurrency: 4 } });
  await hand.heard('worker.started');
  const ids: string[] = [];
  const before = proxy.repliesLost;
  for (let n = lab.count(100, 3); n > 0; n -= 1) {
    const seen = proxy.repliesLost;
    proxy.loseReplyTo('claim');
    ids.push(...(await site.enqueue(queue, [EFFECT])));
    await waitFor(() => proxy.repliesLost > seen, { timeoutMs: 30_000 });
  }
  await site.settled(STUCK_MS);
  const { lost, doubled, missing } = await site.tally(ids);
  await site.dismiss();
  return { cuts: proxy.repliesLost - before, lost: lost + missing, twice: doubled };
}

function arm(proxy: FaultProxy, { random }: Lab): void {
  proxy.loseReplyTo(random.pick(['commit', 'complete', 'complete_many']));
}

/** Jobs of which more than one attempt was told that it completed them. */
function completedTwice(site: Site): number {
  const seen = new Set<string | undefined>();
  let twice = 0;
  for (const { job } of site.events.filter(({ type }) => type === 'job.completed')) {
    if (seen.has(job?.id)) twice += 1;
    seen.add(job?.id);
  }
  return twice;
}
