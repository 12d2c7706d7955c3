import { createWorker, silentLogger, work } from '../../dist/index.js';
import { until } from '../harness/clock.js';
import { median } from '../harness/statistics.js';

const CHUNK = 5000;
const LOOK_MS = 50;

export default {
  name: 'schedules',
  title: 'cron schedules: what a look costs when nothing is due, and a minute in which many are',
  rounds: 1,
  takes: (name) => name === 'howdah',
  columns: [
    { key: 'schedules', label: 'schedules' },
    { key: 'planned', label: 'worked out at first, 1/s' },
    { key: 'idleMs', label: 'idle look, ms' },
    { key: 'due', label: 'due in one minute' },
    { key: 'firedMs', label: 'last job after the minute, ms' },
  ],
  goals: [
    { text: 'ms an idle look', measure: (m) => m('howdah', 'idleMs'), most: 50, digits: 1 },
    {
      text: 'ms from the minute to its last job',
      measure: (m) => m('howdah', 'firedMs'),
      most: 5000,
      digits: 0,
    },
  ],

  async run({ quick, agent, postgres, url }) {
    const count = quick ? 20_000 : 100_000;
    const due = count / 10;
    await agent(); // installs the schema
    const session = await postgres.connect(url);
    await session.query("select howdah.create_queue('reports')");
    // a tenth fires each minute, the others at a minute of their own, but not now
    await fill(session, 0, due, "'* * * * *'");
    await fill(session, due, count, "format('%s %s 1 1 *', n % 60, n % 24)");
    const worker = createWorker({
      url,
      queues: [work('reports', () => undefined)],
      logger: silentLogger,
    });
    const beganAt = performance.now();
    await worker.start();
    try {
      const one = async (text, values = []) =>
        Object.values((await session.query(text, values)).rows[0])[0];
      await until(
        () => one('select not exists (select from howdah._schedules where next_at is null)'),
        LOOK_MS,
      );
      const planned = Math.round((count / (performance.now() - beganAt)) * 1000);
      await postgres.settle(url);
      const idleMs = await idleLook(one);
      const fired = `select count(*) = $1 from howdah._schedule_runs where outcome = 'enqueued'
        and nominal_at = (select max(nominal_at) from howdah._schedule_runs)`;
      const last = await one('select max(nominal_at)::text from howdah._schedule_runs');
      await until(
        () =>
          one('select max(nominal_at)::text is distinct from $1 from howdah._schedule_runs', [
            last,
          ]),
        LOOK_MS,
      );
      await until(() => one(fired, [due]), LOOK_MS);
      const firedMs =
        await one(`select extract(epoch from max(decided_at) - nominal_at)::float8 * 1000
        from howdah._schedule_runs group by nominal_at order by nominal_at desc limit 1`);
      return { schedules: count, planned, idleMs, due, firedMs };
    } finally {
      await worker.stop({ grace: 0 });
      await session.end();
    }
  },
};

async function fill(session, from, to, cron) {
  for (let at = from; at < to; at += CHUNK) {
    await session.query(
      `select count(howdah.put_schedule('s' || n, jsonb_build_object('queue', 'reports', 'zone',
         (array['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/St_Johns'])[n % 4 + 1],
         'cron', ${cron}, 'payload', jsonb_build_object('n', n))))
       from generate_series($1::int, $2::int) n`,
      [at + 1, Math.min(at + CHUNK, to)],
    );
  }
}

/** As the scheduler looks when nothing is due. */
async function idleLook(one) {
  const times = [];
  while (times.length < 50) {
    const beganAt = performance.now();
    const due = await one('select due from howdah.due_schedules(1000)');
    if (due === null) times.push(performance.now() - beganAt);
  }
  return median(times);
}
