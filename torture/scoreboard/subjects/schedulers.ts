import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../../test/support/wait-for.js';
import type { Hand } from '../hand.js';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

const EVERY_MS = 2_000;
const KILL_EVERY_MS = 10_000;
const ZONES = [
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'Africa/Casablanca',
  'America/Santiago',
];
const DAYS = 366;

export const schedulers: Subject = {
  name: 'schedulers',
  figures: [
    {
      id: 'S20',
      figure:
        'three schedulers, the leader killed every 10 s (100 times); daylight saving of 5 zones',
      target: 'exactly one job a nominal time',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const client = site.client();
    const queue = await site.queue('cron');
    const hire = (): Hand => site.hand({ queue, lease: 2_000 });
    let crew = [hire(), hire(), hire()];
    await Promise.all(crew.map((hand) => hand.heard('worker.started')));
    await client.schedules.put({ name: 'often', cron: '*/2 * * * * *', queue });
    await waitFor(async () => (await nominal(site, queue)).length > 0, { timeoutMs: 30_000 });
    let kills = 0;
    for (let n = lab.count(100, 1); n > 0; n -= 1) {
      await sleep(KILL_EVERY_MS);
      const leader = await leaderOf(site, crew);
      await leader.end('SIGKILL');
      kills += 1;
      crew = [...crew.filter((hand) => hand !== leader), hire()];
    }
    const before = (await nominal(site, queue)).length;
    await waitFor(async () => (await nominal(site, queue)).length > before, { timeoutMs: 60_000 });
    await client.schedules.delete('often');
    const times = await nominal(site, queue);
    await site.dismiss();
    const span = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / EVERY_MS + 1;
    const distinct = new Set(times).size;
    const { days, wrong } = await dailyDates(client);
    return [
      {
        measured: `${span - distinct} missed, ${times.length - distinct} double of ${span} nominal times with ${kills} leaders killed; a daily 02:30 in ${ZONES.length} zones: ${wrong} wrong of ${days} local dates`,
        faults: kills,
        isMet: span === distinct && times.length === distinct && wrong === 0 && kills > 0,
      },
    ];
  },
};

async function nominal(site: Site, queue: string): Promise<number[]> {
  const { rows } = await site.pool.query(
    `select headers -> 'howdah-schedule' ->> 'at' as at from howdah.jobs where queue = $1`,
    [queue],
  );
  return rows.map(({ at }) => Date.parse(at)).sort((a, b) => a - b);
}

function leaderOf(site: Site, crew: readonly Hand[]): Promise<Hand> {
  return waitFor(
    async () => {
      const pid = await site.value<string>("select info ->> 'pid' from howdah.workers where leads");
      return crew.find((hand) => hand.isRunning && hand.pid === Number(pid));
    },
    { timeoutMs: 60_000, what: 'a leader' },
  );
}

/** Every local date of more than a year once, whatever the clocks of the zone do. */
async function dailyDates(
  client: ReturnType<Site['client']>,
): Promise<{ days: number; wrong: number }> {
  let [days, wrong] = [0, 0];
  for (const zone of ZONES) {
    const runs = await client.schedules.preview({ cron: '30 2 * * *', zone }, { count: DAYS });
    const local = new Intl.DateTimeFormat('en-CA', { timeZone: zone });
    const dates = runs.map(({ at }) => local.format(at));
    const first = Date.parse(dates[0] ?? '');
    days += dates.length;
    wrong += dates.filter((date, n) => Date.parse(date) !== first + n * 86_400_000).length;
  }
  return { days, wrong };
}
