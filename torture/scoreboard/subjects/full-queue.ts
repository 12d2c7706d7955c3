import { setTimeout as sleep } from 'node:timers/promises';
import { HowdahError } from 'howdah';
import type { Subject } from '../subject.js';

const PRODUCERS = 64;
const BOUND = 1_000;
/** Each is a client of its own, and has one statement of one job in flight. */
const OVERSHOOT_MAX = PRODUCERS - 1;

export const fullQueue: Subject = {
  name: 'full-queue',
  figures: [
    {
      id: 'S24',
      figure: 'a bounded queue, 64 producers unthrottled, for 60 s',
      target: 'overshoot as stated (N - 1 statements), 0 silent drops',
    },
  ],
  async measure(lab) {
    const site = await lab.site({ max_connections: 200 });
    const queue = await site.queue('bounded', { max_depth: BOUND });
    const filling = Array.from({ length: BOUND - PRODUCERS }, () => ({
      do: 'done',
      isQuiet: true,
    }));
    const accepted = await site.enqueue(queue, filling);
    const counts = { full: 0, others: 0, deepest: 0 };
    let isOver = false;
    const producer = async (): Promise<void> => {
      const client = site.client(site.url, { connectionsMax: 1 });
      while (!isOver) {
        try {
          accepted.push((await client.enqueue(queue, { do: 'done', isQuiet: true } as never)).id);
        } catch (error) {
          const isFull = error instanceof HowdahError && error.code === 'HOWDAH_QUEUE_FULL';
          counts[isFull ? 'full' : 'others'] += 1;
        }
      }
    };
    const producers = Promise.all(Array.from({ length: PRODUCERS }, producer));
    site.hand({ queue, binding: { concurrency: 1, prefetch: 1 } });
    const ends = performance.now() + lab.count(60_000, 5_000);
    while (performance.now() < ends) {
      const depth = await site.value<number>(
        `select count(*)::int from howdah.job_states where queue = $1 and state <> 'running'`,
        [queue],
      );
      counts.deepest = Math.max(counts.deepest, depth);
      await sleep(20);
    }
    isOver = true;
    await producers;
    const { rows } = await site.pool.query(
      `select count(*)::int as there, count(*) filter (where id = any ($2))::int as known
      from howdah.jobs where queue = $1`,
      [queue, accepted],
    );
    const { there, known } = rows[0];
    const dropped = accepted.length - known;
    const overshoot = Math.max(0, counts.deepest - BOUND);
    return [
      {
        measured: `deepest ${counts.deepest} of ${BOUND}: overshoot ${overshoot} of at most ${OVERSHOOT_MAX}; ${dropped} silent drops, ${there - known} unknown jobs of ${accepted.length} accepted; ${counts.full} refused as full, ${counts.others} other errors`,
        faults: counts.full,
        isMet:
          overshoot <= OVERSHOOT_MAX &&
          dropped === 0 &&
          there === known &&
          counts.others === 0 &&
          counts.full > 0,
      },
    ];
  },
};
