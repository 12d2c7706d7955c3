import type { Executor } from '../executor.js';
import { distrustSql } from '../migrate/schema-trust.js';

/** The server and what this role may do there. */
export interface ServerFacts {
  readonly version: string;
  readonly versionNumber: number;
  readonly database: string;
  readonly role: string;
  readonly canCreate: boolean;
  readonly hasSchema: boolean;
  /** Null: no TLS. */
  readonly tls: string | null;
  readonly isLocal: boolean;
  /** The database's clock, Unix time in milliseconds. */
  readonly nowMs: number;
  readonly isAutovacuumOn: boolean;
  /** Of the database: UTF8, LATIN1, SQL_ASCII, ... */
  readonly encoding: string;
}

/** A transaction whose snapshot keeps dead rows from being removed. */
interface OldSnapshot {
  readonly holder: string;
  readonly ageMs: number | null;
  /** Transactions since. */
  readonly xids: number;
}

/** How the jobs table is updated. */
interface TableFacts {
  readonly updates: number;
  readonly hotUpdates: number;
  readonly deadRows: number;
  readonly liveRows: number;
  readonly isAutovacuumOff: boolean;
}

/** Leases that have expired and that nobody has cleared away. */
interface LeaseFacts {
  readonly alive: number;
  readonly expired: number;
  /** How long ago the first of the expired ones ended. */
  readonly oldestMs: number | null;
  readonly hasLeader: boolean;
}

export async function serverFacts(executor: Executor, schema: string): Promise<ServerFacts> {
  const text = `
    select current_setting('server_version') as version,
      current_setting('server_version_num')::integer as "versionNumber",
      current_database()::text as database, current_user::text as role,
      has_database_privilege(current_database(), 'CREATE') as "canCreate",
      to_regnamespace(quote_ident($1)) is not null as "hasSchema",
      (select s.version from pg_stat_ssl s where s.pid = pg_backend_pid()) as tls,
      coalesce(host(inet_client_addr()) in ('127.0.0.1', '::1'), true) as "isLocal",
      (extract(epoch from clock_timestamp()) * 1000)::numeric as "nowMs",
      current_setting('autovacuum') = 'on' as "isAutovacuumOn",
      current_setting('server_encoding') as encoding`;
  const [row] = await executor.query<ServerFacts>({ text }, [schema]);
  return row as ServerFacts;
}

/** Who could put something into the schema beside its owner; undefined: nobody. */
export async function strangerIn(executor: Executor, schema: string): Promise<string | undefined> {
  const [row] = await executor.query<{ problem: string }>({ text: distrustSql(schema, 'owner') });
  return row?.problem;
}

/** Sends a notification to a channel of one's own. */
export async function notify(executor: Executor, channel: string, payload: string): Promise<void> {
  await executor.query({ text: 'select pg_notify($1, $2)' }, [channel, payload]);
}

/** The snapshot that holds back vacuum the most: of a session, a prepared transaction or a slot. */
export async function oldestSnapshot(executor: Executor): Promise<OldSnapshot | undefined> {
  const text = `
    select holder, (extract(epoch from clock_timestamp() - since) * 1000)::numeric as "ageMs",
      age(xmin)::numeric as xids
    from (
      select format('session %s of %s (%s, %s)', pid, usename,
          coalesce(nullif(application_name, ''), 'no name'), state) as holder,
        xact_start as since, backend_xmin as xmin
      from pg_stat_activity where backend_xmin is not null and pid <> pg_backend_pid()
      union all
      select format('prepared transaction %s of %s', gid, owner), prepared, transaction
      from pg_prepared_xacts where database = current_database()
      union all
      select format('replication slot %s', slot_name), null, xmin
      from pg_replication_slots where xmin is not null
    ) held
    order by age(xmin) desc limit 1`;
  return (await executor.query<OldSnapshot>({ text }))[0];
}

export async function jobsTableFacts(
  executor: Executor,
  schema: string,
): Promise<TableFacts | undefined> {
  const text = `
    select s.n_tup_upd::numeric as updates, s.n_tup_hot_upd::numeric as "hotUpdates",
      s.n_dead_tup::numeric as "deadRows", s.n_live_tup::numeric as "liveRows",
      coalesce(c.reloptions && array['autovacuum_enabled=false', 'autovacuum_enabled=off'], false)
        as "isAutovacuumOff"
    from pg_stat_user_tables s join pg_class c on c.oid = s.relid
    where s.schemaname = $1 and s.relname = '_jobs'`;
  return (await executor.query<TableFacts>({ text }, [schema]))[0];
}

/** @param sql replaces the name of the schema */
export async function leaseFacts(
  executor: Executor,
  sql: (text: string) => string,
): Promise<LeaseFacts> {
  const text = sql(`
    select count(*) filter (where alive)::integer as alive,
      count(*) filter (where not alive)::integer as expired,
      (extract(epoch from max(clock_timestamp() - expires_at) filter (where not alive)) * 1000)::numeric
        as "oldestMs",
      coalesce(bool_or(leads), false) as "hasLeader"
    from {{schema}}.workers`);
  const [row] = await executor.query<LeaseFacts>({ text });
  return row as LeaseFacts;
}

/** Sequences and rows that a restore, a switch-over or a truncation has left behind. @param sql replaces the name of the schema */
export async function leftBehind(
  executor: Executor,
  sql: (text: string) => string,
): Promise<readonly string[]> {
  const text = sql(`
    select 'the row of ' || m as what from {{schema}}.missing_rows() m
    union all
    select format('sequence %s is at %s, but %s is in use', name, last, used)
    from {{schema}}.lagging_sequences()`);
  return (await executor.query<{ what: string }>({ text })).map(({ what }) => what);
}

/** A ready job that lies where no claim begins. */
interface HiddenJob {
  readonly queue: string;
  readonly id: string;
}

/** @param sql replaces the name of the schema */
export async function hiddenJob(
  executor: Executor,
  sql: (text: string) => string,
): Promise<HiddenJob | undefined> {
  const text = sql('select queue, id::text from {{schema}}.hidden_jobs limit 1');
  return (await executor.query<HiddenJob>({ text }))[0];
}
