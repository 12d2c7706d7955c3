import pg from 'pg';
import { treeSeconds } from './cpu.js';

// Durability as delivered; memory and WAL sized so that a run is not cut by a checkpoint, and that files of the
// WAL are used again: see reuseWal().
const SETTINGS = {
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: '1GB',
  max_wal_size: '8GB',
  min_wal_size: '2GB',
  checkpoint_timeout: '30min',
  max_connections: '200',
  // Loaded for everybody, switched on only in databases that ask for it: trackStatements().
  shared_preload_libraries: 'pg_stat_statements',
  'pg_stat_statements.track': 'none',
};
/** What `min_wal_size` keeps. */
const WAL_FILES = 128;
const PROFILING = {
  'pg_stat_statements.track': 'all',
  'pg_stat_statements.track_planning': 'on',
};
const SHOWN = [...Object.keys(SETTINGS), 'wal_level', 'autovacuum', 'jit', 'wal_sync_method'];

/** The PostgreSQL under test: its own durable one, or the one of `url`. */
export class PostgresServer {
  static async start(url, { isProfiled = false } = {}) {
    if (url) return new PostgresServer(url, null);
    const { startEmbeddedPostgres } = await import('../../dist/embedded/index.js');
    const settings = { ...SETTINGS, ...(isProfiled && PROFILING) };
    const server = await startEmbeddedPostgres({ durable: true, settings });
    return new PostgresServer(server.url, server);
  }

  #server;
  #hasWal = false;

  constructor(url, server) {
    this.url = url;
    this.#server = server;
  }

  async describe() {
    return this.#withClient(this.url, async (client) => {
      const { rows: version } = await client.query('show server_version');
      const { rows } = await client.query(
        'select name, current_setting(name) as value from pg_settings where name = any ($1)',
        [SHOWN],
      );
      const settings = Object.fromEntries(rows.map((row) => [row.name, row.value]));
      return { version: version[0].server_version, settings };
    });
  }

  /** A fresh database; `drop` removes it with whoever is still connected. */
  async createDatabase(name) {
    await this.#withClient(this.url, (client) => client.query(`create database "${name}"`));
    const url = new URL(this.url);
    url.pathname = `/${name}`;
    const drop = () =>
      this.#withClient(this.url, (client) => client.query(`drop database "${name}" with (force)`));
    return { url: url.href, drop };
  }

  async connect(url) {
    const client = new pg.Client(url);
    client.on('error', () => {}); // of a run that failed: its database is dropped under it
    await client.connect();
    return client;
  }

  async query(url, text, values) {
    return this.#withClient(url, async (client) => (await client.query(text, values)).rows);
  }

  /**
   * Settles what a bulk load left: the same start for everybody. No checkpoint: it would charge the run
   * with a full image of every page, which jobs that live for seconds do not cost.
   */
  async settle(url) {
    await this.query(url, 'vacuum (analyze)');
  }

  /**
   * Between runs: files of the WAL that are done with are renamed to those that come next, as in any server
   * that has run for a while. A new server makes each file when it is needed, and fills it with zeros while
   * all commits wait. Of a server of yours nothing is asked.
   */
  async reuseWal() {
    if (!this.#server) return;
    const files = this.#hasWal ? 0 : WAL_FILES;
    this.#hasWal = true;
    await this.#withClient(this.url, async (client) => {
      for (let i = 0; i < files; i++) {
        await client.query("select pg_logical_emit_message(false, 'bench', 'begin a file')");
        await client.query('select pg_switch_wal()');
      }
      await client.query('checkpoint');
    });
  }

  /**
   * Before the first run: each shared buffer is used once, as in any server that has run for a while. The
   * system hands out memory, and clears it, when it is touched first: whoever came first would pay for all
   * of it (a drain of a million jobs was a fifth slower). Of a server of yours nothing is asked.
   */
  async touchBuffers() {
    if (!this.#server) return;
    await this.#withClient(this.url, async (client) => {
      // a page for each row; a plain INSERT takes any buffer, where a scan or COPY goes round in a few
      await client.query('create unlogged table pages (pad text) with (fillfactor = 10)');
      await client.query(
        `insert into pages select repeat('x', 800) from generate_series(1,
          (select setting::int from pg_settings where name = 'shared_buffers'))`,
      );
      await client.query('drop table pages');
    });
  }

  /** A session that holds a snapshot until `release`. */
  async holdSnapshot(url) {
    const client = await this.connect(url);
    await client.query('begin isolation level repeatable read');
    await client.query('select count(*) from pg_class');
    return { release: () => client.end() };
  }

  /** What the server has done so far: subtract two readings. */
  async meter(url) {
    const [row] = await this.query(
      url,
      `select pg_current_wal_insert_lsn() - '0/0' as wal_bytes, ${await this.#fsyncs(url)} as fsyncs,
         (select sum(n_tup_upd) from pg_stat_user_tables) as updated,
         (select sum(n_tup_hot_upd) from pg_stat_user_tables) as hot`,
    );
    const numbers = Object.fromEntries(Object.entries(row).map(([key, v]) => [key, Number(v)]));
    return { ...numbers, cpuSeconds: this.#server ? treeSeconds(this.#server.pid) : Number.NaN };
  }

  /** Since PostgreSQL 18 pg_stat_io has those of the WAL, which before are all that counts here. */
  async #fsyncs(url) {
    const [{ version }] = await this.query(
      url,
      "select current_setting('server_version_num')::int as version",
    );
    if (version >= 180_000) return '(select sum(fsyncs) from pg_stat_io)';
    return version >= 140_000 ? '(select wal_sync from pg_stat_wal)' : "'NaN'::float8";
  }

  /** From the next connection on, the statements sent to this database are counted. */
  async trackStatements(url) {
    const name = new URL(url).pathname.slice(1);
    await this.query(this.url, 'create extension if not exists pg_stat_statements');
    await this.query(this.url, `alter database "${name}" set pg_stat_statements.track = 'top'`);
  }

  /** Statements sent to a tracked database whose text is LIKE `pattern`: how many, and their time. */
  async statements(url, pattern = '%') {
    const [row] = await this.query(
      this.url,
      `select coalesce(sum(calls), 0)::float8 as calls,
         coalesce(sum(total_exec_time), 0)::float8 as ms, coalesce(max(max_exec_time), 0) as worst
       from pg_stat_statements s join pg_database d on d.oid = s.dbid
       where d.datname = $1 and s.query like $2`,
      [new URL(url).pathname.slice(1), pattern],
    );
    return row;
  }

  /** Rows written to Howdah's tables, as sessions have reported, and dead ones: read, not estimated. */
  async rowsWritten(url) {
    await this.query(url, 'create extension if not exists pgstattuple');
    const [row] = await this.query(
      url,
      `select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::float8 as written,
         coalesce(sum((pgstattuple(relid)).dead_tuple_count), 0)::float8 as dead
       from pg_stat_user_tables join pg_class c on c.oid = relid
       where schemaname = 'howdah' and c.relkind = 'r'`,
    );
    return row;
  }

  /** Where a database's time went, statements within functions included. For servers of `--profile`. */
  async profile(url) {
    await this.query(url, 'create extension if not exists pg_stat_statements');
    const rows = await this.query(
      url,
      `select round(total_exec_time)::int as ms, calls::int, shared_blks_hit::int as hits,
         (wal_bytes / 1024)::int as wal_kib, case when toplevel then '' else '  ' end
           || left(regexp_replace(query, '\\s+', ' ', 'g'), 90) as query
       from pg_stat_statements join pg_database d on d.oid = dbid
       where datname = current_database() order by total_exec_time desc limit 15`,
    );
    return ['ms  calls  hits  WAL KiB', ...rows.map((row) => Object.values(row).join('  '))];
  }

  get pid() {
    return this.#server?.pid;
  }

  async stop() {
    await this.#server?.stop();
  }

  async #withClient(url, run) {
    const client = await this.connect(url);
    try {
      return await run(client);
    } finally {
      await client.end();
    }
  }
}
