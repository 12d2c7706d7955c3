import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../lab.js';
import type { Site } from '../site.js';
import { Stream } from '../stream.js';
import type { Subject } from '../subject.js';

const RATE = 200;
/** Jobs that are settled together, so that who locks rows backwards meets a settle on its way. */
const BURST = Array.from({ length: 30 }, () => ({ do: 'done', isQuiet: true }));
const BURSTS_PER_SECOND = 5;
const CREW = 2;
const EFFECT = { do: 'effect', again: 'effect', ms: 2, isQuiet: true };
const SUCCESS = 0.999;

export const storm: Subject = {
  name: 'storm',
  figures: [
    {
      id: 'S22',
      figure: 'a storm of cancels, terminates, lock time-outs and deadlocks, 10 min',
      target: '0 lost, >= 99.9 % of calls succeed',
    },
  ],
  async measure(lab) {
    const site = await lab.site({ deadlock_timeout: '20ms' });
    const queue = await site.queue('storm');
    await site.crew(CREW, { queue, lease: 10_000, binding: { concurrency: 10 } });
    const client = site.client();
    const stream = Stream.of(client, queue, RATE, EFFECT);
    const plain: string[] = [];
    const bursts = new Stream(BURSTS_PER_SECOND, async () => {
      const { ids } = await client.enqueueMany(queue, BURST);
      plain.push(...ids.map(String));
      return { id: String(ids[0]) };
    });
    const seconds = lab.count(600, 10);
    let isOver = false;
    /** Strikes at random, every `everyMs` on average; returns how many were hit. */
    const strikes = async (everyMs: number, strike: () => Promise<number>) => {
      let hits = 0;
      while (!isOver) {
        hits += await strike().catch(() => 0);
        await sleep(lab.random.int(0, everyMs * 2));
      }
      return hits;
    };
    const storms = Promise.all([
      strikes(100, () => signal(site, 'pg_cancel_backend')),
      strikes(1_000, () => signal(site, 'pg_terminate_backend')),
      strikes(5_000, () => lockTimeout(site, lab)),
      strikes(500, () => lockBackwards(site)),
    ]);
    await sleep(seconds * 1_000);
    isOver = true;
    const [cancels, terminates, timeouts] = await storms;
    const [ids] = await Promise.all([stream.stop(), bursts.stop()]);
    const left = await site.settled();
    const { lost, doubled, missing } = await site.tally(ids);
    const { lost: plainLost } = await site.tally(plain, false);
    await site.dismiss();
    const hits = {
      cancels,
      terminates,
      'lock time-outs': timeouts,
      deadlocks: await deadlocks(site),
    };
    const struck = Object.entries(hits).map(([name, n]) => `${n} ${name}`);
    const all = await site.value<number>('select count(*)::int from howdah.jobs where queue = $1', [
      queue,
    ]);
    const jobs = ids.length + plain.length;
    const surplus = all - jobs;
    const unknown = unknownOf(stream) + unknownOf(bursts) * BURST.length;
    const codes = [...stream.codes, ...bursts.codes].map(([code, n]) => `, ${n} ${code}`).join('');
    const calls = stream.calls + bursts.calls;
    const share = 1 - (stream.failures + bursts.failures) / calls;
    const lostOrLeft = lost + plainLost + left;
    return [
      {
        measured: `${lostOrLeft} lost, ${doubled} double, ${missing} missing effects of ${jobs} jobs; ${(share * 100).toFixed(3)} % of ${calls} calls succeeded${codes}; ${surplus} jobs of calls that failed; ${struck.join(', ')}`,
        faults: Object.values(hits).reduce((sum, n) => sum + n, 0),
        // a call that was repeated although it had committed would leave a job that nobody knows of
        isMet: lostOrLeft + doubled + missing === 0 && surplus <= unknown && share >= SUCCESS,
      },
    ];
  },
};

function unknownOf({ codes }: Stream): number {
  return codes.get('HOWDAH_COMMIT_UNKNOWN') ?? 0;
}

/** One session that is doing something right now. */
function signal(site: Site, how: string): Promise<number> {
  return site.value(
    `select count(${how}(pid))::int from (select pid from pg_stat_activity
      where application_name like 'howdah%' and state = 'active' order by random() limit 1) s`,
  );
}

/** While somebody holds a table, statements of ours give up. */
async function lockTimeout(site: Site, { random }: Lab): Promise<number> {
  await site.pool.query("alter system set lock_timeout = '100ms'");
  await site.pool.query('select pg_reload_conf()');
  const client = await site.cluster.connect();
  try {
    await client.query('set lock_timeout = 0');
    await client.query('begin');
    await client.query(
      `lock table howdah.${random.pick(['_jobs', '_leases', '_history'])} in access exclusive mode`,
    );
    await sleep(50);
    const waiting = await site.value<number>(
      `select count(*)::int from pg_stat_activity
      where wait_event_type = 'Lock' and application_name like 'howdah%'`,
    );
    await sleep(100);
    return waiting;
  } finally {
    await client.end();
    await site.pool.query('alter system reset lock_timeout');
    await site.pool.query('select pg_reload_conf()');
  }
}

/** Locks rows in the wrong order: where a settle meets it, PostgreSQL ends either side. Whether it did: see deadlocks(). */
async function lockBackwards(site: Site): Promise<number> {
  await site.pool
    .query(
      `do $$ declare r record; begin
        for r in select id from howdah._jobs order by id desc limit 60 loop
          perform 1 from howdah._jobs where id = r.id for update; perform pg_sleep(0.002);
        end loop; end $$`,
    )
    .catch(() => undefined);
  return 0;
}

/** Sessions report theirs when they end, if not before. */
function deadlocks(site: Site): Promise<number> {
  return site.value(
    'select deadlocks::int from pg_stat_database where datname = current_database()',
  );
}
