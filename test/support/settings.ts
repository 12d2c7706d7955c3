import pg from 'pg';

/**
 * Settings that a server, a database, a role or an application's session may have. Each is set on the database,
 * so that every session gets it, ours and the application's; then it is migrated and a job lives its whole life.
 */
export const SETTINGS: Readonly<Record<string, string>>[] = [
  { default_transaction_isolation: 'repeatable read', default_transaction_deferrable: 'on' },
  { default_transaction_isolation: 'serializable', session_replication_role: 'replica' },
  { datestyle: 'SQL, DMY', timezone: 'Asia/Shanghai', intervalstyle: 'sql_standard' },
  { datestyle: 'German', timezone: 'Asia/Jakarta', intervalstyle: 'iso_8601' },
  { datestyle: 'Postgres, YMD', timezone: 'America/St_Johns', timezone_abbreviations: 'Australia' },
  { standard_conforming_strings: 'off', backslash_quote: 'off', escape_string_warning: 'off' },
  { extra_float_digits: '-15', bytea_output: 'escape', timezone: 'Pacific/Kiritimati' },
  {
    quote_all_identifiers: 'on',
    array_nulls: 'off',
    transform_null_equals: 'on',
    xmlbinary: 'hex',
  },
  { search_path: 'pg_temp, public, pg_catalog', row_security: 'off', check_function_bodies: 'off' },
  {
    'plpgsql.extra_errors': 'all',
    'plpgsql.extra_warnings': 'all',
    'plpgsql.variable_conflict': 'use_column',
  },
  { 'plpgsql.variable_conflict': 'use_variable', 'plpgsql.print_strict_params': 'on' },
  {
    idle_session_timeout: '300ms',
    idle_in_transaction_session_timeout: '5s',
    lock_timeout: '5s',
    statement_timeout: '20s',
    transaction_timeout: '20s',
  },
  {
    client_min_messages: 'debug1',
    log_min_messages: 'debug1',
    log_statement: 'all',
    track_activities: 'off',
    track_counts: 'off',
    track_functions: 'all',
    client_connection_check_interval: '100ms',
    synchronous_commit: 'off',
  },
  {
    plan_cache_mode: 'force_custom_plan',
    jit: 'on',
    debug_parallel_query: 'on',
    parallel_setup_cost: '0',
    min_parallel_table_scan_size: '0',
    geqo_threshold: '2',
    join_collapse_limit: '1',
    from_collapse_limit: '1',
    cursor_tuple_fraction: '1',
    default_statistics_target: '1',
    seq_page_cost: '1000',
  },
  {
    enable_indexscan: 'off',
    enable_indexonlyscan: 'off',
    enable_tidscan: 'off',
    enable_nestloop: 'off',
    enable_material: 'off',
    enable_memoize: 'off',
    enable_sort: 'off',
    enable_hashagg: 'off',
    enable_incremental_sort: 'off',
    enable_partition_pruning: 'off',
    constraint_exclusion: 'off',
  },
  {
    work_mem: '64kB',
    temp_buffers: '800kB',
    gin_fuzzy_search_limit: '1',
    default_toast_compression: 'pglz',
    default_text_search_config: 'simple',
    restrict_nonsystem_relation_kind: 'foreign-table',
    createrole_self_grant: 'set',
    lo_compat_privileges: 'on',
    lc_monetary: 'C',
    lc_numeric: 'C',
    lc_time: 'C',
  },
];

/**
 * Time-outs that would end the statement that sets them otherwise, were it not tried again. Not behind a transaction
 * pooler, where they hold.
 */
export const TIGHT: Readonly<Record<string, string>> = {
  statement_timeout: '5ms',
  lock_timeout: '1ms',
  idle_session_timeout: '200ms',
  idle_in_transaction_session_timeout: '5ms',
  transaction_timeout: '50ms',
};

/** Sets all of them on the database of this URL, for sessions that begin later. */
export async function setAll(
  url: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    const { rows } = await client.query('select current_database() as name');
    for (const [name, value] of Object.entries(settings)) {
      const parts = name.split('.').map((part) => client.escapeIdentifier(part));
      const list = name === 'search_path' ? value : client.escapeLiteral(value);
      await client
        .query(`alter database ${rows[0].name} set ${parts.join('.')} = ${list}`)
        .catch((error: { code?: string }) => {
          // an older or newer server may not know it
          if (error.code !== '42704') throw error;
        });
    }
  } finally {
    await client.end();
  }
}
