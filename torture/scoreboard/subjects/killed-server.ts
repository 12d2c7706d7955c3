import { setTimeout as sleep } from 'node:timers/promises';
import type { Site } from '../site.js';
import { Stream } from '../stream.js';
import type { Subject } from '../subject.js';

const RATE = 200;
const CREW = 2;
const EFFECT = { do: 'effect', again: 'effect', ms: 2, isQuiet: true };
const HOW = ['backend', 'postmaster', 'immediate stop'] as const;

export const killedServer: Subject = {
  name: 'killed-server',
  figures: [
    {
      id: 'S9',
      figure: 'kill -9 of a backend or the postmaster, or an immediate stop, 200 times',
      target: '0 acknowledged lost',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const queue = await site.queue('server');
    const crew = await site.crew(CREW, { queue, lease: 10_000, binding: { concurrency: 10 } });
    const stream = Stream.of(site.client(), queue, RATE, EFFECT);
    const hits: Record<string, number> = {};
    const strikes = lab.count(200, 3);
    for (let n = 0; n < strikes; n += 1) {
      const how = HOW[n % HOW.length] as (typeof HOW)[number];
      await sleep(lab.random.int(300, 1_000));
      const failures = stream.failures;
      await strike(site, how);
      await site.cluster.ready();
      const acknowledged = stream.acknowledged.size;
      for (let tries = 0; tries < 200 && stream.acknowledged.size === acknowledged; tries += 1)
        await sleep(50);
      if (stream.failures > failures) hits[how] = (hits[how] ?? 0) + 1;
    }
    const ids = await stream.stop();
    const left = await site.settled();
    const { lost, doubled, missing } = await site.tally(ids);
    const alive = crew.filter((hand) => hand.isRunning).length;
    await site.dismiss();
    const faults = Object.values(hits).reduce((sum, n) => sum + n, 0);
    const kinds = Object.entries(hits).map(([how, n]) => `${n} ${how}`);
    return [
      {
        measured: `${lost + left} lost, ${doubled} double, ${missing} missing effects of ${ids.length} acknowledged jobs; ${stream.failures} calls failed; hits: ${kinds.join(', ')}; ${alive} of ${CREW} workers alive`,
        faults,
        isMet: lost + left + doubled + missing === 0 && alive === CREW && faults > 0,
      },
    ];
  },
};

async function strike(site: Site, how: (typeof HOW)[number]): Promise<void> {
  const { cluster } = site;
  if (how !== 'backend') {
    await cluster.crash(how === 'postmaster' ? 'kill -9' : 'immediate');
    return cluster.restart();
  }
  const pid = await cluster.value<number | undefined>(
    "select pid from pg_stat_activity where application_name like 'howdah%' order by random() limit 1",
  );
  if (pid !== undefined) process.kill(pid, 'SIGKILL');
  await sleep(100);
}
