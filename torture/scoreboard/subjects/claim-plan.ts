import pg from 'pg';
import type { Site } from '../site.js';
import type { Subject } from '../subject.js';

const SIZES = [0, 1_000, 1_000_000, 10_000_000];
const CHUNK = 50_000;
const BUFFERS_MAX = 50;
const CLAIMS = 5;

interface Cost {
  readonly rows: number;
  readonly statistics: string;
  readonly buffers: number;
}

export const claimPlan: Subject = {
  name: 'claim-plan',
  figures: [
    {
      id: 'S19',
      figure: 'claim of one at 0, 10^3, 10^6, 10^7 rows, with stale or no statistics',
      target: '<= 50 buffers',
    },
  ],
  async measure(lab) {
    const site = await lab.site({ autovacuum: false, synchronous_commit: false });
    const sizes = SIZES.filter((size) => size <= Math.max(1_000, 10_000_000 * lab.scale));
    const costs: Cost[] = [];
    let there = 0;
    for (const size of sizes) {
      const queue = await site.queue(`plan-${size}`);
      costs.push({ ...(await claimCost(site, queue, there)), statistics: 'none' });
      if (size === 0) await site.pool.query('analyze');
      for (; there < size; there += CHUNK) await fill(site, queue, Math.min(CHUNK, size - there));
      there = Math.max(there, size);
      lab.say(`${size} rows are there`);
      costs.push({ ...(await claimCost(site, queue, size)), statistics: 'of no rows' });
      await site.pool.query('analyze');
      costs.push({ ...(await claimCost(site, queue, size)), statistics: 'fresh' });
    }
    const worst = costs.reduce((a, b) => (b.buffers > a.buffers ? b : a));
    const told = sizes.map((size) => {
      const own = costs.filter(({ rows }) => rows === size).map(({ buffers }) => buffers);
      return `${size} rows: ${Math.max(...own)}`;
    });
    return [
      {
        measured: `buffers of a claim in a session that has claimed before, at most: ${told.join(', ')} (worst: ${worst.buffers}, statistics ${worst.statistics})`,
        faults: costs.length * CLAIMS,
        isMet: worst.buffers <= BUFFERS_MAX,
      },
    ];
  },
};

async function fill(site: Site, queue: string, count: number): Promise<void> {
  await site.pool.query(
    `select count(*) from howdah.enqueue((select jsonb_agg(jsonb_build_object('queue', $1::text, 'payload', n))
      from generate_series(1, $2::int) n))`,
    [queue, count],
  );
}

/** The most that one of several claims took, with the cursors that a worker has. */
async function claimCost(
  site: Site,
  queue: string,
  rows: number,
): Promise<{ rows: number; buffers: number }> {
  const client = new pg.Client({ connectionString: site.url });
  await client.connect();
  try {
    const lease = await client.query("select howdah.open_lease('planner', 60000)::text as id");
    const { id } = lease.rows[0];
    const cursors = new Map<number, string>();
    let most = 0;
    for (let n = 0; n <= CLAIMS; n += 1) {
      const args = [queue, id, [...cursors.keys()], [...cursors.values()]];
      const text = 'select lane, seq::text from howdah.claim($1, $2, 1, $3, $4)';
      const claimed = await client.query(text, args);
      for (const { lane, seq } of claimed.rows) cursors.set(lane, seq);
      const explained = await client.query({
        text: `explain (analyze, buffers, format json) ${text}`,
        values: [queue, id, [...cursors.keys()], [...cursors.values()]],
      });
      const plan = explained.rows[0]['QUERY PLAN'][0].Plan;
      const buffers = plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
      if (n > 0) most = Math.max(most, buffers);
    }
    await client.query('select howdah.close_lease($1)', [id]);
    return { rows, buffers: most };
  } finally {
    await client.end();
  }
}
