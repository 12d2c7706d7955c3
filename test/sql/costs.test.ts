import type pg from 'pg';
import { describe, expect } from 'vitest';
import { type Cost, costOf } from '../support/cost.js';
import type { Engine } from '../support/engine.js';
import { test } from '../support/sql-test.js';

/** Ten times as much work may cost so many times as much: what is quadratic costs a hundred times. */
const LINEAR = 25;

/** Fills a queue quickly. */
const fill = (db: Engine, queue: string, count: number) =>
  db.one(
    `select count(*) from howdah.enqueue(jsonb_build_object('queue', $1::text, 'payloads',
      (select jsonb_agg(i) from generate_series(1, $2::integer) i)))`,
    [queue, count],
  );

/** Members of so many groups, two of each. */
const fillGroups = (db: Engine, queue: string, groups: number) =>
  db.one(
    `select count(*) from howdah.enqueue((
      select jsonb_agg(jsonb_build_object('queue', $1::text, 'payload', k, 'group', 'g' || g))
      from generate_series(1, $2::integer) g, generate_series(1, 2) k))`,
    [queue, groups],
  );

const idsOf = (queue: string, limit: number): string =>
  `array(select j.id from howdah.jobs j where j.queue_id = (
    select q.id from howdah.queues q where q.name = '${queue}') order by j.id limit ${limit})`;

/** What ten times as much costs, in times of the CPU. */
async function growth(
  pool: pg.Pool,
  small: string,
  large: string,
): Promise<{ few: Cost; many: Cost; cpu: number }> {
  const few = await costOf(pool, small, 5);
  const many = await costOf(pool, large);
  return { few, many, cpu: many.cpuMs / Math.max(few.cpuMs, 0.5) };
}

describe('work for n jobs is linear in n', () => {
  test('lock_jobs', { timeout: 60_000 }, async ({ pool, db }) => {
    await db.createQueue('locked');
    await fill(db, 'locked', 20_000);
    const lock = (n: number) => `select howdah.lock_jobs(${idsOf('locked', n)})`;
    expect((await growth(pool, lock(2_000), lock(20_000))).cpu).toBeLessThan(LINEAR);
  });

  test('admit', { timeout: 60_000 }, async ({ pool, db }) => {
    await db.createQueue('admitted');
    await fillGroups(db, 'admitted', 20_000);
    const admit = (n: number) => `select howdah.admit(array(select j.id from howdah.jobs j
      where j.group_seq is not null order by j.group_seq limit ${n}), false)`;
    const { cpu } = await growth(pool, admit(2_000), admit(20_000));
    expect(cpu).toBeLessThan(LINEAR);
  });
});

describe('a step is bounded, whatever there is', () => {
  test('raising group_concurrency opens a thousand groups at once, the upkeep the others', async ({
    pool,
    db,
  }) => {
    await db.createQueue('few-groups');
    await fillGroups(db, 'few-groups', 1_000);
    await db.createQueue('many-groups');
    await fillGroups(db, 'many-groups', 5_000);
    const open = (queue: string) =>
      `select howdah.create_queue('${queue}', '{"group_concurrency": 2}')`;
    const few = await costOf(pool, open('few-groups'), 1);
    const many = await costOf(pool, open('many-groups'), 1);
    expect(many.buffers).toBeLessThan(1.5 * few.buffers);

    // a group that somebody holds waits for the next round, and the others do not wait for it
    const other = await pool.connect();
    await other.query('begin');
    await other.query("select from howdah.groups where key = 'g7' for update");
    await db.rows(open('many-groups'));
    const opened: unknown[] = [];
    for (let i = 0; i < 6; i += 1)
      opened.push(await db.one('select opened from howdah.tend_queues()'));
    expect(opened).toEqual([1_000, 1_000, 1_000, 999, 0, 0]);
    await other.query('rollback');
    other.release();
    expect(await db.one('select opened from howdah.tend_queues()')).toBe(1);
    expect(await db.one('select opened from howdah.tend_queues()')).toBe(0);
    expect(await db.rows('select * from howdah.group_openings')).toEqual([]);
    expect(await db.stats('many-groups')).toMatchObject({ ready: '10000', blocked: '0' });
    await db.expectTruth();
  });
});
