import { startUsage } from '../harness/usage.js';

/** What there is at a scale of 1; `--full` has it all, as docs/costs.md names it. */
const SIZE = { jobs: 10_000_000, groups: 1_000_000, queues: 10_000, dead: 1_000_000, days: 365 };
/** Statements are measured at this share of the size, and at the whole of it. */
const SMALL = 0.1;
const CHUNK = 100_000;

/**
 * Each statement and what it works on: `n` jobs or rows at the small and the large size alike, unless `all`, which
 * asks for as much as there is. So its growth should be 1, or 10 for the latter.
 */
const STATEMENTS = [
  ['enqueue, 1 job', `enqueue('{"queue": "q1", "payload": 1}')`],
  [
    'enqueue, 100 jobs',
    `enqueue((select jsonb_build_object('queue', 'q1', 'payloads', jsonb_agg(i)) from generate_series(1, 100) i))`,
  ],
  ['enqueue, 1 member of a group', `enqueue('{"queue": "grouped", "payload": 1, "group": "g1"}')`],
  ['claim, 100 jobs', `claim_many('q1', :lease, 100)`],
  ['receive, 10 jobs', `receive('q1', 10)`],
  [
    'cancel, 100 jobs by id',
    `cancel(array(select id from _jobs where queue_id = :q1 and seq is not null order by lane, seq limit 100))`,
  ],
  ['cancel_jobs, 1000 of a queue', `cancel_jobs('{"queue": "q1", "state": "ready"}', null, 1000)`],
  [
    'edit_job',
    `edit_job((select id from _jobs where queue_id = :q1 and seq is not null order by lane, seq limit 1), '{"priority": 5}')`,
  ],
  [
    'redrive, 1 by id',
    `redrive(jsonb_build_object('ids', jsonb_build_array((select max(id) from _jobs where dead_at is not null and id < 0))))`,
  ],
  ['redrive, 50 of a queue', `redrive('{"queue": "q1"}', 100)`],
  ['discard, since a time to come', `discard('{"since": "2100-01-01"}', 100)`],
  ['dead_letter_groups of a queue', `dead_letter_groups('q1')`],
  [
    'watch, 100 finished jobs',
    `watch(:lease, array(select -i from generate_series(50000001, 50000100) i))`,
  ],
  ['find_jobs, 1 finished job', `find_jobs(array[-50000001])`],
  ['find_jobs, 1 unknown id', `find_jobs(array[9000000000000])`],
  ['create_queue, group_concurrency raised', `create_queue('grouped', '{"group_concurrency": 2}')`],
  ['delete_queue(force), 100 jobs', `delete_queue('few', true)`],
  ['promote', `promote()`],
  ['sweep', `sweep()`],
  ['expire', `expire()`],
  ['reap', `reap()`],
  ['tend_queues', `tend_queues()`],
  ['find_orphans', `find_orphans()`, 'jobs, to 10000'],
  ['fold_batches', `fold_batches()`],
  ['prune', `prune()`, 'days and queues in use'],
  ['queue_stats', `queue_stats`, 'queues'],
  ['queue_stats of one queue', `queue_stats where queue = 'q1'`, 'counters not folded'],
  ['job_states by id', `job_states where id = (select max(id) from _jobs)`],
  ['blocked_groups, first 100', `blocked_groups limit 100`, 'groups, to 100'],
];

export default {
  name: 'costs',
  title: 'what each statement costs the server beside much, and beside ten times as much',
  rounds: 1,
  isLong: true,
  takes: (name) => name === 'howdah',
  columns: [
    { key: 'jobs', label: 'jobs' },
    { key: 'statements', label: 'statements' },
    { key: 'worst', label: 'worst growth, pages' },
    { key: 'worstCpu', label: 'worst growth, CPU' },
  ],
  goals: [
    {
      text: 'growth of pages at ten times the size, times what the statement returns',
      measure: (m) => m('howdah', 'worst'),
      most: 1.5,
      digits: 2,
    },
  ],

  async run({ quick, full, agent, postgres, url }) {
    const scale = full ? 1 : quick ? 0.001 : 0.01;
    await agent(); // installs the schema
    const session = await postgres.connect(url);
    await session.query('set search_path = howdah; set synchronous_commit = off');
    await makeQueues(session);
    const rows = [];
    let made = { jobs: 0, groups: 0, queues: 0, dead: 0, days: 0 };
    for (const share of [SMALL, 1]) {
      const size = sizeOf(scale * share);
      await grow(session, made, size);
      made = size;
      await postgres.settle(url);
      rows.push(await measure(session));
    }
    await session.end();
    return summary(rows, made);
  },
};

function sizeOf(share) {
  return Object.fromEntries(
    Object.entries(SIZE).map(([name, count]) => [name, Math.max(Math.round(count * share), 1)]),
  );
}

async function makeQueues(session) {
  await session.query(`select create_queue('q1', '{"retention_ms": 63072000000}'), create_queue('grouped'),
    create_queue('few'), create_queue('late')`);
  await session.query(`select count(*) from enqueue((select jsonb_build_object('queue', 'few', 'payloads',
    jsonb_agg(i)) from generate_series(1, 100) i))`);
}

/** Makes what is missing, by tables, for thousands of rows a second would take a day. */
async function grow(session, from, to) {
  await inChunks(from.jobs, to.jobs, (first, last) =>
    session.query(
      `with n as (select nextval('job_seq') as id from generate_series($1::int, $2::int)), made as (
        insert into _jobs (id, seq, enqueued_at, queue_id, lane, payload)
        select id, id, clock(), (select q.id from _queues q where q.name = 'q1'), 201, '{"n": 1}' from n returning 1)
      insert into _counter_deltas (queue_id, enqueued, ready)
      select (select q.id from _queues q where q.name = 'q1'), count(*), count(*) from made`,
      [first, last],
    ),
  );
  await inChunks(from.groups, to.groups, (first, last) =>
    session.query(
      `select count(*) from enqueue((select jsonb_agg(jsonb_build_object('queue', 'grouped', 'payload', 1,
        'group', 'g' || i)) from generate_series($1::int, $2::int) i, generate_series(1, 2)))`,
      [first, last],
    ),
  );
  await session.query(
    `insert into _queues (name, dead_letter_queue_id) select 'more' || i, 1 from generate_series($1::int, $2::int) i`,
    [from.queues + 1, to.queues],
  );
  await inChunks(from.dead, to.dead, (first, last) =>
    session.query(
      `insert into _jobs (id, seq, enqueued_at, queue_id, lane, payload, dead_at, dead_reason, origin_queue_id,
        attempt, uncounted, errors)
      select -i, nextval('job_seq'), clock(), 1, 201, '1', clock() - i * interval '1 s', 'attempts exhausted',
        (select q.id from _queues q where q.name = case when i <= 50 then 'q1' else 'late' end), 10, 10,
        '[{"name": "Error", "message": "connection refused", "attempt": 10}]'
      from generate_series($1::int, $2::int) i`,
      [first, last],
    ),
  );
  for (let day = from.days + 1; day <= to.days; day++) {
    await session.query(`select _create_partition((clock() at time zone 'UTC')::date - $1::int)`, [
      day,
    ]);
    await session.query(
      `insert into _history (id, finished_at, enqueued_at, queue_id, attempt, lane, state, payload)
      select -(50000000 + ($1 - 1) * 1000 + i), clock() - $1 * interval '1 day', clock(), 2, 1, 201, 'completed', '1'
      from generate_series(1, 1000) i`,
      [day],
    );
  }
  for (let done = 0; done <= to.days; done += 30) await session.query('select _note_days()');
  await session.query('select roll_up(100000)');
}

async function inChunks(from, to, insert) {
  for (let first = from + 1; first <= to; first += CHUNK) {
    await insert(first, Math.min(first + CHUNK - 1, to));
  }
}

/** Each statement three times, undone each time; the least counts. */
async function measure(session) {
  const [{ lease }] = (await session.query(`select open_lease('bench', 3600000) as lease`)).rows;
  const [{ q1 }] = (await session.query(`select id as q1 from _queues where name = 'q1'`)).rows;
  const usage = startUsage(session);
  const costs = [];
  for (const [name, text, per] of STATEMENTS) {
    const from = text.replaceAll(':lease', lease).replaceAll(':q1', q1);
    const costsOfOne = [];
    for (let i = 0; i < 3; i++) costsOfOne.push(await usage.of(`select * from ${from}`));
    costs.push({
      name,
      per,
      rows: costsOfOne[0].rows,
      pages: Math.min(...costsOfOne.map(({ pages }) => pages)),
      cpuMs: Math.min(...costsOfOne.map(({ cpuMs }) => cpuMs)),
    });
  }
  return costs;
}

/** Prints the table and judges it: growth in times of what is returned, or looked at by design. */
function summary([small, large], { jobs }) {
  let worst = 0;
  let worstCpu = 0;
  console.log(
    '| statement | rows | CPU ms | pages | CPU, times | pages, times |\n|---|--:|--:|--:|--:|--:|',
  );
  for (const [i, one] of large.entries()) {
    const before = small[i];
    // a level more of an index, or a page that is not full, is not growth
    const pages = one.pages / Math.max(before.pages, 40);
    const cpu = one.cpuMs / Math.max(before.cpuMs, 1);
    const more = Math.max(one.rows / Math.max(before.rows, 1), one.per ? 10 : 1);
    worst = Math.max(worst, pages / more);
    worstCpu = Math.max(worstCpu, cpu / more);
    console.log(
      `| ${one.name}${one.per ? ` (grows with ${one.per})` : ''} | ${one.rows} | ${one.cpuMs.toFixed(2)} | ${one.pages} | ${cpu.toFixed(1)} | ${pages.toFixed(1)} |`,
    );
  }
  return { jobs, statements: large.length, worst, worstCpu };
}
