import pg from 'pg';
import type { Lab } from '../lab.js';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

const OUTCOMES = ['complete', 'fail', 'snooze', 'release', 'cancel'];
const ROUND = 500;
const SETTLERS = 3;

interface Asked {
  readonly id: string;
  /** What the settle was told. */
  outcome?: string;
}

export const reaperAgainstSettle: Subject = {
  name: 'reaper-against-settle',
  figures: [
    {
      id: 'S5',
      figure: 'the reaper against a settle: both orders x 5 outcomes, and 100,000 at random',
      target: '0 lost transitions',
    },
  ],
  async measure(lab) {
    const site = await lab.site({ synchronous_commit: false });
    const queue = await site.queue('reaped', { backoff_ms: 3_600_000 });
    const sessions = await Promise.all(
      Array.from({ length: SETTLERS + 1 }, () => connect(lab, site)),
    );
    const forced = await forceOrders(site, queue, sessions);
    const total = lab.count(100_000, 1_000);
    let [wrong, accepted, reaped] = [0, 0, 0];
    for (let done = 0; done < total; done += ROUND) {
      const round = await randomRound(lab, site, queue, sessions);
      wrong += round.wrong;
      accepted += round.accepted;
      reaped += round.reaped;
    }
    return [
      {
        measured: `forced orders: ${forced.wrong} of ${forced.orders} lost; at random: ${wrong} lost of ${accepted + reaped}, ${accepted} settles came first, ${reaped} reapers did`,
        faults: forced.orders + accepted + reaped,
        isMet: forced.wrong + wrong === 0 && accepted > 0 && reaped > 0,
      },
    ];
  },
};

async function connect(lab: Lab, site: Site): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: site.url });
  await client.connect();
  lab.defer(() => client.end());
  return client;
}

/** Jobs that run under a lease which has just ended. */
async function expired(site: Site, queue: string, count: number): Promise<[string, Asked[]]> {
  const lease = await site.value<string>("select howdah.open_lease('holder', 60000)::text");
  await site.enqueue(
    queue,
    Array.from({ length: count }, () => ({})),
  );
  const { rows } = await site.pool.query<Asked>(
    'select id::text from howdah.claim($1, $2, $3, $4, $5)',
    [queue, lease, count, [], []],
  );
  await site.pool.query(
    "update howdah._leases set expires_at = howdah.clock() - interval '1 ms' where id = $1",
    [lease],
  );
  return [lease, rows];
}

async function settle(
  client: pg.Client,
  lease: string,
  jobs: readonly Asked[],
  outcome: string,
): Promise<void> {
  const asks = jobs.map(({ id }) => ({ id, attempt: 1, outcome, delay_ms: 3_600_000 }));
  const { rows } = await client.query(
    'select id::text, outcome from howdah.settle($1, $2::text::jsonb)',
    [lease, JSON.stringify(asks)],
  );
  const told = new Map(rows.map((row) => [row.id, row.outcome]));
  for (const job of jobs) job.outcome = told.get(job.id) ?? 'nothing';
}

/** Jobs for which the answer and the row differ: refused but not reaped, or reaped but accepted. */
async function wrongOf(site: Site, jobs: readonly Asked[]): Promise<number> {
  const { rows } = await site.pool.query<{ id: string; reaped: boolean; running: boolean }>(
    `select id::text, state = 'running' as running,
      coalesce(errors @> '[{"name": "LeaseExpired"}]', false) as reaped
    from howdah.jobs where id = any ($1)`,
    [jobs.map(({ id }) => id)],
  );
  const found = new Map(rows.map((row) => [row.id, row]));
  return jobs.filter(({ id, outcome }) => {
    const row = found.get(id);
    return !row || row.running || row.reaped !== (outcome === 'stale');
  }).length;
}

async function forget(site: Site, queue: string): Promise<void> {
  await site.pool.query(
    `select howdah.cancel(array (select id from howdah.job_states where queue = $1))`,
    [queue],
  );
}

/** Each outcome, once with the settle first and once with the reaper first, in open transactions. */
async function forceOrders(
  site: Site,
  queue: string,
  [a, b]: readonly pg.Client[],
): Promise<{ orders: number; wrong: number }> {
  let [orders, wrong] = [0, 0];
  if (!a || !b) throw new Error('two sessions are needed');
  for (const outcome of OUTCOMES)
    for (const isReaperFirst of [false, true]) {
      const [lease, jobs] = await expired(site, queue, 1);
      await a.query('begin');
      if (isReaperFirst) {
        await a.query('select * from howdah.reap(1000)');
        const waiting = settle(b, lease, jobs, outcome);
        await a.query('commit');
        await waiting;
      } else {
        await settle(a, lease, jobs, outcome);
        await b.query('select * from howdah.reap(1000)');
        await a.query('commit');
        await b.query('select * from howdah.reap(1000)');
      }
      orders += 1;
      wrong += await wrongOf(site, jobs);
      await forget(site, queue);
    }
  return { orders, wrong };
}

/** Several settle in pieces what one reaps in pieces, at the same time. */
async function randomRound(
  { random }: Lab,
  site: Site,
  queue: string,
  [reaper, ...settlers]: readonly pg.Client[],
): Promise<{ wrong: number; accepted: number; reaped: number }> {
  const [lease, jobs] = await expired(site, queue, ROUND);
  const pieces: Asked[][] = [];
  for (let rest = random.shuffle(jobs); rest.length > 0; ) {
    const size = random.int(1, 20);
    pieces.push(rest.slice(0, size));
    rest = rest.slice(size);
  }
  const reap = async (): Promise<void> => {
    for (let n = 0; n < ROUND; ) {
      const limit = random.int(1, 60);
      await reaper?.query('select * from howdah.reap($1)', [limit]);
      n += limit;
    }
  };
  await Promise.all([
    reap(),
    ...settlers.map(async (client) => {
      for (let piece = pieces.pop(); piece; piece = pieces.pop())
        await settle(client, lease, piece, random.pick(OUTCOMES));
    }),
  ]);
  await reaper?.query('select * from howdah.reap(10000)');
  const wrong = await wrongOf(site, jobs);
  await forget(site, queue);
  const reaped = jobs.filter(({ outcome }) => outcome === 'stale').length;
  return { wrong, accepted: jobs.length - reaped, reaped };
}
