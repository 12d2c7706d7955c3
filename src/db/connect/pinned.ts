/** Name and value of a setting of PostgreSQL. */
export type Setting = readonly [name: string, value: string];

/** statement_timeout bounds each statement; a listener is idle for hours, and that is its work. */
export const TIMEOUTS: readonly Setting[] = [
  ['lock_timeout', '0'],
  ['transaction_timeout', '0'],
  ['idle_session_timeout', '0'],
  ['idle_in_transaction_session_timeout', '0'],
];

/**
 * What a connection of our own depends on, whatever the server, the database or the role has set. Nobody
 * else's statements run on it. Plans are forced by the functions themselves.
 */
export const PINNED: readonly Setting[] = [
  // a lease is given back in read committed only
  ['default_transaction_isolation', 'read committed'],
  ['default_transaction_deferrable', 'off'],
  ['search_path', 'pg_catalog'],
  ['DateStyle', 'ISO, MDY'],
  ['IntervalStyle', 'postgres'],
  ['TimeZone', 'UTC'],
  ['extra_float_digits', '1'],
  ['bytea_output', 'hex'],
  ['standard_conforming_strings', 'on'],
  ...TIMEOUTS,
  ['plpgsql.extra_errors', 'none'],
];
