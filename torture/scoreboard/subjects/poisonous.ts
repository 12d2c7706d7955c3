import { waitFor } from '../../../test/support/wait-for.js';
import type { Hand } from '../hand.js';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

const HOW = ['exits', 'aborts', 'exhausts', 'exits', 'spins'];
const CREW = 2;
const CRASHES_MAX = 3;

/** Keeps so many workers running, as a supervisor would do. */
async function supervise(hire: () => Hand, isOver: () => boolean): Promise<number> {
  let deaths = 0;
  const keep = async (): Promise<void> => {
    while (!isOver()) {
      await hire().exited;
      if (!isOver()) deaths += 1;
    }
  };
  await Promise.all(Array.from({ length: CREW }, keep));
  return deaths;
}

export const poisonous: Subject = {
  name: 'poisonous',
  figures: [
    {
      id: 'S8',
      figure: '1 % of the jobs exit, abort, exhaust memory or spin',
      target: 'dead in <= 3 crashes, 0 collateral',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const queue = await site.queue('poison', { timeout_ms: 1_000, max_crashes: CRASHES_MAX });
    const total = lab.count(5_000, 300);
    const isPoison = (i: number): boolean => i % 100 === 50;
    const payloads = Array.from({ length: total }, (_, i) => {
      const verb = isPoison(i) ? HOW[((i - 50) / 100) % HOW.length] : 'effect';
      return { do: verb, again: verb, isQuiet: true };
    });
    const ids = await site.enqueue(queue, payloads);
    const poison = ids.filter((_, i) => isPoison(i));
    const others = ids.filter((_, i) => !isPoison(i));
    let isOver = false;
    const options = { queue, lease: 1_000, binding: { concurrency: 10 } };
    const hire = (): Hand => site.hand(options, { nodeArgs: ['--max-old-space-size=100'] });
    const watch = supervise(hire, () => isOver);
    await deadOrStalled(site, poison);
    await site.settled();
    isOver = true;
    await site.dismiss();
    const deaths = await watch;
    const { rows } = await site.pool.query<{ crashes: number; state: string }>(
      `select state, jsonb_array_length(jsonb_path_query_array(errors, '$[*] ? (@.name == "LeaseExpired")')) as crashes
      from howdah.jobs where id = any ($1)`,
      [poison],
    );
    const alive = poison.length - rows.filter(({ state }) => state === 'dead').length;
    const crashes = Math.max(...rows.map((row) => row.crashes));
    const { lost, doubled, missing } = await site.tally(others);
    const collateral = lost + doubled + missing;
    return [
      {
        measured: `${poison.length - alive} of ${poison.length} dead after at most ${crashes} crashes; ${collateral} of ${others.length} others harmed; ${deaths} workers died`,
        faults: deaths,
        isMet: alive + collateral === 0 && crashes <= CRASHES_MAX,
      },
    ];
  },
};

async function deadOrStalled(site: Site, ids: readonly string[]): Promise<void> {
  await waitFor(
    async () =>
      (await site.value<number>(
        'select count(*)::int from howdah.dead_letters where id = any ($1)',
        [ids],
      )) === ids.length,
    { timeoutMs: 30_000 + ids.length * 30_000, intervalMs: 200 },
  ).catch(() => undefined);
}
