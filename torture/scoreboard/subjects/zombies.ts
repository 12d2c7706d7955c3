import { writeFileSync } from 'node:fs';
import { waitFor } from '../../../test/support/wait-for.js';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

const ENTRIES = ['complete', 'nothing', 'fail', 'snooze', 'release', 'deadLetter', 'cancel'];
const LEASE_MS = 1_000;
/** Of a round: one call of a batch handler, and one transaction with completeIn(). */
const BATCH = 100;

interface Round {
  readonly asked: number;
  readonly stale: number;
  readonly accepted: number;
}

export const zombies: Subject = {
  name: 'zombies',
  figures: [
    {
      id: 'S3',
      figure: '1,000 zombies (SIGSTOP past the lease) try every settle',
      target: '0 accepted, 1,000 reported stale',
    },
  ],
  async measure(lab) {
    const site = await lab.site();
    const rounds: Round[] = [];
    for (let n = lab.count(10, 1); n > 0; n -= 1) rounds.push(await round(site, rounds.length));
    const sum = (key: keyof Round): number => rounds.reduce((all, each) => all + each[key], 0);
    const effects = await site.value<number>('select count(*)::int from effects');
    const [asked, stale, accepted] = [sum('asked'), sum('stale'), sum('accepted') + effects];
    return [
      {
        measured: `${accepted} accepted, ${stale} of ${asked} reported stale (complete, fail, snooze, release, dead letter, cancel); ${effects} of ${rounds.length} transactions with completeIn() committed`,
        faults: asked + rounds.length,
        isMet: accepted === 0 && stale === asked,
      },
    ];
  },
};

/** A worker is frozen in its handlers, another owner has all its jobs, then it goes on. */
async function round(site: Site, number: number): Promise<Round> {
  const queue = await site.queue(`zombies-${number}`);
  const inTransaction = await site.queue(`zombies-in-${number}`);
  const gate = site.gate();
  const zombie = site.hand({
    queue,
    lease: LEASE_MS,
    maintain: false,
    binding: { concurrency: 1, batch: { size: BATCH, wait: '1s' } },
    extraQueues: [inTransaction],
  });
  await zombie.heard('worker.started');
  const single = await site.enqueue(inTransaction, [{ do: 'effectHeld', gate }]);
  await waitFor(async () => (await site.runs(single)) === 1, { what: 'the transaction to begin' });
  const ids = await site.enqueue(
    queue,
    Array.from({ length: BATCH }, (_, i) => ({
      how: 'block',
      entry: ENTRIES[i % ENTRIES.length],
      gate,
    })),
  );
  await zombie.heard('blocking');
  zombie.kill('SIGSTOP');
  const held = await site.heldBy(zombie);
  const begun = ids.filter((id) => held.includes(id));
  const running = await runningOf(site, begun);
  const owner = await takeOver(site, [queue, inTransaction], held);
  writeFileSync(gate, '');
  zombie.kill('SIGCONT');
  await zombie.heard('job.stale', running.length).catch(() => undefined);
  await zombie.heard('lease.lost');
  const stale = new Set(zombie.of('job.stale').map(({ job }) => job?.id));
  await zombie.end('SIGKILL');
  const { rows } = await site.pool.query(
    'select id::text from howdah._jobs where lease_id = $1 and id = any ($2)',
    [owner, running],
  );
  return {
    asked: running.length,
    stale: running.filter((id) => stale.has(id)).length,
    accepted: running.length - rows.length,
  };
}

/** Those whose handler has been called. */
async function runningOf(site: Site, ids: readonly string[]): Promise<string[]> {
  const { rows } = await site.pool.query(
    'select distinct job_id::text as id from runs where job_id = any ($1)',
    [ids],
  );
  return rows.map(({ id }) => id);
}

/** Waits until the lease has ended and gives all jobs to a new one. */
async function takeOver(site: Site, queues: string[], held: readonly string[]): Promise<string> {
  const owner = await site.value<string>("select howdah.open_lease('owner', 3600000)::text");
  const owned = (): Promise<number> =>
    site.value('select count(*)::int from howdah._jobs where lease_id = $1 and id = any ($2)', [
      owner,
      held,
    ]);
  await waitFor(
    async () => {
      await site.pool.query('select * from howdah.reap(1000)');
      for (const queue of queues)
        await site.pool.query('select count(*) from howdah.claim($1, $2, 1000, $3, $4)', [
          queue,
          owner,
          [],
          [],
        ]);
      return (await owned()) === held.length;
    },
    { timeoutMs: 30_000, intervalMs: 100, what: 'another owner to have all jobs' },
  );
  return owner;
}
