import { waitFor } from '../../test/support/wait-for.js';
import type { Site } from './site.js';

const BACKLOG = 20_000;
const CHUNK = 5_000;
/** A second brings between 4 and 110 jobs while a crew is restarted: over 20 s the mean was 19 to 68. */
const SECONDS = 60;
/** Before that, pools and plans are cold. */
const WARM_UP = 500;

/** What is offered where a figure wants a rate: so that faults, and not saturation, are tested. */
export const SHARE_OF_PEAK = 0.7;

/** Jobs a second that the crew of this queue completes from a backlog; what is left is cancelled. */
export async function peakRate(site: Site, queue: string, payload: object): Promise<number> {
  for (let sent = 0; sent < BACKLOG; sent += CHUNK)
    await site.enqueue(
      queue,
      Array.from({ length: CHUNK }, () => payload),
    );
  const done = (): Promise<number> =>
    site.value('select completed::int from howdah.queue_stats where queue = $1', [queue]);
  await waitFor(async () => (await done()) > WARM_UP, { timeoutMs: 120_000 });
  const [before, begun] = [await done(), performance.now()];
  const seconds = (): number => (performance.now() - begun) / 1_000;
  await waitFor(async () => seconds() > SECONDS || (await done()) >= BACKLOG, {
    timeoutMs: (SECONDS + 40) * 1_000,
    intervalMs: 200,
  });
  const rate = ((await done()) - before) / seconds();
  await site.pool.query(
    'select howdah.cancel(array (select id from howdah.job_states where queue = $1))',
    [queue],
  );
  await site.settled();
  return rate;
}
