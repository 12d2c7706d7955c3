import { fill } from '../harness/fill.js';
import { median } from '../harness/statistics.js';

export default {
  name: 'claim-cost',
  title: 'pages a claim touches beside a small and a large backlog of ready jobs',
  rounds: 1,
  takes: (name) => name === 'howdah',
  columns: [
    { key: 'small', label: 'small backlog, jobs' },
    { key: 'smallOne', label: 'pages, 1 job' },
    { key: 'smallHundred', label: 'pages, 100 jobs' },
    { key: 'large', label: 'large backlog, jobs' },
    { key: 'largeOne', label: 'pages, 1 job' },
    { key: 'largeHundred', label: 'pages, 100 jobs' },
  ],
  goals: [
    {
      // A thousand times the rows make the claim index one level deeper: two pages a claim.
      text: 'pages of a claim of 100, large backlog / small, one index level more granted',
      measure: (m) => m('howdah', 'largeHundred') / m('howdah', 'smallHundred'),
      most: 1.005,
      digits: 3,
    },
  ],

  async run({ quick, agent, postgres, url }) {
    const small = 5000;
    const large = quick ? 200_000 : 5_000_000;
    await agent(); // installs the schema
    const session = await postgres.connect(url);
    await session.query("select howdah.create_queue('backlog')");
    const claims = await startClaims(session, postgres, url);

    await fill(session, { queue: 'backlog', count: small });
    await postgres.settle(url);
    const little = { one: await claims(1), hundred: await claims(100) };
    await fill(session, { queue: 'backlog', from: small, count: large - small });
    await postgres.settle(url);
    const much = { one: await claims(1), hundred: await claims(100) };
    await session.end();
    return {
      small,
      smallOne: little.one,
      smallHundred: little.hundred,
      large,
      largeOne: much.one,
      largeHundred: much.hundred,
    };
  },
};

/**
 * Claims as a worker does, with its cursor, and reads from another session how many shared buffers
 * each call touched, hit or read: pg_stat_get_backend_io of PostgreSQL 18.
 */
async function startClaims(session, postgres, url) {
  const { rows } = await session.query(
    "select howdah.open_lease('bench', 3600000) as lease, pg_backend_pid() as pid",
  );
  const [{ lease, pid }] = rows;
  const after = new Map();
  const pages = async () => {
    await session.query('select pg_stat_force_next_flush()');
    const [row] = await postgres.query(
      url,
      `select sum(coalesce(hits, 0) + coalesce(reads, 0))::int as pages
       from pg_stat_get_backend_io($1) where object = 'relation'`,
      [pid],
    );
    return row.pages;
  };
  return async (limit) => {
    const counts = [];
    for (let i = 0; i < 20; i++) {
      const before = await pages();
      const claim = await session.query({
        name: 'claim',
        text: "select lane, seq from howdah.claim('backlog', $1, $2, $3, $4)",
        values: [lease, limit, [...after.keys()], [...after.values()]],
      });
      counts.push((await pages()) - before);
      if (claim.rows.length !== limit) throw new Error(`claimed ${claim.rows.length} of ${limit}`);
      for (const { lane, seq } of claim.rows) after.set(lane, Math.max(after.get(lane) ?? 0, seq));
    }
    return median(counts.slice(5));
  };
}
