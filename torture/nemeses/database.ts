import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Field, type Nemesis, seen, waiting } from './nemesis.js';

export const noSlots: Nemesis = {
  name: 'no-slots',
  what: 'all connection slots are taken, and sessions are ended so that they are wanted',
  async strike({ cluster, random }) {
    const taken: pg.Client[] = [];
    let isFull = false;
    while (!isFull && taken.length < 200) {
      const client = new pg.Client({ connectionString: cluster.url, application_name: 'torture' });
      client.on('error', () => undefined);
      await client.connect().then(
        () => taken.push(client),
        () => {
          isFull = true;
        },
      );
    }
    await cluster
      .value(
        `select count(pg_terminate_backend(pid)) from pg_stat_activity
        where application_name like 'howdah%' and pid % 3 = 0`,
      )
      .catch(() => undefined);
    await sleep(random.int(500, 2_500));
    await Promise.all(taken.map((client) => client.end().catch(() => undefined)));
    return isFull ? `after ${taken.length} more connections` : undefined;
  },
};

/** How long nobody may come by. */
const PATIENCE_MS = 5_000;

/** Somebody locks a table of ours, as a careless migration would. Returns how many sessions waited. */
async function holdTable(field: Field, ms: number): Promise<number> {
  const client = await field.cluster.connect();
  try {
    await client.query('set lock_timeout = 0; set statement_timeout = 0');
    await client.query('begin');
    const table = field.random.pick(['_jobs', '_leases', '_queues', '_groups', '_history']);
    await client.query(`lock table howdah.${table} in access exclusive mode`);
    const count = await seen(async () => (await waiting(field)) || undefined, PATIENCE_MS);
    await sleep(ms);
    const more = await waiting(field);
    await client.query('rollback');
    return Math.max(count ?? 0, more);
  } finally {
    await client.end().catch(() => undefined);
  }
}

export const lockedTable: Nemesis = {
  name: 'locked-table',
  what: 'a table is locked for up to two seconds',
  async strike(field) {
    const sessions = await holdTable(field, field.random.int(300, 2_000));
    return sessions > 0 ? `${sessions} sessions waited` : undefined;
  },
};

/** While it holds, statements of ours end with an error. */
function timeouts(name: string, what: string, setting: string): Nemesis {
  return {
    name,
    what,
    async strike(field) {
      const { cluster } = field;
      const set = async (value: string): Promise<void> => {
        await cluster.pool.query(`alter system ${value}`);
        await cluster.pool.query('select pg_reload_conf()');
      };
      await set(`set ${setting} = '150ms'`);
      const sessions = await holdTable(field, 600).finally(() => set(`reset ${setting}`));
      return sessions > 0 ? `${sessions} sessions waited` : undefined;
    },
  };
}

export const lockTimeout = timeouts('lock-timeout', 'lock_timeout strikes', 'lock_timeout');
export const statementTimeout = timeouts(
  'statement-timeout',
  'statement_timeout strikes',
  'statement_timeout',
);

/** Books of groups before jobs, and later jobs before earlier ones: nobody may lock in this order. */
const WRONG_ORDER = `do $$ declare r record; begin
  perform 1 from howdah._groups order by queue_id, key for update;
  perform pg_sleep(0.2);
  for r in select id from howdah._jobs where lease_id is not null order by id desc limit 200 loop
    perform 1 from howdah._jobs where id = r.id for update;
  end loop; end $$`;

/**
 * A session that locks rows in the wrong order, again and again. Settles and upkeep wait for no row that it holds,
 * so that mostly they close no circle: what they leave for later shows that they met it, too.
 */
export const deadlock: Nemesis = {
  name: 'deadlock',
  what: 'somebody locks rows in the wrong order',
  async strike({ cluster, random }) {
    const count = (text: string): Promise<number> => cluster.value(text);
    const deadlocks =
      'select deadlocks::int from pg_stat_database where datname = current_database()';
    const left = `select coalesce(sum(n_tup_ins), 0)::int from pg_stat_user_tables
      where schemaname = 'howdah' and relname = '_group_changes'`;
    const before = { deadlocks: await count(deadlocks), left: await count(left) };
    const client = await cluster.connect();
    let ours = 0;
    try {
      const deadline = performance.now() + 4_000;
      while (performance.now() < deadline) {
        // who looks for deadlocks first is the one who loses
        await client.query(`set deadlock_timeout = '${random.chance(0.25) ? '10ms' : '5s'}'`);
        await client.query(WRONG_ORDER).catch(({ code }) => {
          if (code === '40P01') ours += 1;
        });
      }
    } finally {
      await client.end().catch(() => undefined);
    }
    return seen(async () => {
      const hit = (await count(deadlocks)) - before.deadlocks;
      const passed = (await count(left)) - before.left;
      if (hit + passed <= 0) return undefined;
      return `${hit} deadlocks, ${Math.max(0, hit - ours)} of them lost by workers; ${passed} changes of held groups left for later`;
    }, 4_000);
  },
};
