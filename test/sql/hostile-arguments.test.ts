import { readFileSync } from 'node:fs';
import path from 'node:path';
import type pg from 'pg';
import { describe, expect } from 'vitest';
import { Random } from '../../torture/random.js';
import type { Engine } from '../support/engine.js';
import { HOSTILE, hostileCopies } from '../support/hostile-values.js';
import { test } from '../support/sql-test.js';

interface PublicFunction {
  readonly name: string;
  readonly parameters: readonly { readonly name: string; readonly type: string }[];
}

/** What a call did: null where it was carried out. */
interface Outcome {
  readonly call: string;
  readonly error: string | null;
}

const DOCUMENTED = new Set(
  [
    ...readFileSync(path.join(import.meta.dirname, '../../docs/sql.md'), 'utf8').matchAll(
      /`(\w+)\(/g,
    ),
  ].map(([, name]) => name),
);

/** Of one database that is named in docs/sql.md, in the catalogue's own words. */
async function publicFunctions(db: Engine): Promise<PublicFunction[]> {
  const rows = await db.rows<{ name: string; names: string[]; types: string[] }>(
    `select p.proname as name, coalesce(p.proargnames[1:p.pronargs], '{}') as names,
      array(select format_type(t, null) from unnest(p.proargtypes) with ordinality u (t, n) order by n) as types
    from pg_proc p where p.pronamespace = 'howdah'::regnamespace order by 1`,
  );
  return rows
    .filter(({ name }) => DOCUMENTED.has(name))
    .map(({ name, names, types }) => ({
      name,
      parameters: types.map((type, i) => ({ name: names[i] ?? '', type })),
    }));
}

interface Things {
  readonly lease: string;
  readonly pulled: string;
  readonly held: readonly string[];
  readonly waiting: string;
  readonly batch: string;
}

/** Something of every kind, so that calls get past what they look up. */
async function setUp(db: Engine): Promise<Things> {
  await db.rows(
    `select howdah.create_queue(q, '{"backoff_ms": 1}') from unnest('{hostile,other}'::text[]) q`,
  );
  await db.rows(`select howdah.alter_queue('other', '{"breaker_failures": 5, "concurrency_max": 5,
    "rate_max": 100, "group_rate_max": 50, "max_depth": 100}')`);
  await db.rows(
    `select howdah.put_schedule('nightly', '{"cron": "0 3 * * *", "queue": "hostile"}')`,
  );
  await db.rows(`select howdah.subscribe('topic', 'hostile'), howdah.subscribe('topic', 'other')`);
  const batch = await db.one<string>('select howdah.open_batch()');
  await db.enqueue('hostile', 10, { group: 'g' });
  await db.enqueue('hostile', 10, { batch });
  await db.enqueue('other', 5, { dedupe: { key: 'k', mode: 'latest' } });
  await db.enqueue('other', 5);
  const [waiting = ''] = await db.enqueue('hostile', 1, { delay_ms: 60_000 });
  const lease = await db.openLease();
  const held = (await db.claim('hostile', lease, 5)).map(({ id }) => id);
  await db.rows(`select howdah.settle($1, $2)`, [
    lease,
    JSON.stringify([
      { id: held.pop(), attempt: 1, outcome: 'dead_letter', error: { message: 'm' } },
    ]),
  ]);
  const pulled = await db.one<string>(`select lease_id from howdah.receive('other', 2, 60000)`);
  return { lease, pulled, held, waiting, batch };
}

/** A plausible value of a parameter, beside hostile ones. */
function plausible(fn: string, parameter: string, type: string, things: Things): readonly string[] {
  const id = things.held[0] ?? '0';
  const job = (more: object): string =>
    JSON.stringify({ queue: 'hostile', payload: { a: [1] }, ...more });
  const ask = {
    id,
    attempt: 1,
    outcome: 'fail',
    error: { message: 'm' },
    delay_ms: 1,
    reason: 'r',
  };
  const gone = { id: '1', attempt: 1, outcome: 'complete', xact: '1', xact_at: '1700000000000000' };
  const schedule = {
    cron: '0 3 * * *',
    zone: 'UTC',
    missed: 'all',
    missed_max: 5,
    queue: 'hostile',
  };
  const json: Record<string, readonly string[]> = {
    enqueue: [
      job({ priority: 1, delay_ms: 5, ttl_ms: 5, max_attempts: 2, headers: { h: 1 }, weight: 1 }),
      job({ run_at: '2030-01-01T00:00:00Z', group: 'g', batch: things.batch }),
      job({
        queue: 'other',
        dedupe: { key: 'k', window_ms: 10, mode: 'replace' },
        on_full: 'drop_oldest',
      }),
      `[${job({})},${job({ queue: 'other', dedupe: { key: 'k', mode: 'latest' } })}]`,
      JSON.stringify({ queue: 'other', payloads: [1, 2], priority: 2 }),
    ],
    publish: [JSON.stringify({ topic: 'topic', payload: 1, headers: {}, dedupe: { key: 'k' } })],
    create_queue: [
      '{"max_attempts": 5, "backoff": "fixed", "backoff_ms": 1, "backoff_jitter": 0.5, "timeout_ms": 1, "ttl_ms": 1}',
      '{"delay_ms": 1, "visibility_ms": 100, "payload_bytes_max": 100, "retention_ms": 0, "max_crashes": 1}',
      '{"group_concurrency": 1, "group_rate_max": 1, "group_rate_ms": 1, "group_rate_burst": 1, "concurrency_max": 1}',
      '{"rate_max": 1, "rate_ms": 1, "rate_burst": 1, "breaker_failures": 1, "breaker_window_ms": 1}',
      '{"breaker_cooldown_ms": 1, "ageing_ms": 1000, "dead_letter_queue": "other", "max_depth": 1, "max_bytes": 1}',
    ],
    settle: [
      ...[
        'fail',
        'complete',
        'snooze',
        'release',
        'rate_limited',
        'dead_letter',
        'cancel',
        'expire',
      ].map((outcome) => JSON.stringify([{ ...ask, outcome, result: 1 }])),
      JSON.stringify([gone]),
    ],
    settle_received: [JSON.stringify([{ lease: things.pulled, ...ask }])],
    complete_many: [JSON.stringify({ [id]: { a: 1 } })],
    report: [
      JSON.stringify([
        {
          id,
          attempt: 1,
          progress: 5,
          lines: [{ level: 'info', message: 'm', fields: {}, ago_ms: 1 }],
          dropped: 1,
        },
      ]),
    ],
    open_batch: [JSON.stringify({ name: 'n', on_complete: { queue: 'hostile', payload: 1 } })],
    open_lease: [JSON.stringify({ queues: ['hostile'] })],
    put_schedule: [JSON.stringify({ ...schedule, headers: { h: 1 }, dedupe: { key: 'k' } })],
    sync_schedules: [JSON.stringify([{ name: 'n', ...schedule }])],
    fire_schedules: [
      JSON.stringify([
        {
          id: '1',
          revision: 1,
          runs: [1_900_000_000_000],
          skipped: 1_800_000_000_000,
          after: 1_900_000_000_000,
          next: 2e12,
          error: null,
        },
      ]),
    ],
    cancel_jobs: [
      JSON.stringify({
        queue: 'hostile',
        state: ['ready'],
        group: 'g',
        since: '2020-01-01',
        until: '2030-01-01',
        older_than_ms: 1,
        payload: {},
      }),
    ],
    edit_job: [
      JSON.stringify({ payload: 1, headers: { a: 1 }, priority: 1, delay_ms: 1 }),
      JSON.stringify({ run_at: '2030-01-01T00:00:00Z' }),
    ],
    redrive: [
      JSON.stringify({
        queue: 'hostile',
        dead_letter_queue: 'dead-letters',
        reason: 'r',
        error: 'm',
        fingerprint: 'f',
        since: '2020-01-01',
        until: '2030-01-01',
        payload: {},
        ids: [1],
      }),
    ],
  };
  const all: Record<string, readonly string[]> = {
    p_lease_id: [fn === 'extend_job' ? things.pulled : things.lease],
    p_id: [fn.includes('batch') ? things.batch : fn === 'edit_job' ? things.waiting : id],
    p_attempt: ['1'],
    p_attempts: ['{1}'],
    p_add: [`{${id}}`],
    p_look: [`{${id}}`],
    p_progress: [`{${id}}`],
    p_known: [`{${id}}`],
    p_company: [`{${id}}`],
    p_first: ['{1,2}'],
    p_lanes: ['{201,199}'],
    p_after: ['{1,1}'],
    p_ids: [`{${id}}`, `{${things.waiting}}`],
    p_queues: ['{hostile,other}'],
    p_name: [fn.includes('schedule') ? 'nightly' : 'hostile'],
    p_worker: ['tester'],
    p_topic: ['topic'],
    p_owner: ['app'],
    p_state: ['open'],
    p_mode: ['one'],
    p_on_error: ['raise', 'report'],
    p_payloads: ['together', 'apart', 'none'],
  };
  if (type === 'jsonb') {
    const like = { alter_queue: 'create_queue', complete: 'fail', discard: 'redrive' }[fn] ?? fn;
    return json[like] ?? ['{"a": 1}'];
  }
  const known = all[parameter];
  if (known?.[0]?.startsWith('{') === type.endsWith('[]')) return known ?? [];
  if (parameter.includes('queue') && type === 'text') return ['hostile', 'other'];
  return (
    { text: ['text'], integer: ['1000'], bigint: ['1000'] }[type] ??
    HOSTILE[type]?.slice(0, 1) ??
    []
  );
}

const quote = (text: string): string =>
  text.includes('\\')
    ? `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
    : `'${text.replaceAll("'", "''")}'`;

/** Calls of a function, each with something hostile in one parameter; and with null in all of them. */
function* callsOf({ name, parameters }: PublicFunction, things: Things): Generator<string> {
  const good = parameters.map((p) => plausible(name, p.name, p.type, things));
  const call = (values: readonly (string | null | undefined)[]): string =>
    `select count(*) from howdah.${name}(${parameters
      .map((p, i) => `${p.name} => ${values[i] == null ? 'null' : quote(values[i])}::${p.type}`)
      .join(', ')})`;
  yield call(parameters.map(() => null));
  const most = Math.max(1, ...good.map(({ length }) => length));
  for (let way = 0; way < most; way += 1) {
    const base: (string | undefined)[] = good.map((values) => values[way % values.length]);
    yield call(base);
    for (const [i, { type }] of parameters.entries()) {
      const hostile = type === 'jsonb' ? hostileCopies(base[i] ?? '{}') : (HOSTILE[type] ?? []);
      yield call(base.with(i, undefined));
      for (const value of hostile) yield call(base.with(i, value));
    }
  }
}

/** Carries calls out, each in a transaction of its own; `keeps`: what was carried out stays. */
async function attempt(
  client: pg.PoolClient,
  calls: readonly string[],
  keeps: boolean,
): Promise<Outcome[]> {
  await client.query(`create or replace function pg_temp.attempt(p_call text, p_keeps boolean) returns text
    language plpgsql as $$ begin
      execute p_call;
      if not p_keeps then raise exception 'carried out' using errcode = 'ZZ001'; end if;
      return null;
    exception when sqlstate 'ZZ001' then return null;
      when others then return sqlstate || ' ' || sqlerrm;
    end $$`);
  const outcomes: Outcome[] = [];
  for (let at = 0; at < calls.length; at += 200) {
    const { rows } = await client.query<Outcome>(
      'select c as call, pg_temp.attempt(c, $2) as error from unnest($1::text[]) c',
      [calls.slice(at, at + 200), keeps],
    );
    outcomes.push(...rows);
  }
  return outcomes;
}

const short = (text: string): string =>
  text.length > 400 ? `${text.slice(0, 200)}…${text.slice(-150)}` : text;

/** Errors that are not of class HW, and why they are right. */
const OTHERS = new Map([['enqueue_many', '22P02']]); // its text is no JSON at all

describe('every function that people call, with hostile arguments', () => {
  test('fails with an error of its own, and leaves nothing half-written', async ({ pool, db }) => {
    const things = await setUp(db);
    const client = await pool.connect();
    const functions = await publicFunctions(db);
    expect(functions.length).toBeGreaterThan(60);
    const random = new Random('hostile');
    const wrong: string[] = [];
    const again: string[] = [];
    let refused = 0;
    try {
      for (const fn of functions) {
        const calls = [...callsOf(fn, things)];
        again.push(...calls.filter(() => random.chance(0.1)));
        for (const { call, error } of await attempt(client, calls, false)) {
          if (error === null) continue;
          refused += 1;
          if (error.startsWith('HW') || error.slice(0, 5) === OTHERS.get(fn.name)) continue;
          wrong.push(`${fn.name} ${short(error)}\n    ${short(call)}`);
        }
      }
      expect(wrong).toEqual([]);
      expect(refused).toBeGreaterThan(1000);
      // those that are carried out stay this time
      const outcomes = await attempt(client, random.shuffle(again), true);
      expect(outcomes.filter(({ error }) => error === null).length).toBeGreaterThan(100);
      await db.expectTruth();
    } finally {
      client.release(true);
    }
  }, 240_000);
});
