import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../random.js';
import { type Nemesis, seen } from './nemesis.js';

/** What a server, a database or a role may have set, and nobody of ours may mind. */
const SETTINGS: Readonly<Record<string, readonly string[]>> = {
  DateStyle: ['SQL, DMY', 'German', 'Postgres, MDY', 'ISO, YMD'],
  IntervalStyle: ['sql_standard', 'postgres_verbose', 'iso_8601'],
  TimeZone: ['Pacific/Kiritimati', 'Asia/Kathmandu', 'America/St_Johns', 'Etc/GMT+12'],
  standard_conforming_strings: ['off'],
  escape_string_warning: ['off'],
  default_transaction_isolation: ['repeatable read', 'serializable'],
  default_transaction_deferrable: ['on'],
  extra_float_digits: ['-15', '0'],
  bytea_output: ['escape'],
  array_nulls: ['off'],
  transform_null_equals: ['on'],
  quote_all_identifiers: ['on'],
  row_security: ['off'],
  search_path: ['pg_catalog', 'nowhere'],
  client_min_messages: ['error', 'debug1'],
  client_encoding: ['LATIN1', 'SQL_ASCII'],
  plan_cache_mode: ['force_custom_plan'],
  enable_indexscan: ['off'],
  enable_tidscan: ['off'],
  enable_bitmapscan: ['off'],
  enable_sort: ['off'],
  jit: ['on'],
  jit_above_cost: ['0'],
  random_page_cost: ['1000'],
  work_mem: ['64kB'],
  idle_in_transaction_session_timeout: ['10s'],
  idle_session_timeout: ['3s'],
  cursor_tuple_fraction: ['1'],
  lo_compat_privileges: ['on'],
  xmloption: ['document'],
};

const CHANGED_AT_ONCE = 4;

function draw(random: Random): [name: string, value: string][] {
  return random
    .shuffle(Object.entries(SETTINGS))
    .slice(0, CHANGED_AT_ONCE)
    .map(([name, values]) => [name, random.pick(values)]);
}

/**
 * They stay until it strikes again, and in the end: what is left is settled under them. Connections of
 * the nemeses themselves have settings of their own.
 */
export const changedSettings: Nemesis = {
  name: 'changed-settings',
  what: 'the database gets other settings at random, and sessions are ended so that new ones have them',
  async strike({ cluster, crowd, random }) {
    const database = await cluster.value<string>('select quote_ident(current_database())');
    const begun = await cluster.value<string>('select clock_timestamp()::text');
    const changed = draw(random);
    await cluster.pool.query(`alter database ${database} reset all`);
    for (const [name, value] of changed) {
      await cluster.pool.query(`alter database ${database} set ${name} to '${value}'`);
    }
    await cluster.value(`select count(pg_terminate_backend(pid)) from pg_stat_activity
      where backend_type = 'client backend' and application_name <> 'torture'`);
    const acknowledged = crowd.acknowledged;
    await sleep(random.int(2_000, 4_000));
    const sessions = await seen(
      async () =>
        (await cluster.value<number>(
          `select count(*)::int from pg_stat_activity where application_name like 'howdah%'
            and backend_start > $1::timestamptz`,
          [begun],
        )) || undefined,
      3_000,
    );
    const calls = crowd.acknowledged - acknowledged;
    const list = changed.map(([name, value]) => `${name} = ${value}`).join(', ');
    return sessions && calls > 0 ? `${sessions} sessions, ${calls} calls with ${list}` : undefined;
  },
};
