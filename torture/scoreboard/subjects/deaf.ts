import { waitFor } from '../../../test/support/wait-for.js';
import type { Lab } from '../lab.js';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

const AT_ONCE = 10;
const NOTICED_MS = 15_000;
const POLL_MS = 2_000;
/** A look takes time as well. */
const LOOK_MS = 250;
const JOBS = 3;

interface Deafness {
  readonly noticedMs: number;
  readonly latenciesMs: readonly number[];
}

export const deaf: Subject = {
  name: 'deaf',
  figures: [
    {
      id: 'S15',
      figure: 'LISTEN is lost silently, 100 times',
      target: 'noticed <= 15 s, latency <= poll meanwhile',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const all: Deafness[] = [];
    for (let left = lab.count(100, 2); left > 0; left -= AT_ONCE) {
      const size = Math.min(left, AT_ONCE);
      all.push(
        ...(await Promise.all(
          Array.from({ length: size }, (_, i) => deafen(lab, site, all.length + i)),
        )),
      );
      await site.dismiss();
    }
    const noticed = Math.max(...all.map(({ noticedMs }) => noticedMs));
    const latencies = all.flatMap(({ latenciesMs }) => latenciesMs);
    const latest = Math.max(...latencies);
    return [
      {
        measured: `noticed after at most ${Math.round(noticed)} ms; ${latencies.length} jobs meanwhile, begun after at most ${Math.round(latest)} ms with a poll of ${POLL_MS} ms`,
        faults: all.length,
        isMet: noticed <= NOTICED_MS && latest <= POLL_MS + LOOK_MS,
      },
    ];
  },
};

/** A worker sleeps, and from some moment on no notification reaches it. */
async function deafen(lab: Lab, site: Site, number: number): Promise<Deafness> {
  const queue = await site.queue(`deaf-${number}`);
  const proxy = await site.proxy();
  const hand = site.hand({ queue, url: proxy.url, poll: POLL_MS, maintain: false });
  await hand.heard('listener.hearing');
  const droppedAt = Date.now();
  proxy.dropNotifications();
  const latenciesMs: number[] = [];
  for (let job = 0; job < JOBS; job += 1) {
    const [id] = await site.enqueue(queue, [{ do: 'done' }]);
    await waitFor(async () => (await site.runs([id ?? ''])) > 0, { timeoutMs: 60_000 });
    latenciesMs.push(
      await site.value<number>(
        `select extract(epoch from r.at - j.enqueued_at)::float8 * 1000
        from runs r join howdah.jobs j on j.id = r.job_id where r.job_id = $1`,
        [id],
      ),
    );
  }
  const { at } = await hand.heard('listener.deaf');
  lab.say(`worker ${number}: noticed after ${at - droppedAt} ms`);
  return { noticedMs: at - droppedAt, latenciesMs };
}
