import { migrate, printMigrations } from 'howdah';
import pg from 'pg';
import { describe, expect } from 'vitest';
import { SCHEMA_VERSION } from '../../src/db/version.js';
import { test } from '../support/sql-test.js';

const FUNCTIONS = `select p.oid::regprocedure::text as name, p.prosecdef as definer,
    coalesce(array_to_string(p.proconfig, ';'), '') as settings, p.proacl::text as acl,
    has_function_privilege('stranger', p.oid, 'execute') as open
  from pg_proc p where p.pronamespace = 'howdah'::regnamespace order by 1`;

describe('privileges', () => {
  test('every SECURITY DEFINER function has a pinned path that ends in pg_temp; PUBLIC may call none', async ({
    db,
  }) => {
    await db.rows('create role stranger').catch(() => undefined);
    const rows = await db.rows<{ name: string; definer: boolean; settings: string; open: boolean }>(
      FUNCTIONS,
    );
    expect(rows.length).toBeGreaterThan(50);
    expect(rows.filter(({ open }) => open).map(({ name }) => name)).toEqual([]);
    const definers = rows.filter(({ definer }) => definer);
    expect(definers.length).toBeGreaterThan(40);
    for (const { name, settings } of definers) {
      expect(settings, name).toMatch(/(^|;)search_path="?howdah"?, pg_temp(;|$)/);
    }
    // the others run as their caller, with names that need no path
    const invokers = rows
      .filter(({ definer }) => !definer)
      .map(({ name }) => name.replace(/\(.*/, '').replace('howdah.', ''));
    expect(invokers.sort()).toEqual([
      '_add_error',
      '_attempts_of',
      '_backoff_ms',
      '_bucket_size',
      '_claim_limit',
      '_day_start',
      '_fits_dead',
      '_has_options',
      '_has_wide_options',
      '_is_alone',
      '_is_bad_dedupe',
      '_is_out_of_range',
      '_is_too_deep',
      '_is_too_long',
      '_is_weight_wrong',
      '_is_wide',
      '_job_problem',
      '_kept_result',
      '_lane_starts',
      '_left_group',
      '_lock_lease',
      '_ms_to_time',
      '_ms_until',
      '_new_head',
      '_next_lane',
      '_notify_lease',
      '_number_problem',
      '_plain_lane',
      '_refill_ms',
      '_refuse_claim',
      '_run_at_of',
      '_schedule_job',
      '_smoothed_rate',
      '_suspect_lane',
      '_with_header',
      'clock',
      'error_fingerprint',
      'has_exponent',
      'lane_priority',
    ]);
  });

  test('whoever may call all that is not private needs no right on what is', async ({ db }) => {
    // with the rights of the caller: the body of a function, and the functions that a view calls
    expect(
      await db.rows(`select proname from pg_proc where pronamespace = 'howdah'::regnamespace
        and not prosecdef and not starts_with(proname, '_') and prosrc ~ '(^|[^[:alnum:]_])_[a-z]'`),
    ).toEqual([]);
    expect(
      await db.rows(`select c.relname as view, p.proname from pg_rewrite r
        join pg_class c on c.oid = r.ev_class
        join pg_depend d on d.objid = r.oid and d.classid = 'pg_rewrite'::regclass
          and d.refclassid = 'pg_proc'::regclass
        join pg_proc p on p.oid = d.refobjid
        where p.pronamespace = 'howdah'::regnamespace and starts_with(p.proname, '_')`),
    ).toEqual([]);
  });

  test('a view has a good name, what is a table of Howdah none', async ({ db }) => {
    const wrong = `select relname from pg_class where relnamespace = 'howdah'::regnamespace
      and relkind in ('r', 'p', 'v', 'm', 'c') and (relkind = 'v') = starts_with(relname, '_')
      and relname <> 'migration'`;
    expect(await db.rows(wrong)).toEqual([]);
  });

  test('no body has a plain literal with a backslash: standard_conforming_strings may be off where it is called', async ({
    db,
  }) => {
    const rows = await db.rows<{ name: string; body: string }>(
      `select p.oid::regprocedure::text as name, p.prosrc as body from pg_proc p
      where p.pronamespace = 'howdah'::regnamespace and strpos(p.prosrc, chr(92)) > 0`,
    );
    expect(rows.length).toBeGreaterThan(0);
    for (const { name, body } of rows) {
      const plain = body.replace(/--[^\n]*/g, '').replace(/\bE'(?:[^'\\]|\\.|'')*'/g, '');
      expect(plain, name).not.toContain('\\');
    }
  });

  test('a stranger reaches no function, table or view', async ({ pool, db }) => {
    await db.rows('create role stranger').catch(() => undefined);
    const client = await pool.connect();
    await client.query('set role stranger');
    for (const text of [
      `select howdah.create_queue('x')`,
      `select * from howdah.enqueue('[]')`,
      'select * from howdah._jobs',
      'select * from howdah.job_states',
      'select * from howdah.queue_stats',
      `select nextval('howdah.job_seq')`,
    ]) {
      await expect(client.query(text), text).rejects.toMatchObject({ code: '42501' });
    }
    await client.query('reset role');
    client.release();
  });

  test('nobody else holds up upkeep, migrations or schedules, whatever locks a role can take', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    const role = `howdah_nothing_${process.pid}`;
    const [owner, nothing] = [new pg.Client(url), new pg.Client(url)];
    await owner.connect();
    await nothing.connect();
    await owner.query(`create role ${role}`);
    try {
      await nothing.query(`set role ${role}`);
      // every key that the names and numbers of this schema could be made into
      await nothing.query(`select pg_advisory_lock(hashtext(what), hashtext('howdah')) from unnest(array[
        'howdah prune', 'howdah migrate', 'howdah schedules app', 'howdah clock', 'howdah']) what`);
      await owner.query(`set lock_timeout = '2s'`);
      await owner.query('select howdah.prune()');
      await owner.query(`select howdah.sync_schedules('app', '[]')`);
      expect(await migrate({ url, lockTimeout: '2s' })).toMatchObject({ applied: [] });
      const { rows } = await owner.query(`select p.proname from pg_proc p
        where p.pronamespace = 'howdah'::regnamespace and p.prosrc ~ 'advisory'`);
      expect(rows).toEqual([]);
      await expect(nothing.query('select from howdah._locks for update')).rejects.toMatchObject({
        code: '42501',
      });
    } finally {
      await nothing.end();
      await owner.query(`drop role ${role}`);
      await owner.end();
    }
  });

  test('PUBLIC has nothing in the schema at any version, on the way up and down', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('empty');
    const client = new pg.Client(url);
    await client.connect();
    const open = async (): Promise<unknown[]> =>
      (
        await client.query(`
          select p.oid::regprocedure::text from pg_proc p
            left join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a on true
          where p.pronamespace = 'howdah'::regnamespace and a.grantee = 0
          union all
          select c.oid::regclass::text from pg_class c, aclexplode(c.relacl) a
          where c.relnamespace = 'howdah'::regnamespace and a.grantee = 0
          union all
          select 'schema' from pg_namespace n, aclexplode(n.nspacl) a
          where n.nspname = 'howdah' and a.grantee = 0`)
      ).rows;
    try {
      for (let to = 1; to <= SCHEMA_VERSION; to += 1) {
        await client.query(await printMigrations({ from: to - 1, to }));
        expect(await open(), `version ${to}`).toEqual([]);
      }
      for (const to of [SCHEMA_VERSION - 1, 10, 4]) {
        await migrate({ url, to });
        expect(await open(), `down to version ${to}`).toEqual([]);
      }
    } finally {
      await client.end();
    }
  });

  test('only one function notifies, and it does so below a safe fill of the queue', async ({
    db,
  }) => {
    const rows = await db.rows<{ name: string; body: string }>(
      `select proname as name, prosrc as body from pg_proc
      where pronamespace = 'howdah'::regnamespace and prosrc ~* '\\m(pg_)?notify\\M'`,
    );
    expect(rows.map(({ name }) => name)).toEqual(['_notify_lease']);
    expect(rows[0]?.body).toContain('pg_notification_queue_usage() < 0.5');
  });

  test('names of the caller do not reach into a definer function', async ({ pool, db }) => {
    await db.createQueue('hijack');
    const client = await pool.connect();
    await client.query('create temp table _queues (id int, name text)');
    await client.query('create schema evil');
    await client.query(
      `create function evil.nextval(text) returns bigint language sql as 'select 1/0'`,
    );
    await client.query('set search_path = evil, pg_temp, howdah, pg_catalog');
    const { rows } = await client.query(
      `select created from howdah.enqueue('{"queue": "hijack", "payload": 1}')`,
    );
    expect(rows).toEqual([{ created: true }]);
    client.release(true);
  });
});

describe('the hot path', () => {
  test('no index and no index predicate names a column that a claim writes', async ({ db }) => {
    const rows = await db.rows<{ indexdef: string }>(
      `select indexdef from pg_indexes where schemaname = 'howdah' and tablename = '_jobs'`,
    );
    expect(rows).toHaveLength(9);
    for (const { indexdef } of rows) {
      expect(indexdef).not.toMatch(/lease_id|attempt|claimed_at|cancel_requested/);
    }
  });

  test('claims are heap-only updates: a drain keeps n_tup_hot_upd / n_tup_upd at 0.9 or more', async ({
    createDatabase,
  }) => {
    const url = await createDatabase('migrated');
    const client = new (await import('pg')).default.Client(url);
    await client.connect();
    const db = new (await import('../support/engine.js')).Engine(client);
    await db.createQueue('drain');
    await db.rows(`select count(*) from howdah.enqueue((select jsonb_agg(jsonb_build_object('queue', 'drain',
      'payload', jsonb_build_object('text', repeat('x', 180)))) from generate_series(1, 20000)))`);
    const lease = await db.openLease();
    let cursors = {};
    for (
      let jobs = await db.claim('drain', lease, 500);
      jobs.length > 0;
      jobs = await db.claim('drain', lease, 500, cursors)
    ) {
      cursors = { 201: jobs.at(-1)?.seq };
      await db.complete(lease, jobs);
    }
    await expect
      .poll(
        async () => {
          const [row] = await db.rows<{ upd: string; hot: string }>(
            `select n_tup_upd as upd, n_tup_hot_upd as hot from pg_stat_user_tables where relname = '_jobs'`,
          );
          return Number(row?.upd) >= 20_000 ? Number(row?.hot) / Number(row?.upd) : 0;
        },
        { timeout: 10_000 },
      )
      .toBeGreaterThanOrEqual(0.9);
    await client.end();
  });

  test('a claim reads as few pages of 200,000 ready jobs as of 2,000, without statistics', async ({
    pool,
    db,
  }) => {
    const client = await pool.connect();
    const buffers = async (
      queue: string,
      lease: string,
    ): Promise<{ pages: number; plans: string }> => {
      const notices: string[] = [];
      const onNotice = ({ message }: { message?: string }) => notices.push(String(message));
      client.on('notice', onNotice);
      await client.query(`load 'auto_explain'`);
      await client.query(`set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
        set auto_explain.log_analyze = on; set auto_explain.log_buffers = on; set client_min_messages = log`);
      await client.query('select * from howdah.claim($1, $2, 10)', [queue, lease]);
      await client.query('reset client_min_messages; set auto_explain.log_min_duration = -1');
      client.off('notice', onNotice);
      const plans = notices.join('\n');
      // the outermost node of the whole statement comes last
      const last = plans.slice(plans.lastIndexOf('Function Scan on claim'));
      const [, hit = '0'] = /shared hit=(\d+)/.exec(last) ?? [];
      const [, read = '0'] = /Buffers:[^\n]* read=(\d+)/.exec(last) ?? [];
      return { pages: Number(hit) + Number(read), plans };
    };
    const results: number[] = [];
    for (const [queue, count] of [
      ['two', 2000],
      ['many', 200_000],
    ] as const) {
      await db.createQueue(queue);
      await db.rows(
        `select count(*) from howdah.enqueue((select jsonb_agg(jsonb_build_object('queue', $1::text, 'payload', 1))
           from generate_series(1, $2)))`,
        [queue, count],
      );
      const lease = await db.openLease();
      await client.query('select * from howdah.claim($1, $2, 10)', [queue, lease]); // warm
      const { pages, plans } = await buffers(queue, lease);
      expect(plans).toContain('jobs_claim_idx');
      expect(plans).not.toMatch(/Seq Scan on _jobs|Bitmap|Sort Key: j\.seq/);
      results.push(pages);
    }
    client.release(true);
    expect(results[0]).toBeGreaterThan(10);
    expect(
      Math.abs((results[1] ?? 0) - (results[0] ?? 0)),
      `pages: ${results}`,
    ).toBeLessThanOrEqual(20);
  });
});

test('payloads are compressed with lz4 where the server can, those of new partitions too', async ({
  db,
}) => {
  await db.rows('select howdah.prune()');
  const [{ can }] = (await db.rows(
    `select 'lz4' = any (enumvals) as can from pg_settings where name = 'default_toast_compression'`,
  )) as [{ can: boolean }];
  const columns = await db.rows<{ table: string; compression: string }>(
    `select attrelid::regclass::text as table, attcompression::text as compression
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = 'howdah'::regnamespace and c.relkind in ('r', 'p')
      and (c.relname = '_jobs' or c.relname like '\\_history%') and attname = 'payload'`,
  );
  expect(columns.length).toBeGreaterThan(3);
  for (const { table, compression } of columns) {
    expect(compression, table).toBe(can ? 'l' : '');
  }
});
