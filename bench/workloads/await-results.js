import { createClient } from '../../dist/index.js';
import { sleep, until } from '../harness/clock.js';
import { createQueue, fill } from '../harness/fill.js';
import { encodeHistogram } from '../harness/histogram.js';
import { latencyMetrics } from '../harness/statistics.js';

const WAITERS = 1000;

export default {
  name: 'await-results',
  title: '1,000 callers await a result each: commit of a completion to its caller, ms',
  settings: { waiters: WAITERS },
  takes: (name) => name === 'howdah',
  tracksStatements: true,
  columns: [
    { key: 'perSecond', label: 'statements/s of the waiters', digits: 1 },
    { key: 'p50', label: 'p50', digits: 2 },
    { key: 'p90', label: 'p90', digits: 2 },
    { key: 'p99', label: 'p99', digits: 2 },
    { key: 'worst', label: 'worst', digits: 1 },
  ],
  goals: [
    {
      text: 'statements/s of 1,000 waiters, 8 results a second',
      measure: (m) => m('howdah', 'perSecond'),
      most: 20,
      digits: 1,
    },
    { text: 'p50, ms', measure: (m) => m('howdah', 'p50'), most: 5 },
  ],

  async run({ quick, agent, postgres, url }) {
    await agent(); // installs the schema
    await createQueue(postgres, url);
    const session = await postgres.connect(url);
    await fill(session, { count: WAITERS });
    const client = createClient({ url, applicationName: 'waiters' });
    try {
      return await measure({ session, client, postgres, url, count: quick ? 60 : 300 });
    } finally {
      await client.close();
      await session.end();
    }
  },
};

async function measure({ session, client, postgres, url, count }) {
  const one = async (text, values) => Object.values((await session.query(text, values)).rows[0])[0];
  const lease = await one("select howdah.open_lease('bench', 600000)");
  const { rows } = await session.query('select id, attempt from howdah.claim($1, $2, $3)', [
    'bench',
    lease,
    WAITERS,
  ]);
  const seenAt = new Map();
  const waits = rows.map(({ id }) =>
    client.result(id, { timeout: '300s' }).then(() => seenAt.set(id, performance.now())),
  );
  await until(async () => (await one('select count(*)::int from howdah._watches')) === WAITERS, 1);
  const complete = async ({ id, attempt }) => {
    await session.query('select howdah.complete($1, $2, $3)', [lease, id, attempt]);
    return performance.now();
  };
  const warmup = 20;
  const took = new Float64Array(count);
  let before = await postgres.statements(url);
  let beganAt = performance.now();
  for (const [n, job] of rows.slice(0, warmup + count).entries()) {
    if (n === warmup) {
      before = await postgres.statements(url);
      beganAt = performance.now();
    }
    const doneAt = await complete(job);
    await until(() => seenAt.has(job.id), 1);
    if (n >= warmup) took[n - warmup] = seenAt.get(job.id) - doneAt;
    await sleep(120);
  }
  const after = await postgres.statements(url);
  const seconds = (performance.now() - beganAt) / 1000;
  for (const job of rows.slice(warmup + count)) await complete(job);
  await Promise.all(waits);
  return {
    perSecond: (after.calls - before.calls - count) / seconds,
    ...latencyMetrics(took),
    histogram: encodeHistogram(took),
  };
}
