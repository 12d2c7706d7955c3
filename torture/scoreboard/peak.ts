import { waitFor } from '../../test/support/wait-for.js';
import type { Site } from './site.js';

const BACKLOG = 20_000;
const CHUNK = 5_000;
/** Of a crew that nobody restarts. */
const SECONDS = 20;
/** Before that, pools and plans are cold. */
const WARM_UP = 500;

/** What is offered where a figure wants a rate: so that faults, and not saturation, are tested. */
export const SHARE_OF_PEAK = 0.7;

/** Jobs a second that the crew of this queue completes from a backlog in so many seconds; what is left is cancelled. */
export async function peakRate(
  site: Site,
  queue: string,
  payload: object,
  lastsSeconds = SECONDS,
): Promise<number> {
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
  await waitFor(async () => seconds() > lastsSeconds || (await done()) >= BACKLOG, {
    timeoutMs: (lastsSeconds + 40) * 1_000,
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
